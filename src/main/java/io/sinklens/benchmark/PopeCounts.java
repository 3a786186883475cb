package io.sinklens.benchmark;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How answers to yes-or-no questions fell out; yes is positive. Counts, all 0 or more.
 *
 * @param rows all of them
 * @param right those whose answer equals the truth
 * @param yes those whose truth is yes
 * @param truePositives yes, and rightly so
 * @param falsePositives yes where no is true
 * @param falseNegatives no where yes is true
 */
record PopeCounts(
    long rows, long right, long yes, long truePositives, long falsePositives, long falseNegatives) {
  /** No rows. */
  static final PopeCounts NONE = new PopeCounts(0, 0, 0, 0, 0, 0);

  /** The beginning of the names that say which categories there are. */
  static final String ROWS = "rows/";

  /** The sums of a category. */
  static PopeCounts in(Tally tally, String category) {
    return new PopeCounts(
        tally.of(ROWS + category),
        tally.of("right/" + category),
        tally.of("yes/" + category),
        tally.of("true positives/" + category),
        tally.of("false positives/" + category),
        tally.of("false negatives/" + category));
  }

  /** As sums of a category. */
  Map<String, Long> named(String category) {
    return Map.of(
        ROWS + category, rows,
        "right/" + category, right,
        "yes/" + category, yes,
        "true positives/" + category, truePositives,
        "false positives/" + category, falsePositives,
        "false negatives/" + category, falseNegatives);
  }

  /** Both together. */
  PopeCounts plus(PopeCounts other) {
    return new PopeCounts(
        rows + other.rows,
        right + other.right,
        yes + other.yes,
        truePositives + other.truePositives,
        falsePositives + other.falsePositives,
        falseNegatives + other.falseNegatives);
  }

  /** Rows answered with yes. */
  long saidYes() {
    return truePositives + falsePositives;
  }

  double accuracy() {
    return (double) right / rows;
  }

  /**
   * Accuracy, precision, recall and F1.
   *
   * @param ofNothing the last three where there is nothing to take a share of
   */
  Map<String, Double> measures(double ofNothing) {
    double precision = share((double) truePositives, (double) saidYes(), ofNothing);
    double recall =
        share((double) truePositives, (double) (truePositives + falseNegatives), ofNothing);
    Map<String, Double> measures = new LinkedHashMap<>();
    measures.put("accuracy", accuracy());
    measures.put("precision", precision);
    measures.put("recall", recall);
    measures.put("f1", share(2 * (precision * recall), precision + recall, ofNothing));
    return measures;
  }

  /** The same with the share of some rows in all. */
  Map<String, Double> measures(double ofNothing, long yes) {
    Map<String, Double> measures = measures(ofNothing);
    measures.put("yes_ratio", (double) yes / rows);
    return measures;
  }

  private static double share(double part, double whole, double ofNothing) {
    return whole == 0 ? ofNothing : part / whole;
  }
}
