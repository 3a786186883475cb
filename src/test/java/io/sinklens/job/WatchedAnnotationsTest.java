package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.pipeline.AnnotatorLostException;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.apache.spark.TaskKilledException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class WatchedAnnotationsTest {
  private static final int LIMIT_SECONDS = 1;

  private final AtomicLong steps = new AtomicLong();
  private final AtomicBoolean begun = new AtomicBoolean();
  private final AtomicBoolean killed = new AtomicBoolean();
  private final AtomicBoolean stuck = new AtomicBoolean(true);

  @AfterEach
  void letGo() {
    stuck.set(false);
  }

  @Test
  void givesWhatTheAnnotatorGives() {
    try (WatchedAnnotations watched = watched(List.of(row("a"), row("b")).iterator())) {
      assertThat(watched).toIterable().containsExactly(row("a"), row("b"));
      assertThat(watched.hasNext()).isFalse();
    }
  }

  @Test
  void leavesWhereNothingMoves() {
    long start = System.nanoTime();

    try (WatchedAnnotations watched =
        watched(Stream.generate(this::never).map(any -> row("a")).iterator())) {
      assertThatThrownBy(watched::hasNext)
          .isInstanceOf(AnnotatorLostException.class)
          .hasMessage("Nothing has moved for 1 s while a test waited (run.max-stall-seconds)");
    }
    assertThat(System.nanoTime() - start).isBetween(seconds(LIMIT_SECONDS), seconds(60));
  }

  @Test
  void waitsForWhatIsSlowButMoves() {
    Supplier<Annotation> slow =
        () -> {
          for (int i = 0; i < 24; i++) {
            pause(100);
            steps.incrementAndGet();
          }
          return row("slow");
        };

    try (WatchedAnnotations watched = watched(Stream.generate(slow).limit(1).iterator())) {
      assertThat(watched).toIterable().containsExactly(row("slow"));
    }
  }

  @Test
  void leavesWhenTheTaskIsKilled() {
    killed.set(true);
    try (WatchedAnnotations watched =
        watched(Stream.generate(this::never).map(any -> row("a")).iterator())) {
      assertThatThrownBy(watched::hasNext).isInstanceOf(TaskKilledException.class);
    }
  }

  @Test
  void throwsWhatTheAnnotatorThrows() {
    RuntimeException broken = new BrokenInvariantException("broken");
    Supplier<Annotation> failing =
        () -> {
          throw broken;
        };
    try (WatchedAnnotations watched = watched(Stream.generate(failing).iterator())) {
      assertThatThrownBy(watched::hasNext).isSameAs(broken);
    }
  }

  @Test
  void beginsItsThreadBeforeItTakesAnything() {
    Supplier<Annotation> taken =
        () -> {
          assertThat(begun).isTrue();
          throw new IllegalStateException("taken");
        };
    try (WatchedAnnotations watched = watched(Stream.generate(taken).iterator())) {
      assertThatThrownBy(watched::hasNext).hasMessage("taken");
    }
  }

  private WatchedAnnotations watched(Iterator<Annotation> annotations) {
    return new WatchedAnnotations(
        annotations,
        new WatchedAnnotations.Watched() {
          @Override
          public long steps() {
            return steps.get();
          }

          @Override
          public String underWay() {
            return "a test waited";
          }
        },
        () -> begun.set(true),
        killed::get,
        LIMIT_SECONDS);
  }

  /** As native code does, which no interrupt reaches. */
  private boolean never() {
    while (stuck.get()) {
      pause(20);
    }
    return true;
  }

  private static void pause(int millis) {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
    while (System.nanoTime() < end) {
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(millis));
    }
  }

  private static long seconds(int seconds) {
    return TimeUnit.SECONDS.toNanos(seconds);
  }

  private static Annotation row(String id) {
    return new Annotation(
        id,
        null,
        "Why?",
        "plain",
        List.of(),
        new Outcome.Failed(new Failure(FailureKind.IMAGE_MISSING, "gone")));
  }
}
