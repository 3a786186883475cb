package io.sinklens.benchmark;

/**
 * How two variants did on the same questions. Counts, all 0 or more.
 *
 * @param bothRight both got it right
 * @param onlyFirstRight only the first did
 * @param onlySecondRight only the second did
 * @param bothWrong neither did
 */
public record PairedCounts(
    long bothRight, long onlyFirstRight, long onlySecondRight, long bothWrong) {
  /** No questions. */
  public static final PairedCounts NONE = new PairedCounts(0, 0, 0, 0);

  public PairedCounts {
    if (bothRight < 0 || onlyFirstRight < 0 || onlySecondRight < 0 || bothWrong < 0) {
      throw new IllegalArgumentException(
          "Counts of questions must be at least 0, not %d, %d, %d and %d"
              .formatted(bothRight, onlyFirstRight, onlySecondRight, bothWrong));
    }
  }

  /** One question. */
  static PairedCounts of(boolean firstRight, boolean secondRight) {
    return new PairedCounts(
        firstRight && secondRight ? 1 : 0,
        firstRight && !secondRight ? 1 : 0,
        !firstRight && secondRight ? 1 : 0,
        !firstRight && !secondRight ? 1 : 0);
  }

  /** Both together. */
  public PairedCounts plus(PairedCounts other) {
    return new PairedCounts(
        bothRight + other.bothRight,
        onlyFirstRight + other.onlyFirstRight,
        onlySecondRight + other.onlySecondRight,
        bothWrong + other.bothWrong);
  }

  public long questions() {
    return bothRight + onlyFirstRight + onlySecondRight + bothWrong;
  }

  /** Questions the first got right. */
  public long firstRight() {
    return bothRight + onlyFirstRight;
  }

  /** Questions the second got right. */
  public long secondRight() {
    return bothRight + onlySecondRight;
  }

  /** Whether they differ by more than chance. */
  public PairedTest test() {
    return new PairedTest(onlyFirstRight, onlySecondRight);
  }
}
