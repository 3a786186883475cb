package io.sinklens.job;

import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.CheckpointCache;
import io.sinklens.pipeline.CheckpointCache.RemoteFile;
import io.sinklens.pipeline.RunSettings;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.EtagSource;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.util.SerializableConfiguration;
import org.jspecify.annotations.Nullable;

/**
 * Brings the checkpoint of a run to the machine that asks, from whatever file system its address
 * names, and names the copy in the settings. A path without an address lies here already.
 */
final class LocalModel implements UnaryOperator<RunSettings>, Serializable {
  private static final long serialVersionUID = 1L;

  private final SerializableConfiguration hadoop;

  LocalModel(Configuration hadoop) {
    this.hadoop = new SerializableConfiguration(hadoop);
  }

  @Override
  public RunSettings apply(RunSettings run) {
    String path = run.model().path();
    String vision = run.model().visionPath();
    Addresses.requireNoSecrets("model.path", path);
    Addresses.requireNoSecrets("model.vision-path", vision);
    return isHere(path) && isHere(vision)
        ? run
        : run.withModelAt(local(path), vision == null ? null : local(vision));
  }

  private static boolean isHere(@Nullable String path) {
    return path == null || !Addresses.isAddress(path);
  }

  private String local(String path) {
    if (isHere(path)) {
      return path;
    }
    try {
      Path folder = new Path(path);
      FileSystem files = folder.getFileSystem(hadoop.value());
      return files.getScheme().equals("file")
          ? folder.toUri().getPath()
          : CheckpointCache.standard().copyOf(path, new Stored(files, folder)).toString();
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot reach checkpoint %s: %s"
              .formatted(Addresses.withoutSecrets(path), SparkFailures.oneLine(e)),
          e);
    }
  }

  /** A checkpoint where Hadoop finds it. */
  private record Stored(FileSystem store, Path folder) implements CheckpointCache.Source {
    @Override
    public List<RemoteFile> files() throws IOException {
      List<RemoteFile> found = new ArrayList<>();
      for (FileStatus entry : store.listStatus(folder)) {
        String name = entry.getPath().getName();
        if (entry.isFile()) {
          found.add(file(name, entry));
        } else {
          for (FileStatus inside : store.listStatus(entry.getPath())) {
            if (inside.isFile()) {
              found.add(file(name + "/" + inside.getPath().getName(), inside));
            }
          }
        }
      }
      return found;
    }

    private static RemoteFile file(String name, FileStatus status) {
      String etag = status instanceof EtagSource tagged ? tagged.getEtag() : null;
      return new RemoteFile(
          name, status.getLen(), etag != null ? etag : Long.toString(status.getModificationTime()));
    }

    @Override
    public InputStream open(String name) throws IOException {
      return store.open(new Path(folder, name));
    }
  }
}
