package io.sinklens.benchmark;

/**
 * McNemar's exact test of two variants that answered the same questions, on those that only one of
 * them got right.
 *
 * @param onlyFirstRight questions that only the first got right, 0 or more
 * @param onlySecondRight questions that only the second got right, 0 or more
 */
public record PairedTest(long onlyFirstRight, long onlySecondRight) {
  /** Below this a difference is called significant. */
  public static final double SIGNIFICANCE = 0.05;

  private static final double NEGLIGIBLE = 1e-18;

  public PairedTest {
    if (onlyFirstRight < 0 || onlySecondRight < 0) {
      throw new IllegalArgumentException(
          "Questions that only one variant got right must be at least 0, not %d and %d"
              .formatted(onlyFirstRight, onlySecondRight));
    }
  }

  /**
   * The probability of a split at least as uneven if either variant were as likely to be the right
   * one: two-sided, binomial, 0 to 1. 1 when there are no such questions.
   */
  public double pValue() {
    long smaller = Math.min(onlyFirstRight, onlySecondRight);
    long all = onlyFirstRight + onlySecondRight;
    // The largest term of the tail, as a logarithm, since 2^-all is below the least double.
    double logLargest = -all * Math.log(2);
    for (long k = 1; k <= smaller; k++) {
      logLargest += Math.log((double) (all - k + 1) / k);
    }
    double sum = 1; // Of all terms, in units of the largest.
    double term = 1;
    for (long k = smaller; k > 0 && term > NEGLIGIBLE; k--) {
      term *= (double) k / (all - k + 1);
      sum += term;
    }
    return Math.min(1, 2 * Math.exp(logLargest) * sum);
  }

  /** Whether the p-value is below {@link #SIGNIFICANCE}. */
  public boolean isSignificant() {
    return pValue() < SIGNIFICANCE;
  }
}
