package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class CvBenchTest {
  @ParameterizedTest
  @CsvSource({
    "A, a",
    "(B), b",
    "((b)), b",
    "chair, c",
    "There are 3, t",
    "'(((' , ",
    "'((( a', ' '",
    "'', ",
    "The answer is (C)., c",
    "answer is: (A), :",
    "Answer: A, a",
    "the answer is b. The answer is C, c",
    "'A,', a",
    "'.:', .",
    "😀x, 😀"
  })
  void keepsTheFirstCharacter(String prediction, @Nullable String parsed) {
    assertThat(parsed(CvBench.OFFICIAL, "COCO", prediction)).isEqualTo(parsed);
    assertThat(parsed(CvBench.CAMBRIAN, "ADE20K", prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @CsvSource({"':', COCO, :", "':', Omni3D,", "',', Omni3D,", "'.', COCO,"})
  void dropsOtherMarksInTheThirdDimension(
      String prediction, String source, @Nullable String parsed) {
    assertThat(parsed(CvBench.OFFICIAL, source, prediction)).isEqualTo(parsed);
  }

  @ParameterizedTest
  @CsvSource({"Omni3D, 1", "COCO, 0"})
  void takesAChoiceOfOneCharacterForItsLetterInTheThirdDimension(String source, double score) {
    assertThat(CvBench.OFFICIAL.score(row(source, "(B)", "4", "3", "4")).score()).isEqualTo(score);
  }

  @ParameterizedTest
  @CsvSource({
    "A, A",
    "b) chair, B",
    "' (( C', C",
    "There are 3, T",
    "Answer: B, A",
    "left, L",
    "3, ",
    "-A, ",
    "'', ",
    "ſo, S"
  })
  void keepsTheFirstLetterAsLmmsEval(String prediction, @Nullable String parsed) {
    assertThat(parsed(CvBench.LMMS_EVAL, "COCO", prediction)).isEqualTo(parsed);
  }

  @Test
  void givesTheMeanOverSourcesAndThePooledAccuracy() {
    List<BenchmarkRow> rows = new ArrayList<>();
    rows.addAll(Collections.nCopies(3, row("ADE20K", "(A)", "A", "x", "y")));
    rows.add(row("COCO", "(A)", "B", "x", "y"));
    rows.add(row("Omni3D", "(B)", "B", "x", "y"));

    Map<String, Object> summary = Scoring.summary(CvBench.OFFICIAL, rows);

    assertThat(number(summary, "source_mean.2d")).isEqualTo(0.5);
    assertThat(number(summary, "source_mean.3d")).isEqualTo(1);
    assertThat(number(summary, "source_mean.overall")).isEqualTo(0.75);
    assertThat(number(summary, "pooled.2d")).isEqualTo(0.75);
    assertThat(number(summary, "pooled.overall")).isEqualTo(0.8);
    assertThat(number(summary, "sources.ADE20K.rows")).isEqualTo(3);
    assertThat(number(summary, "tasks.Count.accuracy")).isEqualTo(0.8);
  }

  @ParameterizedTest
  @EnumSource
  void hasNaNsForNoRows(CvBench mode) {
    Map<String, Object> summary = Scoring.summary(mode, List.of());

    assertThat(number(summary, "source_mean.overall")).isNaN();
    assertThat(number(summary, "pooled.overall")).isNaN();
  }

  @Test
  void refusesASourceWithoutAScript() {
    assertThatThrownBy(() -> CvBench.OFFICIAL.score(row("KITTI", "(A)", "A", "x")))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: source must be ADE20K, COCO or Omni3D, not KITTI");
    assertThat(CvBench.LMMS_EVAL.score(row("KITTI", "(A)", "A", "x")).score()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({
    "A, 'Row 7: answer must be a letter in brackets, not a'",
    "(C), 'Row 7: answer c must be one of 2 options'"
  })
  void refusesAnAnswerThatIsNoChoice(String answer, String message) {
    assertThatThrownBy(() -> CvBench.OFFICIAL.score(row("Omni3D", answer, "A", "x", "y")))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage(message);
  }

  @ParameterizedTest
  @EnumSource
  void takesAMissingPredictionForAWrongOne(CvBench mode) {
    RowScore row = mode.score(row("COCO", "(A)", null, "x", "y"));

    assertThat(row.parsed()).isNull();
    assertThat(row.score()).isZero();
  }

  private static @Nullable String parsed(CvBench mode, String source, String prediction) {
    return mode.score(row(source, "(A)", prediction, "x", "y")).parsed();
  }

  private static BenchmarkRow row(
      String source, String answer, @Nullable String prediction, String... choices) {
    return new BenchmarkRow(
        "7",
        Map.of(
            "source",
            source,
            "type",
            source.equals("Omni3D") ? "3D" : "2D",
            "task",
            "Count",
            "choices",
            List.of(choices),
            "answer",
            answer),
        prediction);
  }
}
