package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** VQAv2, VizWiz and TextVQA: what each mode compares, and what it makes of missing parts. */
class VqaScorersTest {

  @ParameterizedTest
  @CsvSource({
    // prediction, what all ten say, official, llava, lmms-eval
    "Yes, yes, 0, 1, 1",
    "Yes, Yes, 1, 0, 1",
    "the dog, the dog, 1, 0, 1",
    "man's, man's, 1, 0, 1",
    "two, two, 1, 0, 1",
    "dog., dog, 0, 1, 1",
    " dog\t, dog, 1, 1, 1",
  })
  void comparesUnanimousAnswersAsTheyAre(
      String prediction, String answer, double official, double llava, double lmmsEval) {
    BenchmarkRow row = vqa(prediction, tenOf(answer));
    assertThat(Vqav2.OFFICIAL.score(row).score()).isEqualTo(official);
    assertThat(Vqav2.LLAVA.score(row).score()).isEqualTo(llava);
    assertThat(Vqav2.LMMS_EVAL.score(row).score()).isEqualTo(lmmsEval);
  }

  @Test
  void normalisesBothSidesWhereAnnotatorsDiffer() {
    BenchmarkRow row = vqa("The Two Dogs!", tenOf("2 dogs", "two dogs.", "cat", "cats", "a cat"));
    RowScore score = Vqav2.OFFICIAL.score(row);
    assertThat(score.parsed()).isEqualTo("2 dogs");
    assertThat(score.score()).isEqualTo(1);
    assertThat(Vqav2.OFFICIAL.score(vqa("cats!", tenOf("2", "3", "4", "5", "cats"))).score())
        .isCloseTo(0.6, within(1e-9));
    // only the prediction's possessive is taken apart
    assertThat(Vqav2.LLAVA.score(vqa("man's", tenOf("man's", "dog"))).parsed()).isEqualTo("man 's");
    assertThat(Vqav2.LLAVA.score(vqa("man's", tenOf("man's", "dog"))).score()).isZero();
  }

  @Test
  void tellsAnnotatorsApartByTheirWholeRecord() {
    List<Map<String, Object>> nameless =
        IntStream.range(0, 10)
            .<Map<String, Object>>mapToObj(i -> Map.of("answer", i % 2 == 0 ? "yes" : "no"))
            .toList();
    for (Vqav2 mode : Vqav2.values()) {
      assertThat(mode.score(vqa("no", nameless)).score()).isCloseTo(0.5, within(1e-9));
      assertThat(mode.score(vqa("no", tenOf("yes", "no"))).score()).isEqualTo(1);
    }
  }

  @Test
  void sumsUpByTypeAndRoundsAsTheScript() {
    Tally tally = new Tally();
    for (int i = 0; i < 7; i++) {
      tally.add(Vqav2.OFFICIAL.score(vqa(i < 2 ? "no" : "x", tenOf("no"), "is the")).counts());
    }
    tally.add(Vqav2.OFFICIAL.score(vqa("no", tenOf("no"), "what")).counts());
    assertThat(Vqav2.OFFICIAL.summary(tally))
        .containsEntry("accuracy", 0.375)
        .containsEntry("rows", 8L)
        .containsEntry(
            "question_types",
            Map.of(
                "is the", Map.of("accuracy", 0.2857, "rows", 7L),
                "what", Map.of("accuracy", 1.0, "rows", 1L)))
        .containsEntry("answer_types", Map.of("other", Map.of("accuracy", 0.375, "rows", 8L)));
    assertThat(Vqav2.LMMS_EVAL.summary(tally)).containsOnlyKeys("accuracy", "rows");
  }

  @ParameterizedTest
  @CsvSource({"1, 16, 0.0625", "3, 7, 0.4286", "1, 32, 0.0312", "3, 32, 0.0938"})
  void roundsHalfToEvenHundredthsOfAPercent(int hits, int rows, double rounded) {
    Tally tally = new Tally();
    for (int i = 0; i < rows; i++) {
      tally.add(Vqav2.LLAVA.score(vqa(i < hits ? "no" : "x", tenOf("no"))).counts());
    }
    assertThat(Vqav2.LLAVA.summary(tally)).containsEntry("accuracy", rounded);
  }

