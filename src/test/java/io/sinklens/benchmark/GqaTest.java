package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GqaTest {

  @ParameterizedTest
  @CsvSource(
      ignoreLeadingAndTrailingWhitespace = false,
      value = {
        // prediction, answer, llava, cambrian, lmms-eval
        "Table,table,1,1,1",
        "table..,table,1,1,1",
        "table. ,table,0,0,1",
        " table,table,0,0,1",
        "table!,table,0,0,1",
        "a table,table,0,0,0",
        "tables,table,0,0,0",
        "two,2,0,0,0",
        "t shirt,tshirt,0,0,0",
        "t-shirt,tshirt,0,0,1",
        "dog,Dog,0,1,1",
        "dog.,dog.,0,0,1",
        ",yes,0,0,0",
      })
  void comparesWhatEachScriptCompares(
      @Nullable String prediction, String answer, int llava, int cambrian, int lmmsEval) {
    BenchmarkRow row = row(prediction == null ? "" : prediction, answer, Map.of());
    assertThat(Gqa.LLAVA.score(row).score()).isEqualTo(llava);
    assertThat(Gqa.CAMBRIAN.score(row).score()).isEqualTo(cambrian);
    assertThat(Gqa.LMMS_EVAL.score(row).score()).isEqualTo(lmmsEval);
  }

  @Test
  void countsOnlyBalancedRowsUnderLlava() {
    BenchmarkRow row = row("yes", "yes", Map.of("isBalanced", false));
    assertThat(Gqa.LLAVA.score(row).counts()).isEmpty();
    assertThat(Gqa.LMMS_EVAL.score(row).counts()).isNotEmpty();
    assertThat(Gqa.LLAVA.score(row(null, "yes", Map.of("isBalanced", false))).counts()).isEmpty();
  }

  @Test
  void treatsAMissingPredictionAsEachScriptDoes() {
    BenchmarkRow missing = row(null, "yes", Map.of());
    assertThatThrownBy(() -> Gqa.LLAVA.score(missing))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: the prediction is missing, and this mode scores no incomplete set");
    assertThat(Gqa.CAMBRIAN.score(missing).counts()).isEmpty();
    assertThat(Gqa.LMMS_EVAL.score(missing).score()).isZero();
    assertThat(Gqa.LMMS_EVAL.score(missing).counts()).isNotEmpty();
  }

  @Test
  void sumsUpByTypeStepsAndLength() {
    Tally tally = new Tally();
    tally.add(
        Gqa.LLAVA
            .score(
                row(
                    "yes",
                    "yes",
                    Map.of(
                        "question", "Is\u00a0it  red ?",
                        "types", Map.of("structural", "verify", "semantic", "attr"),
                        "semantic",
                            List.of(
                                step("select", "cat (1)"),
                                step("verify color", "red"),
                                step("exist", "?")))))
            .counts());
    tally.add(
        Gqa.LLAVA
            .score(
                row(
                    "dog",
                    "cat",
                    Map.of(
                        "question", "One two three four five six seven eight nine ten?",
                        "types", Map.of("structural", "query", "semantic", "obj"),
                        "semantic",
                            List.of(
                                step("select", "x"),
                                step("relate", "nonexistent"), // holds "exist"
                                step("query", "name"),
                                step("query", "hposition"),
                                step("choose name", "a|b")))))
            .counts());
    Map<String, Object> right = Map.of("accuracy", 1.0, "rows", 1L);
    Map<String, Object> wrong = Map.of("accuracy", 0.0, "rows", 1L);
    Map<String, Object> summary = Gqa.LLAVA.summary(tally);
    assertThat(summary)
        .containsEntry("accuracy", 0.5)
        .containsEntry("binary", 1.0)
        .containsEntry("open", 0.0)
        .containsEntry("structural_types", Map.of("verify", right, "query", wrong))
        .containsEntry("semantic_types", Map.of("attr", right, "obj", wrong));
    assertThat((Map<?, ?>) summary.get("lengths"))
        .hasToString("{4={accuracy=1.0, rows=1}, 10={accuracy=0.0, rows=1}}");
    assertThat((Map<?, ?>) summary.get("steps")).hasToString("{2={accuracy=0.5, rows=2}}");
  }

  @Test
  void comparesTheSpreadOfAnswersByGroup() {
    Tally tally = new Tally();
    List<String> predictions = new ArrayList<>(List.of("red", "red", "red", "blue", "no colour"));
    List<String> answers = List.of("red", "red", "blue", "blue", "blue");
    for (int i = 0; i < answers.size(); i++) {
      tally.add(Gqa.LLAVA.score(grouped(predictions.get(i), answers.get(i), "color")).counts());
    }
    tally.add(Gqa.LLAVA.score(grouped("sofa", "sofa", "furniture")).counts());
    Map<String, Object> noGroup = new HashMap<>();
    noGroup.put("global", null);
    tally.add(Gqa.LLAVA.score(row("x", "y", Map.of("groups", noGroup))).counts());
    double color = (3 - 2) * (3 - 2) / 2.0 + (1 - 3) * (1 - 3) / 3.0;
    assertThat((Double) Gqa.LLAVA.summary(tally).get("distribution"))
        .isCloseTo((color * 5 + 0 * 1) / 6 / 100, within(1e-12));
  }

  private static BenchmarkRow grouped(String prediction, String answer, String group) {
    return row(prediction, answer, Map.of("groups", Map.of("global", group)));
  }

  private static Map<String, Object> step(String operation, String argument) {
    return Map.of("operation", operation, "argument", argument);
  }

  private static BenchmarkRow row(
      @Nullable String prediction, String answer, Map<String, Object> columns) {
    Map<String, Object> all =
        new HashMap<>(
            Map.of(
                "answer",
                answer,
                "isBalanced",
                true,
                "question",
                "Is it?",
                "types",
                Map.of("structural", "verify", "semantic", "attr"),
                "semantic",
                List.of()));
    all.putAll(columns);
    return new BenchmarkRow("7", all, prediction);
  }
}
