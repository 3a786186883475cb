package io.sinklens.job;

import io.sinklens.dataset.FailureKind;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import java.io.Serializable;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import org.apache.spark.SparkContext;
import org.apache.spark.util.LongAccumulator;

/**
 * What tasks count while they run. For progress only: a task that Spark repeats counts again.
 *
 * @param answered annotations with an answer
 * @param failed annotations without one, by cause
 * @param promptTokens tokens of the prompts of answered rows
 * @param generatedTokens tokens of their answers
 */
record Counters(
    LongAccumulator answered,
    Map<FailureKind, LongAccumulator> failed,
    LongAccumulator promptTokens,
    LongAccumulator generatedTokens)
    implements Serializable {

  static Counters in(SparkContext spark) {
    Map<FailureKind, LongAccumulator> failed = new EnumMap<>(FailureKind.class);
    for (FailureKind kind : FailureKind.values()) {
      failed.put(kind, spark.longAccumulator("failed " + kind.name().toLowerCase(Locale.ROOT)));
    }
    return new Counters(
        spark.longAccumulator("answered"),
        failed,
        spark.longAccumulator("prompt tokens"),
        spark.longAccumulator("generated tokens"));
  }

  void count(Annotation annotation) {
    Outcome outcome = annotation.outcome();
    if (outcome instanceof Outcome.Answered row) {
      answered.add(1L);
      promptTokens.add(row.prompt().promptTokenCount());
      generatedTokens.add(row.answer().tokenIds().size());
    } else if (outcome instanceof Outcome.Failed row) {
      LongAccumulator kind = failed.get(row.failure().kind());
      if (kind != null) {
        kind.add(1L);
      }
    }
  }
}