  @Test
  void treatsAMissingPredictionAsEachScriptDoes() {
    BenchmarkRow vqa = vqa(null, tenOf("the", "an"));
    assertRefused(Vqav2.OFFICIAL, vqa);
    assertThat(Vqav2.LLAVA.score(vqa).score()).isEqualTo(1); // two normalised articles are empty
    assertThat(Vqav2.LLAVA.score(vqa).parsed()).isNull();
    assertThat(Vqav2.LMMS_EVAL.score(vqa).score()).isEqualTo(1);

    BenchmarkRow vizWiz = list(null, "the", "an");
    assertRefused(VizWiz.OFFICIAL, vizWiz);
    assertRefused(VizWiz.LLAVA, vizWiz);
    assertThat(VizWiz.LMMS_EVAL.score(vizWiz).score()).isEqualTo(1);
    assertThat(VizWiz.CAMBRIAN.score(vizWiz).counts()).isEmpty();

    assertThat(TextVqa.LLAVA.score(vizWiz).counts()).isEmpty();
    assertThat(TextVqa.LMMS_EVAL.score(vizWiz).score()).isEqualTo(1);
    assertThat(TextVqa.VLMEVALKIT.score(vizWiz).score()).isEqualTo(1);
  }

  @Test
  void scoresRowsWithoutAnswersZeroOrRefusesThem() {
    BenchmarkRow vqa = new BenchmarkRow("7", Map.of("question_type", "x", "answer_type", "x"), "");
    assertThat(Vqav2.LMMS_EVAL.score(vqa).score()).isZero();
    BenchmarkRow none = new BenchmarkRow("7", Map.of(), "");
    assertThat(VizWiz.LMMS_EVAL.score(none).score()).isZero();
    assertThat(VizWiz.CAMBRIAN.score(none).score()).isZero();
    assertThat(VizWiz.CAMBRIAN.score(none).counts()).isNotEmpty();
    assertThat(TextVqa.LMMS_EVAL.score(none).score()).isZero();
    assertRefused(Vqav2.OFFICIAL, vqa);
    assertRefused(Vqav2.LLAVA, vqa);
    assertRefused(VizWiz.OFFICIAL, none);
    assertRefused(VizWiz.LLAVA, none);
    assertRefused(TextVqa.LLAVA, none);
    assertRefused(TextVqa.VLMEVALKIT, none);
  }

