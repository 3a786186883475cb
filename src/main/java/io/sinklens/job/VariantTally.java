package io.sinklens.job;

import static java.util.Objects.requireNonNull;

import io.sinklens.benchmark.RowScore;
import io.sinklens.benchmark.Scorer;
import io.sinklens.benchmark.Tally;
import io.sinklens.benchmark.UnscorableRowException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Counts and sums of some rows of one variant; those of the others can be added. */
final class VariantTally implements Serializable {
  private static final long serialVersionUID = 1;

  private final String variant;
  private final Tally sums = new Tally();
  private long scored;
  private long missing;
  private long duplicates;
  private long problems;
  private @Nullable String problem; // The least of them, so that order makes no difference.
  private long conflicts;
  private @Nullable String conflict;

  VariantTally(String variant) {
    this.variant = variant;
  }

  /**
   * Adds rows that are judged together.
   *
   * @param rows all of a group, sorted by id
   * @return the rows that count, those that repeat another left out; none once the result is lost
   */
  List<ScoredRow> add(List<ScoredRow> rows, Scorer scorer) {
    List<ScoredRow> counting = new ArrayList<>();
    for (ScoredRow row : rows) {
      ScoredRow last = counting.isEmpty() ? null : counting.get(counting.size() - 1);
      if (row.score() == null) {
        problems++;
        problem = least(problem, requireNonNull(row.problem()));
      } else if (last == null || !last.id().equals(row.id())) {
        counting.add(row);
        scored++;
        missing += row.answered() ? 0 : 1;
        sums.add(row.score().counts());
      } else if (requireNonNull(last.score()).equals(row.score())
          && last.answered() == row.answered()) {
        duplicates++;
      } else {
        conflicts++;
        conflict = least(conflict, row.id());
      }
    }
    List<RowScore> scores = counting.stream().map(row -> requireNonNull(row.score())).toList();
    if (!scores.isEmpty() && scores.get(0).pair() != null) {
      try {
        sums.add(scorer.scorePair(scores));
      } catch (UnscorableRowException e) {
        problems++;
        problem = least(problem, e.getMessage());
      }
    }
    return problems + conflicts == 0 ? counting : List.of();
  }

  VariantTally add(VariantTally other) {
    scored += other.scored;
    missing += other.missing;
    duplicates += other.duplicates;
    problems += other.problems;
    problem = least(problem, other.problem);
    conflicts += other.conflicts;
    conflict = least(conflict, other.conflict);
    sums.add(other.sums);
    return this;
  }

  private static @Nullable String least(@Nullable String one, @Nullable String other) {
    return one == null || (other != null && other.compareTo(one) < 0) ? other : one;
  }

  /**
   * What came out.
   *
   * @throws IllegalArgumentException in one line, if rows cannot be scored, or have the same id and
   *     differ
   */
  ScoreJob.VariantResult result(Scorer scorer) {
    if (problems > 0) {
      throw new IllegalArgumentException(
          "Cannot score the predictions, for %d reasons such as: %s".formatted(problems, problem));
    }
    long rows = scored + duplicates + conflicts;
    if (conflicts > 0) {
      throw new IllegalArgumentException(
          "Ids must be unique, but %d of %d rows have the id of another and differ from it, such as"
                  .formatted(conflicts, rows)
              + " row "
              + conflict);
    }
    return new ScoreJob.VariantResult(
        variant.isEmpty() ? null : variant,
        rows,
        scored,
        missing,
        duplicates,
        scorer.summary(sums));
  }

  String variant() {
    return variant;
  }
}
