package io.sinklens.table;

import org.apache.spark.sql.SparkSession;

/** The Spark session that all tests of a JVM share: starting one takes seconds. */
public final class LocalSpark {
  private LocalSpark() {}

  /** The session, on two threads; compiling plans would take longer than running them. */
  public static SparkSession session() {
    return SparkSession.builder()
        .master("local[2]")
        .appName("sinklens tests")
        .config("spark.ui.enabled", false)
        .config("spark.driver.host", "localhost")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.codegen.wholeStage", false)
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.debug.maxToStringFields", 1000)
        .getOrCreate();
  }

  /** Ends it for a test that starts a session of another kind; the next test gets a new one. */
  public static void stop() {
    if (SparkSession.getDefaultSession().isDefined()) {
      SparkSession.getDefaultSession().get().stop();
    }
  }
}
