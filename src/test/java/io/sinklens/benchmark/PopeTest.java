package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PopeTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "no",
        "No",
        "not",
        "No, it is",
        "there is no dog",
        "n,o",
        "It does not. Yes",
        "no\u00a0dog no"
      })
  void takesThreeWordsOfTheFirstSentenceForNo(String prediction) {
    assertThat(parsed(Pope.OFFICIAL, prediction)).isEqualTo("no");
    assertThat(parsed(Pope.LLAVA, prediction)).isEqualTo("no");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "yes",
        "NO",
        "No!",
        "isn't",
        "none",
        "nope",
        "no;",
        "unknown",
        "Yes. No.",
        ".no",
        "No\nit is",
        "no\tdog",
        "(no)"
      })
  void takesEverythingElseForYes(String prediction) {
    assertThat(parsed(Pope.OFFICIAL, prediction)).isEqualTo("yes");
  }

  @ParameterizedTest
  @CsvSource({
    "' Yes ', yes, 1",
    "YES, yes, 1",
    "Yes., yes., 0",
    "'yes, it is', 'yes, it is', 0",
    "'', '', 0"
  })
  void comparesTheWholeAnswerAsLmmsEval(String prediction, String parsed, double score) {
    RowScore row = Pope.LMMS_EVAL.score(row("random", "yes", prediction));

    assertThat(row.parsed()).isEqualTo(parsed);
    assertThat(row.score()).isEqualTo(score);
  }

  @ParameterizedTest
  @CsvSource({"'Yes, it is', yes", "yes.:., yes", "YES!, yes!", "'  no dog', no", "maybe, maybe"})
  void comparesTheFirstWordAsCambrian(String prediction, String parsed) {
    assertThat(parsed(Pope.CAMBRIAN, prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " \n"})
  void refusesEmptyPredictionsAsCambrian(String prediction) {
    assertThatThrownBy(() -> Pope.CAMBRIAN.score(row("random", "yes", prediction)))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: the prediction is empty, and this mode scores none that is");
  }

  @ParameterizedTest
  @CsvSource({
    "'Yes, it is', yes",
    "The answer is: no., no",
    "yes/no, ",
    "Yes and no, ",
    "yessir, ",
    "(Yes), yes",
    "'yes,dog', yes",
    "'yes,dog , ok', ",
    "no-dog, no",
    "'no-dog 1,000', ",
    "yes.dog, ",
    "yes.1, ",
    "'', "
  })
  void looksForOneOfTwoWordsAsVlmEvalKit(String prediction, @Nullable String parsed) {
    assertThat(parsed(Pope.VLMEVALKIT, prediction)).isEqualTo(parsed);
  }

  @Test
  void deletesNoMoreThan32DotsAsVlmEvalKit() {
    assertThat(parsed(Pope.VLMEVALKIT, ".".repeat(32) + "yes")).isEqualTo("yes");
    assertThat(parsed(Pope.VLMEVALKIT, ".".repeat(33) + "yes")).isNull();
  }

  @Test
  void givesThePublishedValueOfTheRandomSplit() {
    List<BenchmarkRow> rows = new ArrayList<>();
    rows.addAll(Collections.nCopies(1183, row("random", "yes", "Yes")));
    rows.addAll(Collections.nCopies(31, row("random", "no", "Yes")));
    rows.addAll(Collections.nCopies(1379, row("random", "no", "No")));
    rows.addAll(Collections.nCopies(317, row("random", "yes", "No")));

    Map<String, Object> summary = Scoring.summary(Pope.LLAVA, rows);

    assertThat(number(summary, "categories.random.f1")).isCloseTo(0.87178, within(5e-6));
    assertThat(number(summary, "categories.random.accuracy")).isEqualTo(2562 / 2910.0);
    assertThat(number(summary, "categories.random.precision")).isEqualTo(1183 / 1214.0);
    assertThat(number(summary, "categories.random.recall")).isEqualTo(1183 / 1500.0);
    assertThat(number(summary, "categories.random.yes_ratio")).isEqualTo(1214 / 2910.0);
    assertThat(number(summary, "categories.random.rows")).isEqualTo(2910);
  }

  @Test
  void averagesCategoriesWhateverTheirSize() {
    List<BenchmarkRow> rows =
        List.of(
            row("random", "yes", "yes"),
            row("random", "no", "no"),
            row("random", "no", "no"),
            row("popular", "yes", "yes"),
            row("popular", "no", "yes"));

    Map<String, Object> summary = Scoring.summary(Pope.LLAVA, rows);

    assertThat(number(summary, "mean.accuracy")).isEqualTo((1 + 0.5) / 2);
    assertThat(number(summary, "pooled.accuracy")).isEqualTo(4 / 5.0);
    assertThat(number(summary, "pooled.rows")).isEqualTo(5);
    assertThat(number(summary, "mean.f1")).isCloseTo((1 + 2 / 3.0) / 2, within(1e-12));
  }

  @Test
  void lowersAccuracyAloneByAnswersThatAreNeitherAsLmmsEval() {
    List<BenchmarkRow> rows =
        List.of(
            row("random", "yes", "yes"),
            row("random", "yes", "Yes."),
            row("random", "yes", "Yes."),
            row("random", "no", "no"));

    Map<String, Object> summary = Scoring.summary(Pope.LMMS_EVAL, rows);

    assertThat(number(summary, "pooled.accuracy")).isEqualTo(0.5);
    assertThat(number(summary, "pooled.f1")).isEqualTo(1);
    assertThat(number(summary, "pooled.recall")).isEqualTo(1);
    assertThat(number(summary, "pooled.yes_ratio")).isEqualTo(0.75);
  }

  @Test
  void takesWhatIsNeitherForNoAsVlmEvalKit() {
    List<BenchmarkRow> rows =
        List.of(
            row("random", "yes", "yes"),
            row("random", "yes", "maybe"),
            row("random", "no", "maybe"));

    Map<String, Object> summary = Scoring.summary(Pope.VLMEVALKIT, rows);

    assertThat(number(summary, "pooled.accuracy")).isEqualTo(1 / 3.0);
    assertThat(number(summary, "pooled.recall")).isEqualTo(0.5);
    assertThat(number(summary, "pooled.precision")).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({"LLAVA, NaN", "OFFICIAL, NaN", "LMMS_EVAL, 0", "VLMEVALKIT, 0"})
  void hasNoPrecisionWhereNothingIsYes(Pope mode, Double ofNothing) {
    Map<String, Object> summary = Scoring.summary(mode, List.of(row("random", "no", "no")));

    assertThat(number(summary, "mean.precision")).isEqualTo(ofNothing);
    assertThat(number(summary, "mean.recall")).isEqualTo(ofNothing);
    assertThat(number(summary, "mean.f1")).isEqualTo(ofNothing);
    assertThat(number(summary, "mean.accuracy")).isEqualTo(1);
  }

  @Test
  void saysNothingButAccuracyAsCambrian() {
    Map<String, Object> summary =
        Scoring.summary(Pope.CAMBRIAN, List.of(row("random", "no", "no")));

    assertThat(Scoring.at(summary, "mean")).isEqualTo(Map.of("accuracy", 1.0));
  }

  @ParameterizedTest
  @EnumSource
  void hasNaNsForNoRows(Pope mode) {
    assertThat(number(Scoring.summary(mode, List.of()), "mean.accuracy")).isNaN();
    assertThat(number(Scoring.summary(mode, List.of()), "pooled.accuracy")).isNaN();
  }

  @ParameterizedTest
  @CsvSource({"LLAVA, 1", "LMMS_EVAL, 0", "VLMEVALKIT, 0"})
  void takesAMissingPredictionForAnEmptyOne(Pope mode, double score) {
    RowScore row = mode.score(row("random", "yes", null));

    assertThat(row.parsed()).isNull();
    assertThat(row.score()).isEqualTo(score);
  }

  @Test
  void refusesAnAnswerThatIsNeitherYesNorNo() {
    assertThatThrownBy(() -> Pope.LLAVA.score(row("random", "maybe", "yes")))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: answer must be yes or no, not maybe");
  }

  @Test
  void readsTheAnswerInAnyCase() {
    assertThat(Pope.LLAVA.score(row("random", " YES ", "yes")).score()).isEqualTo(1);
  }

  private static @Nullable String parsed(Pope mode, String prediction) {
    return mode.score(row("random", "yes", prediction)).parsed();
  }

  private static BenchmarkRow row(String category, String answer, @Nullable String prediction) {
    return new BenchmarkRow("7", Map.of("category", category, "answer", answer), prediction);
  }
}
