package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * VQAv2 on a split with answers.
 *
 * <p>Source: {@code vqaEval.py} of VQA v2, 2021; LLaVA and lmms-eval of 2024 and 2026. An annotator
 * is left out by comparison of whole records, so equal answers go together where {@code answer_id}
 * is missing.
 */
enum Vqav2 implements Scorer {
  /**
   * The published script. Where all annotators say the same, the prediction must equal it, case and
   * articles included; else both sides are normalised. Means are rounded to hundredths of a
   * percent. A missing prediction is refused.
   */
  OFFICIAL,

  /** The prediction goes through the EvalAI processor first. A missing prediction is empty. */
  LLAVA,

  /** Both sides are always normalised. A missing prediction is empty; no answers score 0. */
  LMMS_EVAL;

  private static final String ALL = "all";
  private static final String QUESTION_TYPES = "question_types";
  private static final String ANSWER_TYPES = "answer_types";

  @Override
  public List<String> columns() {
    return this == LMMS_EVAL
        ? List.of("answers")
        : List.of("answers", "question_type", "answer_type");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    String prediction = this == OFFICIAL ? row.requiredPrediction() : row.predictionOrEmpty();
    String compared = VqaText.clean(this == LLAVA ? VqaText.evalAi(prediction) : prediction);
    List<String> answers = row.texts("answers", "answer").stream().map(VqaText::clean).toList();
    if (this == LMMS_EVAL || new HashSet<>(answers).size() > 1) {
      VqaText text = this == LMMS_EVAL ? VqaText.EVAL_AI : VqaText.OFFICIAL;
      compared = text.normalised(compared);
      answers = answers.stream().map(text::normalised).toList();
    }
    long units = 0;
    if (this != LMMS_EVAL || !answers.isEmpty()) {
      SoftAccuracy.required(row, answers, 1);
      units = SoftAccuracy.units(compared, answers, records(row, answers));
    }
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, ALL, units);
    if (this != LMMS_EVAL) {
      Means.count(counts, QUESTION_TYPES, row.text("question_type"), units);
      Means.count(counts, ANSWER_TYPES, row.text("answer_type"), units);
    }
    return new RowScore(
        row.id(),
        row.prediction() == null ? null : compared,
        Means.OF_SOFT.score(units),
        counts,
        null);
  }

  /** The annotators' records with the answers as they are compared. */
  private static List<Map<Object, Object>> records(BenchmarkRow row, List<String> answers) {
    List<Map<Object, Object>> records = new ArrayList<>();
    for (Map<?, ?> annotator : row.structs("answers")) {
      Map<Object, Object> record = new HashMap<>(annotator);
      record.put("answer", answers.get(records.size()));
      records.add(record);
    }
    return records;
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Means means = this == LMMS_EVAL ? Means.OF_SOFT : Means.OF_SOFT_ROUNDED;
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", means.of(tally, ALL));
    summary.put("rows", Means.rows(tally, ALL));
    if (this != LMMS_EVAL) {
      summary.put(QUESTION_TYPES, means.table(tally, QUESTION_TYPES));
      summary.put(ANSWER_TYPES, means.table(tally, ANSWER_TYPES));
    }
    return summary;
  }
}
