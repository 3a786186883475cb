package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Rows through a scorer, as a table of them would go. */
final class Scoring {
  private Scoring() {}

  /** What is said of all rows, those of one pair together. */
  static Map<String, Object> summary(Scorer scorer, List<BenchmarkRow> rows) {
    Tally tally = new Tally();
    Map<String, List<RowScore>> pairs = new LinkedHashMap<>();
    for (BenchmarkRow row : rows) {
      RowScore score = scorer.score(row);
      tally.add(score.counts());
      if (score.pair() != null) {
        pairs.computeIfAbsent(score.pair(), pair -> new ArrayList<>()).add(score);
      }
    }
    pairs.values().forEach(pair -> tally.add(scorer.scorePair(pair)));
    return scorer.summary(tally);
  }

  /** A value of nested maps by its path, such as {@code mean.f1}. */
  static Object at(Map<String, Object> summary, String path) {
    Object value = summary;
    for (String key : PythonText.split(path, '.')) {
      value = Objects.requireNonNull(((Map<?, ?>) value).get(key), path);
    }
    return value;
  }

  /** The same, as a number. */
  static double number(Map<String, Object> summary, String path) {
    return ((Number) at(summary, path)).doubleValue();
  }
}
