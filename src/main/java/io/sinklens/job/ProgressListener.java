package io.sinklens.job;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.spark.scheduler.AccumulableInfo;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorMetricsUpdate;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.util.LongAccumulator;
import scala.Tuple4;
import scala.collection.Iterator;
import scala.collection.Seq;

/**
 * Adds up counters while tasks still run.
 *
 * <p>An accumulator reaches the driver when its task ends, which for these tasks may take hours.
 * Before that its value travels with the executor's heartbeat, and is taken from there.
 */
final class ProgressListener extends SparkListener {
  private final Counters counters;
  private final JobProgress progress;
  private final long total;
  private final long start = System.nanoTime();

  /** By task, then by accumulator. */
  private final Map<Long, Map<Long, Long>> running = new HashMap<>();

  /** Heartbeats can arrive after the end of their task. */
  private final Set<Long> ended = new HashSet<>();

  ProgressListener(Counters counters, JobProgress progress, long total) {
    this.counters = counters;
    this.progress = progress;
    this.total = total;
  }

  @Override
  public synchronized void onExecutorMetricsUpdate(SparkListenerExecutorMetricsUpdate heartbeat) {
    Iterator<Tuple4<Object, Object, Object, Seq<AccumulableInfo>>> tasks = tasks(heartbeat);
    while (tasks.hasNext()) {
      Tuple4<Object, Object, Object, Seq<AccumulableInfo>> task = tasks.next();
      long id = (Long) task._1();
      if (ended.contains(id)) {
        continue;
      }
      Map<Long, Long> values = new HashMap<>();
      Iterator<AccumulableInfo> infos = task._4().iterator();
      while (infos.hasNext()) {
        AccumulableInfo info = infos.next();
        if (info.update().isDefined() && info.update().get() instanceof Long value) {
          values.put(info.id(), value);
        }
      }
      running.put(id, values);
    }
    report();
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
    if (end.taskInfo() != null) {
      ended.add(end.taskInfo().taskId());
      running.remove(end.taskInfo().taskId());
    }
  }

  synchronized void report() {
    long failed = counters.failed().values().stream().mapToLong(this::value).sum();
    progress.report(
        new JobProgress.State(
            value(counters.answered()) + failed,
            failed,
            total,
            value(counters.promptTokens()) + value(counters.generatedTokens()),
            (System.nanoTime() - start) / 1e9));
  }

  private long value(LongAccumulator counter) {
    long value = counter.sum();
    for (Map<Long, Long> task : running.values()) {
      value += task.getOrDefault(counter.id(), 0L);
    }
    return value;
  }

  @SuppressWarnings("unchecked") // Scala's Long is an Object in the signature.
  private static Iterator<Tuple4<Object, Object, Object, Seq<AccumulableInfo>>> tasks(
      SparkListenerExecutorMetricsUpdate heartbeat) {
    return (Iterator<Tuple4<Object, Object, Object, Seq<AccumulableInfo>>>)
        (Iterator<?>) heartbeat.accumUpdates().iterator();
  }
}
