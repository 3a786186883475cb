package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import org.jspecify.annotations.Nullable;

/**
 * Two variants on one benchmark: every number of both, how far their difference can be trusted, and
 * one test of whether they differ.
 *
 * @param rows scored
 * @param clusters how many groups of rows were resampled: images, or images whose rows are judged
 *     together
 * @param numbers by name, in the order of the summary
 * @param test of the first number or, where rows are right or wrong, of the rows
 */
public record VariantComparison(
    int rows, int clusters, Map<String, Difference> numbers, Test test) {
  public VariantComparison {
    numbers = Collections.unmodifiableMap(new LinkedHashMap<>(numbers));
  }

  /**
   * A number of the summary; NaN where a variant has none.
   *
   * @param first of the first variant
   * @param second of the second
   * @param low lower end of the 95 % interval of second minus first, null where there is none
   * @param high its upper end
   */
  public record Difference(
      double first, double second, @Nullable Double low, @Nullable Double high) {
    /** Second minus first. */
    public double value() {
      return second - first;
    }
  }

  /**
   * Whether the variants differ.
   *
   * @param name {@code mcnemar} or {@code randomisation}
   * @param counts who got which row right, null where rows are not just right or wrong
   * @param pValue 0 to 1, two-sided
   */
  public record Test(String name, @Nullable PairedCounts counts, double pValue) {}

  /**
   * Compares two variants that answered the same rows about the same images.
   *
   * @param resamples of the bootstrap and of the randomisation test, at least 1
   * @param seed of their random numbers
   * @throws IllegalArgumentException if there are no rows, or not the same
   */
  public static VariantComparison of(
      VariantScores first, VariantScores second, int resamples, long seed) {
    first.requireSameRows(second);
    SortedMap<String, Tally> before = first.clusters();
    SortedMap<String, Tally> after = second.clusters();
    if (!before.keySet().equals(after.keySet())) {
      throw new IllegalArgumentException(
          "Cannot compare variants whose rows are about different images");
    }
    PairedClusters clusters =
        new PairedClusters(
            first.scorer(), new ArrayList<>(before.values()), new ArrayList<>(after.values()));
    Map<String, PairedClusters.Interval> intervals = clusters.intervals(resamples, seed);
    Map<String, Double> afterwards = second.numbers();
    Map<String, Difference> numbers = new LinkedHashMap<>();
    first
        .numbers()
        .forEach(
            (name, value) -> {
              PairedClusters.Interval interval = intervals.get(name);
              numbers.put(
                  name,
                  new Difference(
                      value,
                      afterwards.getOrDefault(name, Double.NaN),
                      interval == null ? null : interval.low(),
                      interval == null ? null : interval.high()));
            });
    return new VariantComparison(
        first.rows(),
        clusters.size(),
        numbers,
        test(first, second, clusters, List.copyOf(numbers.keySet()).get(0), resamples, seed));
  }

  private static Test test(
      VariantScores first,
      VariantScores second,
      PairedClusters clusters,
      String number,
      int resamples,
      long seed) {
    if (first.isBinary() && second.isBinary()) {
      PairedCounts counts = first.pairedWith(second);
      return new Test("mcnemar", counts, counts.test().pValue());
    }
    return new Test("randomisation", null, clusters.randomisationTest(number, resamples, seed));
  }
}
