package io.sinklens.benchmark;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Mean scores over all rows and by category, from whole sums.
 *
 * @param one units of a score of 1
 * @param rounding what the benchmark's script does to a mean
 */
record Means(long one, Rounding rounding) {
  /** Of rows that are right or wrong. */
  static final Means OF_HITS = new Means(1, Rounding.NONE);

  /** Of {@link SoftAccuracy}. */
  static final Means OF_SOFT = new Means(SoftAccuracy.ONE, Rounding.NONE);

  /** Of {@link SoftAccuracy}, as VQA's and VizWiz's scripts print them. */
  static final Means OF_SOFT_ROUNDED = new Means(SoftAccuracy.ONE, Rounding.PERCENT_TO_2_PLACES);

  private static final String ROWS = "rows/";
  private static final String UNITS = "units/";

  enum Rounding {
    NONE,

    /** Python's {@code round(percent, 2)}: half to even, of the double. */
    PERCENT_TO_2_PLACES
  }

  /** Counts a row of so many units under a name. */
  static void count(Map<String, Long> counts, String name, long units) {
    counts.merge(ROWS + name, 1L, Long::sum);
    counts.merge(UNITS + name, units, Long::sum);
  }

  /** Counts a row under a category of a table. */
  static void count(Map<String, Long> counts, String table, String category, long units) {
    count(counts, table + "/" + category, units);
  }

  /** How many rows were counted under a name. */
  static long rows(Tally tally, String name) {
    return tally.of(ROWS + name);
  }

  /** The score of one row. */
  double score(long units) {
    return (double) units / one;
  }

  /** The mean under a name; NaN where nothing was counted. */
  double of(Tally tally, String name) {
    long rows = rows(tally, name);
    if (rows == 0) {
      return Double.NaN;
    }
    long units = tally.of(UNITS + name);
    return switch (rounding) {
      case NONE -> (double) units / ((double) one * rows);
      case PERCENT_TO_2_PLACES ->
          new BigDecimal(100 * score(units) / rows)
              .setScale(2, RoundingMode.HALF_EVEN)
              .movePointLeft(2)
              .doubleValue();
    };
  }

  /** Accuracy and rows of each category of a table, in alphabetical order. */
  Map<String, Object> table(Tally tally, String table) {
    return table(tally, table, Comparator.naturalOrder());
  }

  /** Accuracy and rows of each category of a table. */
  Map<String, Object> table(Tally tally, String table, Comparator<String> order) {
    Map<String, Object> lines = new LinkedHashMap<>();
    tally.under(ROWS + table + "/").keySet().stream()
        .sorted(order)
        .forEach(
            category -> {
              String name = table + "/" + category;
              Map<String, Object> line = new LinkedHashMap<>();
              line.put("accuracy", of(tally, name));
              line.put("rows", rows(tally, name));
              lines.put(category, line);
            });
    return lines;
  }
}
