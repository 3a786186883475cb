package io.sinklens.job;

import io.sinklens.pipeline.AnnotatorLostException;
import io.sinklens.result.Annotation;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.apache.spark.TaskKilledException;
import org.jspecify.annotations.Nullable;

/**
 * The annotations of a task, taken from their annotator on a thread of their own, so that the task
 * notices when nothing moves any more, and can leave.
 *
 * <p>Time is counted in looks that saw nothing move: a process that was stopped for an hour has
 * missed one look.
 */
final class WatchedAnnotations implements Iterator<Annotation>, AutoCloseable {
  private static final int LOOK_MILLIS = 250;

  private final Iterator<Annotation> annotations;
  private final Watched watched;
  private final BooleanSupplier killed;
  private final int maxStallSeconds;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(
          work -> {
            Thread puller = new Thread(work, "sinklens-pull");
            puller.setDaemon(true);
            return puller;
          });
  private @Nullable Annotation next;
  private boolean ended;

  /** What is looked at. */
  interface Watched {
    /** A number that changes whenever anything has moved. */
    long steps();

    /** What is under way, as in "row 7 was waited for". */
    String underWay();
  }

  /**
   * Takes annotations.
   *
   * @param begin what the thread does first
   * @param killed whether the task is to end
   * @param maxStallSeconds how long nothing may move, 1 or more
   */
  WatchedAnnotations(
      Iterator<Annotation> annotations,
      Watched watched,
      Runnable begin,
      BooleanSupplier killed,
      int maxStallSeconds) {
    this.annotations = annotations;
    this.watched = watched;
    this.killed = killed;
    this.maxStallSeconds = maxStallSeconds;
    thread.execute(begin);
  }

  /**
   * Whether there is another, once that is known.
   *
   * @throws AnnotatorLostException where nothing has moved for too long
   */
  @Override
  public boolean hasNext() {
    if (next == null && !ended) {
      next =
          await(
                  thread.submit(
                      () ->
                          annotations.hasNext()
                              ? Optional.of(annotations.next())
                              : Optional.<Annotation>empty()))
              .orElse(null);
      ended = next == null;
    }
    return !ended;
  }

  @Override
  public Annotation next() {
    if (!hasNext() || next == null) {
      throw new NoSuchElementException();
    }
    Annotation given = next;
    next = null;
    return given;
  }

  private <T> T await(Future<T> pulled) {
    long seen = watched.steps();
    long silentMillis = 0;
    while (true) {
      try {
        return pulled.get(LOOK_MILLIS, TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        if (killed.getAsBoolean()) {
          throw new TaskKilledException("the run has ended");
        }
        long steps = watched.steps();
        silentMillis = steps == seen ? silentMillis + LOOK_MILLIS : 0;
        seen = steps;
        if (silentMillis >= 1000L * maxStallSeconds) {
          throw new AnnotatorLostException(
              "Nothing has moved for %d s while %s (run.max-stall-seconds)"
                  .formatted(maxStallSeconds, watched.underWay()));
        }
      } catch (ExecutionException e) {
        if (e.getCause() instanceof Error problem) {
          throw problem;
        }
        throw e.getCause() instanceof RuntimeException problem
            ? problem
            : new IllegalStateException(e.getCause());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new TaskKilledException("the task was interrupted");
      }
    }
  }

  /** Interrupts what is still under way, and does not wait for it. */
  @Override
  public void close() {
    thread.shutdownNow();
  }
}
