package io.sinklens.job;

import io.sinklens.benchmark.Benchmark;
import io.sinklens.benchmark.Scorer;
import io.sinklens.job.ScoreJob.UseSpark;
import io.sinklens.pipeline.Addresses;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;

/**
 * Predictions, and where they are scored.
 *
 * @param input what was found
 * @param rows its rows, to be scored with Spark or without
 * @param hadoop how file systems are reached
 */
record ScoreSource(ScoreInput input, ScoredRows rows, Configuration hadoop) {
  /**
   * Looks for predictions and decides whether to use Spark.
   *
   * @param session asked for a session only if Spark is used
   */
  static ScoreSource find(
      String path,
      UseSpark useSpark,
      Supplier<SparkSession> session,
      Benchmark benchmark,
      Scorer scorer) {
    boolean remote = Addresses.isAddress(path) && !path.startsWith("file:");
    boolean spark = useSpark == UseSpark.ALWAYS || (useSpark == UseSpark.AUTO && remote);
    Configuration hadoop =
        S3Defaults.in(
            spark ? session.get().sparkContext().hadoopConfiguration() : new Configuration());
    ScoreInput input = ScoreInput.find(path, benchmark, scorer, hadoop);
    spark |= useSpark == UseSpark.AUTO && input.rows() > ScoreJob.MOST_ROWS_HERE;
    return new ScoreSource(
        input, new ScoredRows(input, scorer, hadoop, spark ? session.get() : null), hadoop);
  }
}
