package io.sinklens.job;

import io.sinklens.benchmark.BenchmarkRow;
import io.sinklens.benchmark.RowScore;
import io.sinklens.benchmark.Scorer;
import io.sinklens.benchmark.UnscorableRowException;
import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Where the rows of a file hold what a benchmark is scored by. */
interface RowLayout extends Serializable {
  /** Columns to read. */
  Set<String> columns();

  /**
   * Scores a row that has these columns, those that are null left out. A row that cannot be scored
   * gets a problem instead.
   *
   * @param number of the row, from 0, which names it where no columns do
   */
  ScoredRow score(Map<String, Object> row, String number, Scorer scorer);

  /** Scores a row of which everything is known. */
  static ScoredRow scored(
      String variant,
      String image,
      String id,
      Map<String, Object> columns,
      @Nullable String prediction,
      Scorer scorer) {
    boolean answered = prediction != null;
    try {
      RowScore score = scorer.score(new BenchmarkRow(id, columns, prediction));
      return new ScoredRow(variant, image, id, answered, score, null);
    } catch (UnscorableRowException e) {
      return new ScoredRow(variant, image, id, answered, null, e.getMessage());
    }
  }

  /** A file with the columns of the benchmark and a prediction. */
  record Predictions(List<String> id, Set<String> columns) implements RowLayout {
    static final String PREDICTION = "prediction";

    @Override
    public ScoredRow score(Map<String, Object> row, String number, Scorer scorer) {
      Object prediction = row.get(PREDICTION);
      try {
        String name =
            id.isEmpty()
                ? number
                : String.join("/", id.stream().map(column -> text(row, column)).toList());
        return scored("", "", name, row, prediction == null ? null : text(row, PREDICTION), scorer);
      } catch (UnscorableRowException e) {
        return new ScoredRow("", "", "", prediction != null, null, e.getMessage());
      }
    }

    private static String text(Map<String, Object> row, String column) {
      Object value = row.get(column);
      if (value == null || value instanceof List || value instanceof Map) {
        throw new UnscorableRowException(
            "column %s of a row must be a text, not %s"
                .formatted(column, value == null ? "null" : "a list or a struct"));
      }
      return value.toString();
    }
  }
}
