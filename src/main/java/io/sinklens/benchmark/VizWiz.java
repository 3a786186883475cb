package io.sinklens.benchmark;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * VizWiz-VQA on a split with answers. {@code unanswerable} is an answer like any other.
 *
 * <p>Source: {@code vqaEval.py} of VizWiz, in a copy, since the server's is not public; LLaVA,
 * lmms-eval and Cambrian of 2024 to 2026.
 */
enum VizWiz implements Scorer {
  /**
   * The published script: only the prediction is normalised, so that answers with punctuation,
   * articles or number words are never met. Means are rounded to hundredths of a percent. A missing
   * prediction is refused.
   */
  OFFICIAL,

  /** The prediction goes through the EvalAI processor first. A missing prediction is refused. */
  LLAVA,

  /**
   * Both sides go through the EvalAI processor. A missing prediction is empty; no answers score 0.
   */
  LMMS_EVAL,

  /**
   * As lmms-eval, in lower case first, with exactly ten answers or none. A row without a prediction
   * is left out.
   */
  CAMBRIAN;

  private static final String ALL = "all";
  private static final String ANSWER_TYPES = "answer_types";

  @Override
  public List<String> columns() {
    return List.of("answers");
  }

  @Override
  public List<String> optionalColumns() {
    return List.of("answer_type", "category");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    return switch (this) {
      case OFFICIAL -> official(row, row.requiredPrediction());
      case LLAVA -> official(row, VqaText.evalAi(row.requiredPrediction()));
      case LMMS_EVAL -> processed(row);
      case CAMBRIAN -> row.prediction() == null ? RowScore.leftOut(row) : processed(row);
    };
  }

  private static RowScore official(BenchmarkRow row, String prediction) {
    String compared = VqaText.VIZWIZ.normalised(VqaText.clean(prediction));
    List<String> answers = SoftAccuracy.required(row, row.texts("answers"), 1);
    return scored(row, compared, SoftAccuracy.units(compared, answers), answerType(row));
  }

  private RowScore processed(BenchmarkRow row) {
    String compared = VqaText.evalAi(row.predictionOrEmpty());
    List<String> answers = row.texts("answers").stream().map(VqaText::evalAi).toList();
    long units = 0;
    if (!answers.isEmpty()) {
      SoftAccuracy.required(row, answers, this == CAMBRIAN ? SoftAccuracy.ANNOTATORS : 1);
      units = SoftAccuracy.units(compared, answers);
    }
    return scored(row, row.prediction() == null ? null : compared, units, null);
  }

  /** The Hub has it as the category. */
  private static @Nullable String answerType(BenchmarkRow row) {
    String type = row.textOrNull("answer_type");
    return type != null ? type : row.textOrNull("category");
  }

  private static RowScore scored(
      BenchmarkRow row, @Nullable String compared, long units, @Nullable String answerType) {
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, ALL, units);
    if (answerType != null) {
      Means.count(counts, ANSWER_TYPES, answerType, units);
    }
    return new RowScore(row.id(), compared, Means.OF_SOFT.score(units), counts, null);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    boolean official = this == OFFICIAL || this == LLAVA;
    Means means = official ? Means.OF_SOFT_ROUNDED : Means.OF_SOFT;
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", means.of(tally, ALL));
    summary.put("rows", Means.rows(tally, ALL));
    if (official) {
      summary.put(ANSWER_TYPES, means.table(tally, ANSWER_TYPES));
    }
    return summary;
  }
}
