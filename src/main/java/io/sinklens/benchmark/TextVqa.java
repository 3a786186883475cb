package io.sinklens.benchmark;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * TextVQA on a split with answers. Rows are named by their ids; LLaVA's script finds them by image
 * and question, which is the same where no image has a question twice.
 *
 * <p>Source: {@code m4c_evaluator.py} in LLaVA, 2024; lmms-eval and VLMEvalKit of 2026.
 */
enum TextVqa implements Scorer {
  /**
   * Both sides go through the EvalAI processor; exactly ten answers. A row without a prediction is
   * left out.
   */
  LLAVA,

  /** The same for any number of answers; none score 0. A missing prediction is empty. */
  LMMS_EVAL,

  /** Both sides normalised, with {@link VqaText#VLMEVALKIT}. A missing prediction is empty. */
  VLMEVALKIT;

  private static final String ALL = "all";

  @Override
  public List<String> columns() {
    return List.of("answers");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    if (this == LLAVA && row.prediction() == null) {
      return RowScore.leftOut(row);
    }
    List<String> answers = row.texts("answers").stream().map(this::compared).toList();
    String prediction = compared(row.predictionOrEmpty());
    long units = 0;
    if (this != LMMS_EVAL || !answers.isEmpty()) {
      SoftAccuracy.required(row, answers, this == LLAVA ? SoftAccuracy.ANNOTATORS : 1);
      units = SoftAccuracy.units(prediction, answers);
    }
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, ALL, units);
    return new RowScore(
        row.id(),
        row.prediction() == null ? null : prediction,
        Means.OF_SOFT.score(units),
        counts,
        null);
  }

  private String compared(String answer) {
    return this == VLMEVALKIT
        ? VqaText.VLMEVALKIT.normalised(VqaText.clean(answer))
        : VqaText.evalAi(answer);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", Means.OF_SOFT.of(tally, ALL));
    summary.put("rows", Means.rows(tally, ALL));
    return summary;
  }
}
