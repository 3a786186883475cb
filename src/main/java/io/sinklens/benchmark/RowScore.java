package io.sinklens.benchmark;

import java.io.Serializable;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a scorer makes of one row.
 *
 * @param id the row's
 * @param parsed what it took the prediction for, such as {@code yes} or {@code B}; null where the
 *     prediction is missing or could not be read
 * @param score the row's own score: of most benchmarks in [0, 1]
 * @param counts what the row adds to sums over all rows, exact for that reason; see {@link Tally};
 *     empty where the benchmark leaves the row out of everything
 * @param pair rows of the same name are judged together; null where rows stand alone
 */
public record RowScore(
    String id,
    @Nullable String parsed,
    double score,
    Map<String, Long> counts,
    @Nullable String pair)
    implements Serializable {
  public RowScore {
    if (!Double.isFinite(score)) {
      throw new IllegalArgumentException("Score of row %s must be finite".formatted(id));
    }
    counts = Map.copyOf(counts);
  }

  /** A row that its benchmark leaves out of everything. */
  static RowScore leftOut(BenchmarkRow row) {
    return new RowScore(row.id(), null, 0, Map.of(), null);
  }
}
