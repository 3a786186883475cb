package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A comparison among others, and what is published beside it.
 *
 * @param benchmark its name
 * @param mode in which it was scored
 * @param baseline name of the first variant
 * @param variant name of the second
 * @param isVar whether the second is VAR, whose numbers are published
 * @param model in whose numbers to look, or null
 * @param comparison of the two
 * @param adjustedPValue of the test, by {@link Holm} among all of the same variant
 */
public record BenchmarkComparison(
    String benchmark,
    String mode,
    String baseline,
    String variant,
    boolean isVar,
    @Nullable String model,
    VariantComparison comparison,
    double adjustedPValue) {

  /** Comparisons with p-values corrected for how many benchmarks a variant is tested on. */
  public static List<BenchmarkComparison> adjusted(List<BenchmarkComparison> comparisons) {
    List<BenchmarkComparison> adjusted = new ArrayList<>(comparisons);
    for (String variant :
        comparisons.stream().map(BenchmarkComparison::variant).distinct().toList()) {
      List<Integer> family =
          IntStream.range(0, comparisons.size())
              .filter(i -> comparisons.get(i).variant().equals(variant))
              .boxed()
              .toList();
      List<Double> pValues =
          Holm.adjusted(
              family.stream().map(i -> comparisons.get(i).comparison().test().pValue()).toList());
      for (int i = 0; i < family.size(); i++) {
        BenchmarkComparison each = comparisons.get(family.get(i));
        adjusted.set(
            family.get(i),
            new BenchmarkComparison(
                each.benchmark,
                each.mode,
                each.baseline,
                each.variant,
                each.isVar,
                each.model,
                each.comparison,
                pValues.get(i)));
      }
    }
    return adjusted;
  }

  /** Whether the adjusted p-value is below {@link PairedTest#SIGNIFICANCE}. */
  public boolean isSignificant() {
    return adjustedPValue < PairedTest.SIGNIFICANCE;
  }

  /** What is published of a number, of this model and mode. */
  public List<PublishedNumber> published(String number) {
    return PublishedNumber.all().stream()
        .filter(
            each ->
                each.model().equals(model)
                    && each.benchmark().equals(benchmark)
                    && each.mode().equals(mode)
                    && each.number().equals(number))
        .toList();
  }

  /** The first number of the summary, and those that are published of any model. */
  public List<String> mainNumbers() {
    List<String> all = List.copyOf(comparison.numbers().keySet());
    return all.stream()
        .filter(
            number ->
                number.equals(all.get(0))
                    || PublishedNumber.all().stream()
                        .anyMatch(
                            each ->
                                each.benchmark().equals(benchmark) && each.number().equals(number)))
        .toList();
  }
}
