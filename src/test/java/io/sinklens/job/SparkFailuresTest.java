package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import org.apache.spark.SparkException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SparkFailuresTest {
  private static final String STEP = "Cannot finish the run";
  private static final String FULL_HEAP = "the Java heap is too small; ";

  @ParameterizedTest
  @ValueSource(strings = {"Java heap space", "GC overhead limit exceeded"})
  void saysWhatToSetWhenATaskHasFilledTheHeap(String message) {
    SparkException failure = new SparkException("Job aborted", new OutOfMemoryError(message));

    assertThat(SparkFailures.unwrapped(failure, STEP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(STEP + ": " + FULL_HEAP)
        .hasMessageContaining("row group")
        .hasMessageContaining("-Xmx")
        .hasMessageContaining("--executor-memory")
        .hasMessageNotContaining("\n");
    assertThat(SparkFailures.reason(failure)).startsWith(FULL_HEAP);
  }

  @Test
  void saysWhatToSetWhenAnExecutorEndedForIt() {
    SparkException failure =
        new SparkException(
            "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent"
                + " failure: Lost task 0.3 in stage 1.0 (TID 4) (10.0.0.2 executor 3):"
                + " ExecutorLostFailure (executor 3 exited caused by one of the running tasks)"
                + " Reason: Command exited with code 52");

    assertThat(SparkFailures.unwrapped(failure, STEP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(STEP + ": " + FULL_HEAP);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"unable to create native thread", "Metaspace", "Command exited with code 520"})
  void keepsOtherReasons(String message) {
    SparkException failure = new SparkException("Job aborted", new OutOfMemoryError(message));

    assertThat(SparkFailures.unwrapped(failure, STEP)).hasMessage(STEP + ": " + message);
    assertThat(SparkFailures.reason(failure)).isEqualTo(message);
  }
}
