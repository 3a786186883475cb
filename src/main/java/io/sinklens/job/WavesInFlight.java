package io.sinklens.job;

import static java.util.concurrent.TimeUnit.MILLISECONDS;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionService;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.spark.JobExecutionStatus;
import org.apache.spark.SparkStatusTracker;
import org.apache.spark.sql.SparkSession;

/**
 * Writes waves, two at a time: while the last tasks of one run, those of the next fill what is
 * free. A third begins when one of the two has been seen to.
 */
final class WavesInFlight implements AutoCloseable {
  static final int AT_ONCE = 2;
  private static final int LOOK_MILLIS = 100;
  private static final int LOOKS = 600;

  private final SparkSession spark;
  private final WaveWriter writer;
  private final Deque<WaveWriter.Work> waiting;
  private final int all;
  private final String group = "sinklens " + UUID.randomUUID();
  private final ExecutorService threads =
      Executors.newFixedThreadPool(
          AT_ONCE,
          work -> {
            Thread thread = new Thread(work, "sinklens wave");
            thread.setDaemon(true);
            return thread;
          });
  private final CompletionService<WaveWriter.Work> written =
      new ExecutorCompletionService<>(threads);
  private int begun;
  private int taken;

  WavesInFlight(SparkSession spark, WaveWriter writer, List<WaveWriter.Work> work) {
    this.spark = spark;
    this.writer = writer;
    waiting = new ArrayDeque<>(work);
    all = work.size();
  }

  boolean hasNext() {
    return taken < all;
  }

  /** The next wave that is written, in whichever order they end. */
  WaveWriter.Work next() {
    while (begun - taken < AT_ONCE && begun < all) {
      begin(waiting.remove());
    }
    try {
      WaveWriter.Work work = written.take().get();
      taken++;
      return work;
    } catch (ExecutionException e) {
      throw e.getCause() instanceof RuntimeException known
          ? known
          : new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waves were written");
    }
  }

  private void begin(WaveWriter.Work work) {
    begun++;
    String name = "sinklens annotate: wave %d of %d: %d rows".formatted(begun, all, work.asked());
    written.submit(
        () -> {
          spark.sparkContext().setJobGroup(group, name, false);
          RunLog.tell("wave begins", work.facts());
          writer.write(work);
          return work;
        });
  }

  /** Stops what is under way, and waits for its end. */
  @Override
  public void close() {
    threads.shutdown();
    try {
      for (int i = 0; i < LOOKS && !threads.awaitTermination(LOOK_MILLIS, MILLISECONDS); i++) {
        if (isAtWork()) { // Also with what began since the last look.
          spark.sparkContext().cancelJobGroup(group);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private boolean isAtWork() {
    if (spark.sparkContext().isStopped()) {
      return false;
    }
    SparkStatusTracker tracker = spark.sparkContext().statusTracker();
    return Arrays.stream(tracker.getJobIdsForGroup(group))
        .mapToObj(tracker::getJobInfo)
        .anyMatch(job -> job.isDefined() && job.get().status() == JobExecutionStatus.RUNNING);
  }
}
