package io.sinklens.benchmark;

import java.util.List;
import java.util.stream.IntStream;

/**
 * Accuracy against several annotators: each is left out in turn, and the prediction is right as far
 * as three of the others agree with it; the mean over those left out. With ten annotators, of whom
 * 0, 1, 2, 3, 4 or more agree, that is 0, 0.3, 0.6, 0.9, 1.
 *
 * <p>It is counted in whole units, so that sums are exact.
 */
final class SoftAccuracy {
  /** Annotators of a question, at most. */
  static final int ANNOTATORS = 10;

  /** Units of a score of 1: 3 × 2520, which every number of annotators divides. */
  static final long ONE = 7560;

  private static final int AGREEING = 3;

  private SoftAccuracy() {}

  /**
   * The answers of a row, if there are so many that they can be scored.
   *
   * @param least annotators whom the script asks for, at least 1
   * @throws UnscorableRowException if there are fewer, or more than {@value #ANNOTATORS}
   */
  static List<String> required(BenchmarkRow row, List<String> answers, int least) {
    if (answers.size() < least || answers.size() > ANNOTATORS) {
      throw new UnscorableRowException(
          "Row %s: column answers must hold %s answers, not %d"
              .formatted(
                  row.id(),
                  least == ANNOTATORS ? least : least + " to " + ANNOTATORS,
                  answers.size()));
    }
    return answers;
  }

  /** In units, from 0 to {@link #ONE}: annotators are told apart by their place in the list. */
  static long units(String prediction, List<String> answers) {
    return units(prediction, answers, IntStream.range(0, answers.size()).boxed().toList());
  }

  /**
   * In units, from 0 to {@link #ONE}: those whose record equals that of the annotator left out are
   * left out with it.
   *
   * @param answers 1 to {@value #ANNOTATORS}, as they are compared
   * @param records one of each annotator
   */
  static long units(String prediction, List<String> answers, List<?> records) {
    int annotators = answers.size();
    long agreeing = 0;
    for (Object left : records) {
      long others =
          IntStream.range(0, annotators)
              .filter(i -> answers.get(i).equals(prediction) && !records.get(i).equals(left))
              .count();
      agreeing += Math.min(AGREEING, others);
    }
    return agreeing * (ONE / AGREEING / annotators);
  }
}
