package io.sinklens.benchmark;

import java.io.Serializable;
import java.util.List;
import java.util.Map;

/**
 * One way to score a benchmark. It looks at rows one by one, and at pairs of rows where the
 * benchmark has them; what is said of all rows comes from sums, so that rows can lie on many
 * machines.
 */
public interface Scorer extends Serializable {
  /** Columns that the input must have, besides the prediction, by their names on the Hub. */
  List<String> columns();

  /** Columns that are looked at where the input has them. */
  default List<String> optionalColumns() {
    return List.of();
  }

  /**
   * What a row is worth. A missing prediction is scored as the benchmark's own script would.
   *
   * @throws UnscorableRowException if a column is missing or holds something else than it should,
   *     or if the benchmark's own script refuses a missing prediction
   */
  RowScore score(BenchmarkRow row);

  /** Whether a row of score 1 is right; not so where mistakes are counted. */
  default boolean scoresWhatIsRight() {
    return true;
  }

  /**
   * What rows of one {@link RowScore#pair()} together add to the sums; nothing in benchmarks whose
   * rows stand alone.
   *
   * @param rows in the order of their ids
   */
  default Map<String, Long> scorePair(List<RowScore> rows) {
    return Map.of();
  }

  /**
   * What is said of all rows: numbers by name, in the order to be shown, in nested maps where there
   * are categories. Fractions in [0, 1] but for MME's points; NaN where a share of nothing is asked
   * for.
   */
  Map<String, Object> summary(Tally tally);
}
