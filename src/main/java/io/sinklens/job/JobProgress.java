package io.sinklens.job;

import java.time.Duration;

/** Is told how far a job has come: now and then while tasks run, and after every wave. */
@FunctionalInterface
public interface JobProgress {
  /** Tells nobody. */
  JobProgress NONE = state -> {};

  /**
   * Called where another run may be at work on the output, before the job waits to see that.
   *
   * @param holder that run
   * @param patience how long the job waits for a sign of life
   */
  default void waits(String holder, Duration patience) {}

  /** Called once, before any wave is written, where an earlier run has committed some. */
  default void goesOn(int formerWaves, int waves) {}

  /** Called from a thread of Spark's or of the job; never twice at a time. */
  void report(State state);

  /**
   * How far.
   *
   * @param annotations rows of the output that are done, failed ones included
   * @param failed those that failed
   * @param total rows of the output in the end
   * @param tokens tokens of prompts and answers so far
   * @param seconds since the first wave began
   */
  record State(long annotations, long failed, long total, long tokens, double seconds) {}
}
