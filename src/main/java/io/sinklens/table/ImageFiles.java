package io.sinklens.table;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.Arrays;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.security.AccessControlException;
import org.apache.hadoop.util.functional.FutureIO;
import org.apache.spark.util.SerializableConfiguration;
import org.jspecify.annotations.Nullable;

/**
 * Image files below one folder, and never outside it; read on executors.
 *
 * <p>A path that is absolute, names a file system or holds {@code ..} is forbidden, wherever it
 * would lead, and so is a link out of the folder. A broken file system ends the task, not the row.
 */
public final class ImageFiles implements Serializable {
  private static final long serialVersionUID = 1L;
  private static final Pattern SCHEME = Pattern.compile("^[A-Za-z][A-Za-z0-9+.-]*:");
  private static final int MAX_BYTES = 256 << 20;
  private static final int MAX_KEY_BYTES = 1024; // Of a name in S3.
  private static final int MAX_SHOWN = 200;

  private final @Nullable String root;
  private final SerializableConfiguration hadoop;

  /**
   * The files below a folder.
   *
   * @param root the folder, or null when rows bring their images themselves
   * @param hadoop how to reach its file system
   */
  public ImageFiles(@Nullable String root, Configuration hadoop) {
    this.root = root;
    this.hadoop = new SerializableConfiguration(hadoop);
  }

  /** The bytes of the file at a path below the root. */
  byte[] read(String path) throws RowFailedException {
    if (root == null) {
      throw new RowFailedException(
          FailureKind.IMAGE_MISSING,
          "The row has only the path %s, and input.images is not set".formatted(shown(path)));
    }
    if (path.isBlank()) {
      throw new RowFailedException(FailureKind.IMAGE_MISSING, "The row's image path is blank");
    }
    if (path.startsWith("/")
        || path.indexOf('\\') >= 0
        || SCHEME.matcher(path).find()
        || Arrays.asList(path.split("/", -1)).contains("..")) {
      throw forbidden(path, "must be relative to input.images, without ..");
    }
    if (path.chars().anyMatch(Character::isISOControl)) {
      throw forbidden(path, "must not hold control characters");
    }
    Path folder = new Path(root);
    try {
      FileSystem files = folder.getFileSystem(hadoop.value());
      return files.getUri().getScheme().equals("file")
          ? readLocal(java.nio.file.Path.of(files.makeQualified(folder).toUri().getPath()), path)
          : readRemote(files, folder, path);
    } catch (FileNotFoundException | NoSuchFileException | NotDirectoryException e) {
      throw new RowFailedException(
          FailureKind.IMAGE_MISSING, "There is no image file " + shown(path), e);
    } catch (FileSystemException
        | ChecksumException
        | AccessControlException
        | IllegalArgumentException e) {
      // Names that a file system cannot hold, links in a circle, files without permission.
      throw new RowFailedException(
          FailureKind.IMAGE_UNREADABLE,
          "Cannot read image file %s: %s".formatted(shown(path), e.getClass().getSimpleName()),
          e);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot read image file %s: %s".formatted(shown(path), shown(e.getMessage() + "")), e);
    }
  }

  /** Without Hadoop, whose local file system follows links and refuses names with a colon. */
  private static byte[] readLocal(java.nio.file.Path folder, String path)
      throws IOException, RowFailedException {
    java.nio.file.Path file = folder.resolve(path).toRealPath();
    if (!file.startsWith(folder.toRealPath())) {
      throw linksOut(path);
    }
    requireFile(path, Files.isRegularFile(file));
    requireSize(path, Files.size(file));
    try (InputStream content = Files.newInputStream(file)) {
      return content.readNBytes(MAX_BYTES);
    }
  }

  private static byte[] readRemote(FileSystem files, Path folder, String path)
      throws IOException, RowFailedException {
    Path file = new Path(folder, new Path(null, null, path));
    try {
      return readRemote(files, folder, file, path);
    } catch (AccessDeniedException e) { // By a store: credentials are wrong or have run out.
      throw new IOException(e.getMessage(), e);
    }
  }

  private static byte[] readRemote(FileSystem files, Path folder, Path file, String path)
      throws IOException, RowFailedException {
    boolean s3 = files.getScheme().equals("s3a");
    int slash = 1; // Which the path begins with, but not the key.
    if (s3 && file.toUri().getPath().getBytes(UTF_8).length - slash > MAX_KEY_BYTES) {
      // Asked for it, S3 says that the request is bad, as it does of much that is not the row's.
      throw new FileNotFoundException("No key has more than %d bytes".formatted(MAX_KEY_BYTES));
    }
    FileStatus status = files.getFileStatus(file);
    if (!s3) { // Which has no links, and where asking is a request.
      String real = files.resolvePath(file).toUri().getPath();
      String inside = files.resolvePath(folder).toUri().getPath();
      if (!real.startsWith(inside.endsWith("/") ? inside : inside + "/")) {
        throw linksOut(path);
      }
    }
    requireFile(path, status.isFile());
    requireSize(path, status.getLen());
    try (FSDataInputStream content =
        FutureIO.awaitFuture(
            files
                .openFile(file)
                .withFileStatus(status)
                .opt(Options.OpenFileOptions.FS_OPTION_OPENFILE_READ_POLICY, "whole-file")
                .build())) {
      return content.readNBytes(MAX_BYTES);
    }
  }

  private static void requireFile(String path, boolean file) throws RowFailedException {
    if (!file) {
      throw new RowFailedException(
          FailureKind.IMAGE_MISSING, "Image path %s is not a file".formatted(shown(path)));
    }
  }

  private static void requireSize(String path, long size) throws RowFailedException {
    if (size > MAX_BYTES) {
      throw new RowFailedException(
          FailureKind.IMAGE_TOO_LARGE,
          "Image file %s has %d bytes, more than %d".formatted(shown(path), size, MAX_BYTES));
    }
  }

  private static RowFailedException linksOut(String path) {
    return forbidden(path, "is a link to outside input.images");
  }

  private static RowFailedException forbidden(String path, String why) {
    return new RowFailedException(
        FailureKind.IMAGE_FORBIDDEN, "Image path %s %s".formatted(shown(path), why));
  }

  private static String shown(String path) {
    String start = path.length() <= MAX_SHOWN ? path : path.substring(0, MAX_SHOWN) + "...";
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?");
  }
}
