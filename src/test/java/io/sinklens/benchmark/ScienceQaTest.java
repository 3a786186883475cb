package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ScienceQaTest {
  private static final List<String> CHOICES = List.of("an apple tree", "sand, wet", "stone");

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      nullValues = "-",
      value = {
        "A | A",
        "A. apple | A",
        "'A. ' | A",
        "E | E",
        "F | -",
        "A. | -",
        "a | -",
        "(A) | -",
        "A) | -",
        "A: x | -",
        "A.x | -",
        "AB. x | -",
        "'' | -",
        "The answer is A. | A",
        "The answer is A | -",
        "The answer is A! | A",
        "So: The answer is B, of course | B",
        "The answer is Apple | A",
        "The answer is Z. | Z",
        "the answer is A. | -",
        "The answer is A. The answer is A. | -",
        "The answer is AThe answer is B. | A", // the T is taken with the first
      })
  void readsLettersAsLlava(String text, @Nullable String letter) {
    assertThat(ScienceQa.LLAVA.score(row(text, 0)).parsed()).isEqualTo(letter);
  }

  @Test
  void needsOneMoreCharacterInTheSameLine() {
    assertThat(ScienceQa.LLAVA.score(row("The answer is A\n", 0)).parsed()).isNull();
    assertThat(ScienceQa.LLAVA.score(row("The answer is A\u2028", 0)).score()).isEqualTo(1);
  }

  @Test
  void isWrongForALetterWithoutAChoice() {
    assertThat(ScienceQa.LLAVA.score(row("A", 0)).score()).isEqualTo(1);
    assertThat(ScienceQa.LLAVA.score(row("E", 0)).score()).isZero();
    assertThat(ScienceQa.LLAVA.score(row("The answer is Z.", 0)).score()).isZero();
  }

  @Test
  void countsAMissingPredictionAsWrongAndWithoutImageUnderLlava() {
    Tally tally = new Tally();
    tally.add(ScienceQa.LLAVA.score(row("A", 0)).counts());
    tally.add(ScienceQa.LLAVA.score(row("B", 0)).counts());
    tally.add(ScienceQa.LLAVA.score(row(null, 0)).counts());
    assertThat(ScienceQa.LLAVA.summary(tally))
        .isEqualTo(Map.of("accuracy", 1 / 3.0, "rows", 3L, "img_accuracy", 0.5, "img_rows", 2L));
    assertThat(ScienceQa.LMMS_EVAL.score(row(null, 0)).score()).isZero();
    assertThat(ScienceQa.LMMS_EVAL.score(row(null, 0)).counts()).isNotEmpty();
    assertThat(ScienceQa.CAMBRIAN.score(row(null, 0)).counts()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"A", "a", " a\n", "A.", "A. x", "A.x"})
  void takesLettersBeforeADotUnderLmmsEval(String text) {
    assertThat(ScienceQa.LMMS_EVAL.score(row(text, 0)).score()).isEqualTo(1);
    assertThat(ScienceQa.LMMS_EVAL.score(row(text, 0)).parsed()).isEqualTo("a");
  }

  @ParameterizedTest
  @ValueSource(strings = {"a.", "(A)", "A)", "A: x", "The answer is A.", "B", "B. A", ""})
  void takesNoOtherLettersUnderLmmsEval(String text) {
    assertThat(ScienceQa.LMMS_EVAL.score(row(text, 0)).score()).isZero();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "B",
        "b.",
        "b. anything",
        "The answer is B.",
        "Answer: B",
        "answer is A, answer: b. x",
        "Sand; WET!",
        "sand wet",
        "The answer is sand, wet..",
      })
  void takesTheLetterOrTheChoiceUnderCambrian(String text) {
    assertThat(ScienceQa.CAMBRIAN.score(row(text, 1)).score()).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(strings = {"(B)", "B)", "B: x", "answer is: B", "sand", "", "A"})
  void takesNothingElseUnderCambrian(String text) {
    assertThat(ScienceQa.CAMBRIAN.score(row(text, 1)).score()).isZero();
  }

  @Test
  void sumsUpByGradeUnderCambrian() {
    Tally tally = new Tally();
    tally.add(ScienceQa.CAMBRIAN.score(row("A", 0)).counts());
    tally.add(ScienceQa.CAMBRIAN.score(row("A", 1)).counts());
    assertThat(ScienceQa.CAMBRIAN.summary(tally))
        .isEqualTo(
            Map.of(
                "accuracy",
                0.5,
                "rows",
                2L,
                "grades",
                Map.of("grade2", Map.of("accuracy", 0.5, "rows", 2L))));
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, 3})
  void refusesAnAnswerThatIsNoChoice(long answer) {
    for (ScienceQa mode : ScienceQa.values()) {
      assertThatThrownBy(() -> mode.score(row("A", answer)))
          .isInstanceOf(UnscorableRowException.class)
          .hasMessage(
              "Row 7: column answer must be the place of one of 3 choices, from 0, not " + answer);
    }
  }

  private static BenchmarkRow row(@Nullable String prediction, long answer) {
    return new BenchmarkRow(
        "7", Map.of("choices", CHOICES, "answer", answer, "grade", "grade2"), prediction);
  }
}
