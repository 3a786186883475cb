package io.sinklens.benchmark;

import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * What two variants did, by cluster: rows that depend on each other, such as all questions about an
 * image. Whatever is said of all rows can be computed anew from other clusters, since it comes from
 * sums; so this works for shares, F1 and scores of pairs alike.
 *
 * <p>Results depend on the seed, and on nothing else: each resample has random numbers of its own.
 */
final class PairedClusters {
  private static final double LEVEL = 0.95;

  /** Differences closer than this are the same but for rounding. */
  private static final double ROUNDING = 1e-12;

  private final Scorer scorer;
  private final String[] names;
  private final Sums[] first; // [cluster]
  private final Sums[] second; // [cluster]

  /** Some of the sums of a cluster: positions in {@code names}, and values. */
  private static final class Sums {
    private final int[] at;
    private final long[] values;

    Sums(int[] at, long[] values) {
      this.at = at;
      this.values = values;
    }

    void addTo(long[] totals) {
      for (int i = 0; i < at.length; i++) {
        totals[at[i]] += values[i];
      }
    }
  }

  /**
   * An interval that holds the true difference in 95 of 100 such experiments.
   *
   * @param low its lower end
   * @param high its upper end
   */
  record Interval(double low, double high) {}

  /**
   * Clusters of two variants.
   *
   * @param first the first variant's sums, a cluster each
   * @param second the second's, of the same clusters in the same order
   */
  PairedClusters(Scorer scorer, List<Tally> first, List<Tally> second) {
    if (first.isEmpty() || first.size() != second.size()) {
      throw new IllegalArgumentException(
          "Both variants must have the same clusters, at least 1, not %d and %d"
              .formatted(first.size(), second.size()));
    }
    this.scorer = scorer;
    Map<String, Integer> positions = new LinkedHashMap<>();
    this.first = sums(first, positions);
    this.second = sums(second, positions);
    this.names = positions.keySet().toArray(new String[0]);
  }

  private static Sums[] sums(List<Tally> clusters, Map<String, Integer> positions) {
    return clusters.stream()
        .map(
            cluster -> {
              Map<String, Long> sums = cluster.under("");
              int[] at = new int[sums.size()];
              long[] values = new long[sums.size()];
              int i = 0;
              for (Map.Entry<String, Long> sum : sums.entrySet()) {
                at[i] = positions.computeIfAbsent(sum.getKey(), name -> positions.size());
                values[i++] = sum.getValue();
              }
              return new Sums(at, values);
            })
        .toArray(Sums[]::new);
  }

  /** How many there are. */
  int size() {
    return first.length;
  }

  /** Every number of the summary, second minus first; NaN where either has none. */
  Map<String, Double> differences() {
    long[] ofFirst = new long[names.length];
    long[] ofSecond = new long[names.length];
    for (int cluster = 0; cluster < size(); cluster++) {
      first[cluster].addTo(ofFirst);
      second[cluster].addTo(ofSecond);
    }
    return difference(ofFirst, ofSecond);
  }

  /**
   * The percentile bootstrap: as many clusters as there are, drawn with replacement, for both
   * variants the same. Resamples in which a number is not defined are left out for that number.
   *
   * <p>Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
   *
   * @param resamples how many, at least 1
   * @return by the name of a number, the interval of its difference; none where it is not defined
   */
  Map<String, Interval> intervals(int resamples, long seed) {
    List<String> numbers = List.copyOf(differences().keySet());
    double[][] drawn =
        resampled(
            numbers,
            resamples,
            seed,
            (random, ofFirst, ofSecond) -> {
              for (int draw = 0; draw < size(); draw++) {
                int cluster = random.nextInt(size());
                first[cluster].addTo(ofFirst);
                second[cluster].addTo(ofSecond);
              }
            });
    Map<String, Interval> intervals = new HashMap<>();
    for (int number = 0; number < numbers.size(); number++) {
      int column = number;
      double[] values =
          Arrays.stream(drawn)
              .mapToDouble(resample -> resample[column])
              .filter(Double::isFinite)
              .sorted()
              .toArray();
      if (values.length > 0) {
        intervals.put(
            numbers.get(number),
            new Interval(quantile(values, (1 - LEVEL) / 2), quantile(values, (1 + LEVEL) / 2)));
      }
    }
    return Collections.unmodifiableMap(intervals);
  }

  /**
   * The randomisation test: if the variants were alike, it would make no difference which of them a
   * cluster's sums are said to be of.
   *
   * <p>Source: Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989.
   *
   * @param number a name of the summary
   * @return the probability of a difference at least as large, two-sided; 1 where there is none
   */
  double randomisationTest(String number, int resamples, long seed) {
    double observed = Math.abs(differences().getOrDefault(number, Double.NaN));
    double[][] exchanged =
        resampled(
            List.of(number),
            resamples,
            seed,
            (random, ofFirst, ofSecond) -> {
              for (int cluster = 0; cluster < size(); cluster++) {
                boolean exchange = random.nextBoolean();
                first[cluster].addTo(exchange ? ofSecond : ofFirst);
                second[cluster].addTo(exchange ? ofFirst : ofSecond);
              }
            });
    long smaller =
        Arrays.stream(exchanged)
            .filter(resample -> Math.abs(resample[0]) < observed - ROUNDING)
            .count();
    return (double) (resamples - smaller + 1) / (resamples + 1);
  }

  /** Fills the sums of both variants for one resample. */
  private interface Resample {
    void fill(SplittableRandom random, long[] ofFirst, long[] ofSecond);
  }

  /** Differences [resample, number]; NaN where a number is not defined. */
  private double[][] resampled(List<String> numbers, int resamples, long seed, Resample resample) {
    if (resamples < 1) {
      throw new IllegalArgumentException("Resamples must be at least 1, not " + resamples);
    }
    return IntStream.range(0, resamples)
        .parallel()
        .mapToObj(
            each -> {
              long[] ofFirst = new long[names.length];
              long[] ofSecond = new long[names.length];
              resample.fill(random(seed, each), ofFirst, ofSecond);
              Map<String, Double> difference = difference(ofFirst, ofSecond);
              return numbers.stream()
                  .mapToDouble(number -> difference.getOrDefault(number, Double.NaN))
                  .toArray();
            })
        .toArray(double[][]::new);
  }

  /** Mixed twice, so that near seeds and near resamples have nothing in common. */
  private static SplittableRandom random(long seed, int resample) {
    long base = new SplittableRandom(seed).nextLong();
    return new SplittableRandom(new SplittableRandom(base + resample).nextLong());
  }

  private Map<String, Double> difference(long[] ofFirst, long[] ofSecond) {
    Map<String, Double> before = SummaryNumbers.of(scorer.summary(tally(ofFirst)));
    Map<String, Double> after = SummaryNumbers.of(scorer.summary(tally(ofSecond)));
    Map<String, Double> difference = new LinkedHashMap<>();
    before.forEach(
        (number, value) -> difference.put(number, after.getOrDefault(number, Double.NaN) - value));
    return difference;
  }

  private Tally tally(long[] totals) {
    Map<String, Long> sums = new HashMap<>();
    for (int i = 0; i < totals.length; i++) {
      if (totals[i] != 0) {
        sums.put(names[i], totals[i]);
      }
    }
    return new Tally().add(sums);
  }

  /** Between the two values nearest to it, in proportion; as numpy does. */
  private static double quantile(double[] sorted, double share) {
    double at = share * (sorted.length - 1);
    int below = (int) Math.floor(at);
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
  }
}
