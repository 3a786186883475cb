package io.sinklens.job;

import org.apache.logging.log4j.LogManager;
import org.apache.spark.SparkEnv;

/** The end of an executor that can annotate no more, so that Spark puts another in its place. */
final class LostExecutor {
  /** None of Spark's own codes. */
  private static final int EXIT_CODE = 70;

  /** What Spark calls the only process of a local run, and the driver of any other. */
  private static final String DRIVER = "driver";

  private LostExecutor() {}

  /**
   * Ends this process if it is an executor. At once: one that takes its time, as after an error
   * that Spark ends it for, is still given tasks and fails them all.
   *
   * @param reason for its log
   */
  static void end(String reason) {
    if (!SparkEnv.get().executorId().equals(DRIVER)) {
      LogManager.getLogger(LostExecutor.class).error(reason);
      Runtime.getRuntime().halt(EXIT_CODE);
    }
  }
}
