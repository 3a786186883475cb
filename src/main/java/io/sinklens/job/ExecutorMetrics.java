package io.sinklens.job;

import com.codahale.metrics.Counter;
import com.codahale.metrics.Gauge;
import com.codahale.metrics.Meter;
import com.codahale.metrics.Metric;
import com.codahale.metrics.MetricSet;
import io.sinklens.dataset.FailureKind;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.EngineFigures;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;

/**
 * What the annotators of an executor do, in the form that Spark's metrics system takes. Counted
 * whether anyone looks or not; what takes reading is read when someone does.
 */
final class ExecutorMetrics implements MetricSet {
  private final Meter answered = new Meter();
  private final Meter failed = new Meter();
  private final Map<FailureKind, Counter> failedByKind = new EnumMap<>(FailureKind.class);
  private final Meter promptTokens = new Meter();
  private final Meter generatedTokens = new Meter();
  private final Counter loads = new Counter();
  private final List<Annotator> open = new CopyOnWriteArrayList<>();
  private final AtomicReference<EngineFigures> former = new AtomicReference<>(EngineFigures.NONE);

  ExecutorMetrics() {
    for (FailureKind kind : FailureKind.values()) {
      failedByKind.put(kind, new Counter());
    }
  }

  void opened(Annotator annotator) {
    loads.inc();
    open.add(annotator);
  }

  void closed(Annotator annotator) {
    open.remove(annotator);
    former.accumulateAndGet(annotator.figures().closed(), EngineFigures::plus);
  }

  void count(Annotation annotation) {
    Outcome outcome = annotation.outcome();
    if (outcome instanceof Outcome.Answered row) {
      answered.mark();
      promptTokens.mark(row.prompt().promptTokenCount());
      generatedTokens.mark(row.answer().tokenIds().size());
    } else if (outcome instanceof Outcome.Failed row) {
      failed.mark();
      Counter kind = failedByKind.get(row.failure().kind());
      if (kind != null) {
        kind.inc();
      }
    }
  }

  /** By name, as {@code operations.md} lists them. */
  @Override
  public Map<String, Metric> getMetrics() {
    Map<String, Metric> metrics = new LinkedHashMap<>();
    metrics.put("rows.answered", answered);
    metrics.put("rows.failed", failed);
    failedByKind.forEach((kind, count) -> metrics.put("rows.failed." + kind, count));
    metrics.put("tokens.prompt", promptTokens);
    metrics.put("tokens.generated", generatedTokens);
    metrics.put("model.loads", loads);
    metrics.put("passes.count", gauge(EngineFigures::passes));
    metrics.put("passes.tokens", gauge(EngineFigures::passTokens));
    metrics.put("passes.rows", gauge(EngineFigures::passRows));
    metrics.put("queue.images", gauge(EngineFigures::requests));
    metrics.put("queue.wait-seconds", gauge(EngineFigures::waitSeconds));
    metrics.put("memory.device-bytes", gauge(EngineFigures::deviceBytes));
    Gauge<Object> resident = () -> Memory.now().getOrDefault("resident_bytes", 0L);
    metrics.put("memory.resident-bytes", resident);
    return metrics;
  }

  private <T> Gauge<T> gauge(Function<EngineFigures, T> figure) {
    return () ->
        figure.apply(
            open.stream().map(Annotator::figures).reduce(former.get(), EngineFigures::plus));
  }
}
