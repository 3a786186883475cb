package io.sinklens.cli;

import io.sinklens.job.SinklensPlugin;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** The Spark session of a command. */
final class LocalSession {
  private LocalSession() {}

  /**
   * Opens a session: on the cluster where one is configured, as {@code spark-submit} does, else
   * with all processors of this machine. Options that are configured already stay as they are.
   *
   * @param name what cluster pages call it
   */
  static SparkSession open(String name) {
    SparkConf conf = new SparkConf();
    if (!conf.contains("spark.master")) {
      conf.setMaster("local[*]");
      conf.setIfMissing("spark.ui.enabled", "false");
      // A task that fills the heap fails. Spark would end the process, which then could say
      // nothing.
      conf.setIfMissing("spark.executor.killOnFatalError.depth", "0");
      conf.setIfMissing(
          "spark.sql.shuffle.partitions",
          String.valueOf(Runtime.getRuntime().availableProcessors()));
      // On one machine, planning every stage anew takes longer than better plans save.
      conf.setIfMissing("spark.sql.adaptive.enabled", "false");
      // Nor does code made for each plan: compiling it costs seconds, and the model takes the time.
      conf.setIfMissing("spark.sql.codegen.wholeStage", "false");
      conf.setIfMissing("spark.sql.codegen.factoryMode", "NO_CODEGEN");
    }
    conf.setIfMissing("spark.app.name", name);
    conf.setIfMissing("spark.plugins", SinklensPlugin.class.getName());
    String logs = System.getenv("SINKLENS_LOG_DIR");
    if (logs != null && !logs.isEmpty()) {
      conf.setIfMissing("spark.sinklens.log.dir", logs);
    }
    conf.setIfMissing("spark.sql.session.timeZone", "UTC");
    conf.setIfMissing("spark.sql.debug.maxToStringFields", "1000");
    return SparkSession.builder().config(conf).getOrCreate();
  }
}
