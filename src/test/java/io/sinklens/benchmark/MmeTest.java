package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class MmeTest {
  private static final List<String> PERCEPTION =
      List.of(
          "existence",
          "count",
          "position",
          "color",
          "posters",
          "celebrity",
          "scene",
          "landmark",
          "artwork",
          "OCR");

  @ParameterizedTest
  @CsvSource({
    "Yes, yes",
    "' yes', yes",
    "eyes are, yes",
    "yes or no, yes",
    "know, no",
    "not sure, no",
    "none, no",
    "nope, no",
    "snow, no",
    "north, no",
    "NO, no",
    "'   no', ",
    "Uh no, ",
    "unknown, ",
    "y, ",
    "n, ",
    "'', ",
    "'n\to', no",
    "'n\no', no",
    "😀😀no, no"
  })
  void looksAtFourCharacters(String prediction, @Nullable String parsed) {
    assertThat(parsed(Mme.OFFICIAL, prediction)).isEqualTo(parsed);
    assertThat(parsed(Mme.LLAVA, prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @CsvSource({
    "'   no', no",
    "y, yes",
    "N., no",
    "Y.E.S, yes",
    "'...yes', yes",
    "Uh no, ",
    "' .  no', no",
    "z, ",
    "'', "
  })
  void stripsBlanksAndDotsFirstAsLmmsEval(String prediction, @Nullable String parsed) {
    assertThat(parsed(Mme.LMMS_EVAL, prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @CsvSource({"Yes.., 1", "YES, 1", "'yes, it is', 0", "' yes', 0", "Yes!, 0"})
  void comparesTheWholeAnswerAsCambrian(String prediction, double score) {
    assertThat(Mme.CAMBRIAN.score(row("OCR", "1", "Yes", prediction)).score()).isEqualTo(score);
  }

  @ParameterizedTest
  @CsvSource({"'Well, yes.', yes", "yes or no, ", "Nope, ", "no!, no"})
  void looksForOneOfTwoWordsAsVlmEvalKit(String prediction, @Nullable String parsed) {
    assertThat(parsed(Mme.VLMEVALKIT, prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @EnumSource
  void givesHundredPointsForAnswersAndHundredForImages(Mme mode) {
    List<BenchmarkRow> rows =
        List.of(
            row("OCR", "1", "Yes", "yes"),
            row("OCR", "2", "No", "no"),
            row("OCR", "1", "No", "no"),
            row("OCR", "2", "Yes", "no"));

    Map<String, Object> summary = Scoring.summary(mode, rows);

    assertThat(number(summary, "subtasks.OCR.accuracy")).isEqualTo(0.75);
    assertThat(number(summary, "subtasks.OCR.accuracy_plus")).isEqualTo(0.5);
    assertThat(number(summary, "subtasks.OCR.score")).isEqualTo(125);
    assertThat(number(summary, "subtasks.OCR.rows")).isEqualTo(4);
  }

  @Test
  void addsUpPerceptionAndCognition() {
    List<BenchmarkRow> rows = new ArrayList<>();
    PERCEPTION.forEach(subtask -> rows.addAll(image(subtask, "1", "yes", "no")));
    rows.addAll(image("count", "2", "yes", "yes"));
    rows.addAll(image("code_reasoning", "1", "yes", "no"));

    Map<String, Object> summary = Scoring.summary(Mme.LLAVA, rows);

    assertThat(number(summary, "perception")).isCloseTo(9 * 200 + 75 + 50, within(1e-9));
    assertThat(number(summary, "cognition")).isNaN();
    assertThat(number(Scoring.summary(Mme.LMMS_EVAL, rows), "cognition")).isEqualTo(200);
    assertThat(number(Scoring.summary(Mme.CAMBRIAN, rows), "cognition")).isEqualTo(200);
  }

  @ParameterizedTest
  @EnumSource
  void hasNoTotalsForNoRows(Mme mode) {
    Map<String, Object> summary = Scoring.summary(mode, List.of());

    assertThat(number(summary, "perception")).isNaN();
    assertThat(number(summary, "cognition")).isNaN();
    assertThat(Scoring.at(summary, "subtasks")).isEqualTo(Map.of());
  }

  @ParameterizedTest
  @EnumSource(names = "LMMS_EVAL", mode = EnumSource.Mode.EXCLUDE)
  void refusesAnUnknownSubtask(Mme mode) {
    assertThatThrownBy(() -> mode.score(row("chess", "1", "Yes", "yes")))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: category must be one of MME's subtasks, not chess");
  }

  @Test
  void countsAnUnknownSubtaskAsCognitionInLmmsEval() {
    Map<String, Object> summary = Scoring.summary(Mme.LMMS_EVAL, image("chess", "1", "yes", "yes"));

    assertThat(number(summary, "cognition")).isEqualTo(50);
    assertThat(number(summary, "perception")).isNaN();
  }

  @Test
  void refusesAnImageWithoutTwoQuestions() {
    RowScore alone = Mme.LLAVA.score(row("OCR", "OCR/1.jpg", "Yes", "yes"));

    assertThatThrownBy(() -> Mme.LLAVA.scorePair(List.of(alone)))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Image OCR/OCR/1.jpg: MME asks 2 questions about it, not 1");
  }

  @Test
  void takesAMissingPredictionForAWrongOne() {
    RowScore row = Mme.LLAVA.score(row("OCR", "1", "No", null));

    assertThat(row.parsed()).isNull();
    assertThat(row.score()).isZero();
  }

  private static List<BenchmarkRow> image(
      String subtask, String image, String first, String second) {
    return List.of(row(subtask, image, "Yes", first), row(subtask, image, "No", second));
  }

  private static @Nullable String parsed(Mme mode, String prediction) {
    return mode.score(row("OCR", "1", "Yes", prediction)).parsed();
  }

  private static BenchmarkRow row(
      String subtask, String image, String answer, @Nullable String prediction) {
    return new BenchmarkRow(
        "7", Map.of("category", subtask, "question_id", image, "answer", answer), prediction);
  }
}
