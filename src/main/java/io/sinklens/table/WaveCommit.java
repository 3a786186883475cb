package io.sinklens.table;

import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.OutputCommitter;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitterFactory;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import org.jspecify.annotations.Nullable;
import scala.Option;

/**
 * How Spark commits what it writes: on S3 by the magic committer, whose files appear when the job
 * is committed and are never renamed; elsewhere as Spark always does.
 *
 * <p>Spark makes it by reflection, as {@link #SESSION_KEY} says.
 */
public final class WaveCommit extends SQLHadoopMapReduceCommitProtocol {
  /** The setting of a Spark session that takes the name of this class. */
  public static final String SESSION_KEY = "spark.sql.sources.commitProtocolClass";

  private static final long serialVersionUID = 1L;

  private final String path;
  private transient @Nullable Path work; // Of the magic committer, if it is the one.

  /** As Spark calls it, with an address that names its file system. */
  public WaveCommit(String jobId, String path, boolean dynamicPartitionOverwrite) {
    super(jobId, path, dynamicPartitionOverwrite);
    this.path = path;
  }

  @Override
  public OutputCommitter setupCommitter(TaskAttemptContext context) {
    Path folder = new Path(path);
    if (!"s3a".equals(folder.toUri().getScheme())) {
      return super.setupCommitter(context);
    }
    context.getConfiguration().set("fs.s3a.committer.name", "magic");
    try {
      PathOutputCommitter magic = PathOutputCommitterFactory.createCommitter(folder, context);
      work = magic.getWorkPath();
      return magic;
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot set up the S3A committer: " + e.getMessage(), e);
    }
  }

  /** Where a task writes a file: what lies in this folder is not seen before it is committed. */
  @Override
  public String newTaskTempFile(
      TaskAttemptContext context, Option<String> partition, FileNameSpec name) {
    if (work == null) {
      return super.newTaskTempFile(context, partition, name);
    }
    Path folder = partition.isDefined() ? new Path(work, partition.get()) : work;
    return new Path(folder, getFilename(context, name)).toString();
  }
}
