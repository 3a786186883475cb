package io.sinklens.benchmark;

import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Holm's correction for several tests: the chance that any of them is called significant without
 * cause stays below the level of one.
 *
 * <p>Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
 */
public final class Holm {
  private Holm() {}

  /**
   * Adjusted p-values, in the order given: each to be compared with the level of one test.
   *
   * @param pValues each 0 to 1
   */
  public static List<Double> adjusted(List<Double> pValues) {
    for (double p : pValues) {
      if (!(p >= 0 && p <= 1)) {
        throw new IllegalArgumentException("A p-value must be from 0 to 1, not " + p);
      }
    }
    int tests = pValues.size();
    Double[] adjusted = new Double[tests];
    List<Integer> ascending =
        IntStream.range(0, tests).boxed().sorted(Comparator.comparing(pValues::get)).toList();
    double largest = 0; // An adjusted p-value is never below that of a smaller p-value.
    for (int rank = 0; rank < tests; rank++) {
      int test = ascending.get(rank);
      largest = Math.max(largest, Math.min(1, (tests - rank) * pValues.get(test)));
      adjusted[test] = largest;
    }
    return List.of(adjusted);
  }
}