  @Test
  void asksForTenAnswersWhereTheScriptDoes() {
    BenchmarkRow nine =
        new BenchmarkRow(
            "7", Map.of("answers", list("x", "yes").texts("answers").subList(0, 9)), "yes");
    assertRefused(TextVqa.LLAVA, nine);
    assertRefused(VizWiz.CAMBRIAN, nine);
    assertThat(TextVqa.LMMS_EVAL.score(nine).score()).isEqualTo(1);
    assertThat(TextVqa.VLMEVALKIT.score(nine).score()).isEqualTo(1);
    assertThat(VizWiz.OFFICIAL.score(nine).score()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({
    // prediction, what all ten say, official, llava, lmms-eval and cambrian
    "Unanswerable., unanswerable, 1, 1, 1",
    "unsuitable, unsuitable image, 0, 0, 0",
    "dog, Dog, 0, 0, 1",
    "the dog, the dog, 0, 0, 1",
    "two, two, 0, 0, 1",
    "two, 2, 1, 1, 1",
    "dont, don't, 0, 1, 1",
    "don't, don't, 1, 1, 1",
    "man's, man's, 1, 0, 1",
  })
  void normalisesOnlyThePredictionForVizWiz(
      String prediction, String answer, double official, double llava, double others) {
    BenchmarkRow row = list(prediction, answer);
    assertThat(VizWiz.OFFICIAL.score(row).score()).isEqualTo(official);
    assertThat(VizWiz.LLAVA.score(row).score()).isEqualTo(llava);
    assertThat(VizWiz.LMMS_EVAL.score(row).score()).isEqualTo(others);
    assertThat(VizWiz.CAMBRIAN.score(row).score()).isEqualTo(others);
  }

  @ParameterizedTest
  @EnumSource(names = {"OFFICIAL", "LLAVA"})
  void sumsVizWizUpByAnswerTypeOrElseCategory(VizWiz mode) {
    List<String> answers = list("x", "yes").texts("answers");
    Tally tally = new Tally();
    tally.add(mode.score(typed(answers, Map.of("category", "yes/no"))).counts());
    tally.add(
        mode.score(typed(answers, Map.of("category", "val", "answer_type", "other"))).counts());
    tally.add(mode.score(typed(answers, Map.of())).counts());
    Map<String, Object> line = Map.of("accuracy", 1.0, "rows", 1L);
    assertThat(mode.summary(tally))
        .containsEntry("rows", 3L)
        .containsEntry("answer_types", Map.of("yes/no", line, "other", line));
  }

  @Test
  void keepsADotAfterADigitInVlmevalkitsTextVqa() {
    assertThat(TextVqa.VLMEVALKIT.score(list("2.", "2")).score()).isZero();
    assertThat(TextVqa.VLMEVALKIT.score(list("2.", "2")).parsed()).isEqualTo("2.");
    assertThat(TextVqa.LLAVA.score(list("2.", "2")).score()).isEqualTo(1);
    assertThat(TextVqa.LMMS_EVAL.score(list("2.", "2")).score()).isEqualTo(1);
    // and it takes no possessive apart
    assertThat(TextVqa.VLMEVALKIT.score(list("mens", "men's")).score()).isZero();
    assertThat(TextVqa.LLAVA.score(list("MEN's", "men 's")).score()).isEqualTo(1);
  }

  @Test
  void saysNothingOfNoRows() {
    for (String name : List.of("vqav2", "vizwiz", "textvqa", "gqa", "scienceqa")) {
      Benchmarks.named(name)
          .scorers()
          .values()
          .forEach(
              scorer ->
                  assertThat(scorer.summary(new Tally()))
                      .containsEntry("accuracy", Double.NaN)
                      .containsEntry("rows", 0L));
    }
  }

  private static void assertRefused(Scorer scorer, BenchmarkRow row) {
    assertThatThrownBy(() -> scorer.score(row))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessageStartingWith("Row 7: ");
  }

  private static BenchmarkRow vqa(@Nullable String prediction, List<Map<String, Object>> answers) {
    return vqa(prediction, answers, "what");
  }

  private static BenchmarkRow vqa(
      @Nullable String prediction, List<Map<String, Object>> answers, String questionType) {
    return new BenchmarkRow(
        "7",
        Map.of("answers", answers, "question_type", questionType, "answer_type", "other"),
        prediction);
  }

  /** Ten records, which go through the answers again and again. */
  private static List<Map<String, Object>> tenOf(String... answers) {
    return IntStream.range(0, 10)
        .<Map<String, Object>>mapToObj(
            i -> Map.of("answer", answers[i % answers.length], "answer_id", (long) i + 1))
        .toList();
  }

  private static BenchmarkRow list(@Nullable String prediction, String... answers) {
    List<String> ten = IntStream.range(0, 10).mapToObj(i -> answers[i % answers.length]).toList();
    return new BenchmarkRow("7", Map.of("answers", ten), prediction);
  }

  private static BenchmarkRow typed(List<String> answers, Map<String, Object> types) {
    Map<String, Object> columns = new HashMap<>(types);
    columns.put("answers", answers);
    return new BenchmarkRow("7", columns, "yes");
  }
}
