package io.sinklens.job;

import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;

/** What a job needs before it runs of files that lie on any Hadoop file system. */
public final class StoredJobFile {
  private StoredJobFile() {}

  /**
   * Reads a job file, as {@link JobFile#read} does.
   *
   * @param address such as {@code s3a://bucket/job.yaml}
   * @throws IllegalArgumentException in one line, for anything that is not a valid job
   * @throws UncheckedIOException in one line, if it cannot be read
   */
  public static RunSettings read(String address, List<String> overlays, SparkSession spark) {
    Addresses.requireNoSecrets("job file", address);
    String shown = "job file " + Addresses.withoutSecrets(address);
    Path file = new Path(address);
    try (InputStream content = file.getFileSystem(hadoop(spark)).open(file)) {
      return JobFile.parse(content.readNBytes(JobFile.MAX_BYTES + 1), shown, overlays);
    } catch (FileNotFoundException e) {
      throw new UncheckedIOException("Cannot read %s: no such file".formatted(shown), e);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot read %s: %s".formatted(shown, SparkFailures.oneLine(e)), e);
    }
  }

  /** Settings with a checkpoint on this machine: a copy, where it lies elsewhere. */
  public static RunSettings withLocalModel(RunSettings run, SparkSession spark) {
    return new LocalModel(hadoop(spark)).apply(run);
  }

  private static Configuration hadoop(SparkSession spark) {
    return S3Defaults.in(spark.sparkContext().hadoopConfiguration());
  }
}
