package io.sinklens.cli;

import org.apache.spark.sql.SparkSession;

/** The Spark session of a command. */
final class LocalSession {
  private LocalSession() {}

  /**
   * Opens a session: on the cluster where one is configured, as {@code spark-submit} does, else
   * with all processors of this machine.
   *
   * @param name what cluster pages call it
   */
  static SparkSession open(String name) {
    SparkSession.Builder builder =
        SparkSession.builder()
            .appName(name)
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.debug.maxToStringFields", 1000);
    if (System.getProperty("spark.master") == null) {
      builder
          .master("local[*]")
          .config("spark.ui.enabled", false)
          .config("spark.sql.shuffle.partitions", Runtime.getRuntime().availableProcessors());
    }
    return builder.getOrCreate();
  }
}
