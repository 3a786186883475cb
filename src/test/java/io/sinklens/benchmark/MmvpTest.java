package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class MmvpTest {
  @ParameterizedTest
  @CsvSource({
    "A, A",
    "(b)., B",
    "b) Closed, B",
    "a dog, A",
    "The answer is B because, B",
    "Option (A) is, A",
    "seen by a tab , A",
    "near the tab, B",
    "about, A",
    "both, B",
    "open, ",
    "'', ",
    "It is B., "
  })
  void takesTheFirstPatternThatFindsALetterAsLmmsEval(String prediction, @Nullable String parsed) {
    assertThat(Mmvp.LMMS_EVAL.score(row(1, "(a)", prediction)).parsed()).isEqualTo(parsed);
  }

  @ParameterizedTest
  @CsvSource({
    "a, 1",
    "(A), 1",
    "open, 1",
    "Open., 1",
    "(a) Open, 0",
    "The answer is A, 1",
    "answer is: A, 0",
    "Answer: open, 1",
    "b, 0",
    "'', 0"
  })
  void takesTheLetterOrTheTextOfTheOptionAsCambrian(String prediction, double score) {
    assertThat(Mmvp.CAMBRIAN.score(row(1, "(a)", prediction)).score()).isEqualTo(score);
  }

  @ParameterizedTest
  @CsvSource({"yes, 1, yes", "YES, 1, yes", "No, 0, no", "Yes., 0,", "' yes', 0,", "'', 0,"})
  void countsNothingButTheWordYesOfTheJudge(String reply, double score, @Nullable String parsed) {
    RowScore row = Mmvp.OFFICIAL.score(judged(1, reply));

    assertThat(row.score()).isEqualTo(score);
    assertThat(row.parsed()).isEqualTo(parsed);
  }

  @Test
  void refusesARowThatNoJudgeHasSeen() {
    BenchmarkRow row = new BenchmarkRow("7", Map.of("Index", 1L), "a");

    assertThatThrownBy(() -> Mmvp.OFFICIAL.score(row))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: column judge_reply must be a text, not null");
  }

  @ParameterizedTest
  @CsvSource({"(a), A", "A, A", "' (B) ', B", "b, B"})
  void readsTheTruthWithOrWithoutBracketsAsLmmsEval(String answer, String prediction) {
    assertThat(Mmvp.LMMS_EVAL.score(row(1, answer, prediction)).score()).isEqualTo(1);
  }

  @ParameterizedTest
  @EnumSource(names = {"LMMS_EVAL", "CAMBRIAN"})
  void countsAPairOfWhichBothAreRight(Mmvp mode) {
    List<BenchmarkRow> rows =
        List.of(
            row(1, "(a)", "A"),
            row(2, "(b)", "A"),
            row(4, "(b)", "B"),
            row(3, "(a)", "A"),
            row(5, "(a)", "A"));

    Map<String, Object> summary = Scoring.summary(mode, rows);

    assertThat(number(summary, "pair_accuracy")).isEqualTo(0.5);
    assertThat(number(summary, "pairs")).isEqualTo(2);
    assertThat(number(summary, "accuracy")).isEqualTo(0.8);
    assertThat(number(summary, "rows")).isEqualTo(5);
  }

  @ParameterizedTest
  @EnumSource
  void hasNaNsForNoRows(Mmvp mode) {
    Map<String, Object> summary = Scoring.summary(mode, List.of());

    assertThat(number(summary, "pair_accuracy")).isNaN();
    assertThat(number(summary, "accuracy")).isNaN();
  }

  @Test
  void refusesThreeRowsForAPair() {
    RowScore row = Mmvp.CAMBRIAN.score(row(3, "(a)", "A"));

    assertThatThrownBy(() -> Mmvp.CAMBRIAN.scorePair(List.of(row, row, row)))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("MMVP must have 2 rows for pair 2, not 3");
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-1", "x", "1.0"})
  void refusesAnIndexThatNamesNoPair(String index) {
    BenchmarkRow row = new BenchmarkRow("7", Map.of("Index", index, "Correct Answer", "a"), "a");

    assertThatThrownBy(() -> Mmvp.LMMS_EVAL.score(row))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: Index must be a whole number from 1, not " + index);
  }

  @Test
  void refusesOptionsThatAreNotLettered() {
    BenchmarkRow row =
        new BenchmarkRow(
            "7", Map.of("Index", 1L, "Options", "(a Open", "Correct Answer", "(a)"), "a");

    assertThatThrownBy(() -> Mmvp.CAMBRIAN.score(row))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: Options must be such as (a) Open (b) Closed, not (a Open");
  }

  @ParameterizedTest
  @EnumSource(names = {"LMMS_EVAL", "CAMBRIAN"})
  void takesAMissingPredictionForAWrongOne(Mmvp mode) {
    RowScore row = mode.score(row(1, "(a)", null));

    assertThat(row.parsed()).isNull();
    assertThat(row.score()).isZero();
  }

  private static BenchmarkRow row(long index, String answer, @Nullable String prediction) {
    return new BenchmarkRow(
        "7",
        Map.of("Index", index, "Options", "(a) Open (b) Closed", "Correct Answer", answer),
        prediction);
  }

  private static BenchmarkRow judged(long index, String reply) {
    return new BenchmarkRow("7", Map.of("Index", index, "judge_reply", reply), "Open");
  }
}
