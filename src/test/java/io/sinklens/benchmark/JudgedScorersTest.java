package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.entry;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class JudgedScorersTest {
  @ParameterizedTest
  @CsvSource({
    "0.5, 0.5, 0.5",
    "1, 1, 1",
    "'.25\n', .25, 0.25",
    "0.5 or so, 0.5, 0.5",
    "1e-1, 1e-1, 0.1",
    "' 0.5', , 0",
    "1.1, , 0",
    "-0.1, , 0",
    "nan, , 0",
    "'0.5, I think', , 0",
    "Score: 0.5, , 0",
    "'', , 0"
  })
  void readsTheFirstWordForANumberInMmVet(String reply, @Nullable String parsed, double score) {
    RowScore row = MmVet.OFFICIAL.score(vet(reply, "rec"));

    assertThat(row.parsed()).isEqualTo(parsed);
    assertThat(row.score()).isEqualTo(score);
  }

  @Test
  void readsRepliesUntilOneIsANumberInMmVet() {
    List<String> replies = List.of("?", "?", "2", "?", "0.7", "0.1");

    assertThat(MmVet.OFFICIAL.score(vet(replies, "rec")).score()).isEqualTo(0.7);
    assertThat(MmVet.LMMS_EVAL.score(vet(replies, "rec")).score()).isZero();
    assertThat(MmVet.OFFICIAL.score(vet(List.of("?", "?", "?", "?", "?", "1"), "rec")).score())
        .isZero();
  }

  @ParameterizedTest
  @EnumSource
  void averagesCapabilitiesAndTheirCombinationsInMmVet(MmVet mode) {
    List<BenchmarkRow> rows =
        List.of(vet("1.0", "rec,ocr"), vet("0.5", "ocr,rec"), vet("0.0", "ocr"));

    Map<String, Object> summary = Scoring.summary(mode, rows);

    assertThat(number(summary, "accuracy")).isEqualTo(0.5);
    assertThat(number(summary, "capabilities.ocr.accuracy")).isEqualTo(0.5);
    assertThat(number(summary, "capabilities.rec.accuracy")).isEqualTo(0.75);
    assertThat(number(summary, "combinations.ocr_rec.accuracy")).isEqualTo(0.75);
    assertThat(number(summary, "combinations.ocr.rows")).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({
    "Rating: 3, 3, 3",
    "It is fine. **Rating: 6**, 6, 6",
    "RATING: 0, 0, 0",
    "Rating:3, , 0",
    "Rating: 10, 1, 1",
    "'Rating: 2, or rating: 4', , 0",
    "'Rating: 2, rating: 2', 2, 2",
    "'', , 0"
  })
  void readsTheOnlyRatingInMmHalBench(String reply, @Nullable String parsed, double score) {
    RowScore row = MmHalBench.OFFICIAL.score(hal(reply, "attribute"));

    assertThat(row.parsed()).isEqualTo(parsed);
    assertThat(row.score()).isEqualTo(score);
  }

  @Test
  void averagesRatingsByQuestionTypeInMmHalBench() {
    List<BenchmarkRow> rows =
        List.of(
            hal("rating: 6", "counting"), hal("rating: 2", "counting"), hal("rating: 3", "ocr"));

    Map<String, Object> summary = Scoring.summary(MmHalBench.OFFICIAL, rows);

    assertThat(number(summary, "rating")).isEqualTo(11 / 3.0);
    assertThat(number(summary, "hallucination_rate")).isEqualTo(1 / 3.0);
    assertThat(number(summary, "question_types.counting.rating")).isEqualTo(4);
    assertThat(number(summary, "question_types.ocr.rows")).isEqualTo(1);
  }

  @Test
  void hasNaNsForNoRows() {
    assertThat(number(Scoring.summary(MmVet.OFFICIAL, List.of()), "accuracy")).isNaN();
    Map<String, Object> summary = Scoring.summary(MmHalBench.OFFICIAL, List.of());
    assertThat(number(summary, "rating")).isNaN();
    assertThat(number(summary, "hallucination_rate")).isNaN();
  }

  @Test
  void refusesRowsThatNoJudgeHasSeen() {
    BenchmarkRow row =
        new BenchmarkRow("7", Map.of("capability", "rec", "question_type", "ocr"), "a cat");

    for (Scorer scorer : List.of(MmVet.OFFICIAL, MmHalBench.OFFICIAL)) {
      assertThatThrownBy(() -> scorer.score(row))
          .isInstanceOf(UnscorableRowException.class)
          .hasMessage("Row 7: column judge_reply must be a text, not null");
    }
  }

  @Test
  void asksTheJudgeWithWhatThePromptNeeds() {
    BenchmarkRow vet =
        new BenchmarkRow("v1_0", Map.of("question", "x?", "answer", "-1<AND>-5<OR>5"), "x = 3");
    assertThat(MmVet.OFFICIAL.request(vet).fields())
        .containsExactly(
            entry("question", "x?"),
            entry("ground_truth", "-1 <AND> -5 <OR> 5"),
            entry("prediction", "x = 3"));
    assertThat(MmVet.OFFICIAL.request(vet).judge()).isEqualTo("gpt-4-0613");
    assertThat(MmVet.OFFICIAL.request(vet).maxTokens()).isEqualTo(3);

    BenchmarkRow hal =
        new BenchmarkRow(
            "1",
            Map.of("image_content", List.of("Dog", "Umbrella"), "question", "q", "gt_answer", "g"),
            null);
    assertThat(MmHalBench.OFFICIAL.request(hal).fields())
        .containsExactly(
            entry("image_contents", "Dog, Umbrella"),
            entry("question", "q"),
            entry("standard_answer", "g"),
            entry("response", ""));

    BenchmarkRow mmvp =
        new BenchmarkRow(
            "1",
            Map.of("Question", "Which?", "Options", "(a) A (b) B", "Correct Answer", "(a)"),
            "A");
    assertThat(Mmvp.LMMS_EVAL.request(mmvp)).isNull();
    assertThat(Mmvp.OFFICIAL.request(mmvp))
        .isNotNull()
        .satisfies(
            request ->
                assertThat(request.fields())
                    .containsExactly(
                        entry("question", "Which? (a) A (b) B"),
                        entry("correct_answer", "(a)"),
                        entry("response", "A")));
  }

  private static BenchmarkRow vet(Object reply, String capability) {
    return new BenchmarkRow("7", Map.of("judge_reply", reply, "capability", capability), "a cat");
  }

  private static BenchmarkRow hal(String reply, String type) {
    return new BenchmarkRow("7", Map.of("judge_reply", reply, "question_type", type), "a cat");
  }
}
