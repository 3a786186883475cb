package io.sinklens.table;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;

/**
 * A part of a {@link RowFile}, which can be read on another machine than the rest.
 *
 * @param path address of the file
 * @param format of the file
 * @param start first byte of the part
 * @param end first byte behind it
 * @param firstRow rows of the file before the part; of JSON 0, whether there are any or not
 */
public record FilePart(String path, Format format, long start, long end, long firstRow)
    implements Serializable {
  /** How rows are stored. */
  public enum Format {
    PARQUET,
    JSON_LINES,
    GZIPPED_JSON_LINES
  }

  /**
   * Begins to read.
   *
   * @param columns which to read, by name; those that are not there are left out
   * @throws UncheckedIOException in one line, as every call on the rows, if it cannot be read
   */
  public RowReader open(Set<String> columns, Configuration hadoop) {
    try {
      return format == Format.PARQUET
          ? new ParquetRows(this, columns, hadoop)
          : new JsonRows(this, columns, hadoop);
    } catch (IOException | RuntimeException e) {
      throw unreadable(path, e);
    }
  }

  /** What is said of a file that cannot be read, in one line. */
  static UncheckedIOException unreadable(String path, Exception cause) {
    if (cause instanceof UncheckedIOException known) {
      return known;
    }
    String reason = cause.getMessage() == null ? cause.toString() : cause.getMessage();
    return new UncheckedIOException(
        "Cannot read %s: %s".formatted(path, reason.lines().findFirst().orElse("")),
        cause instanceof IOException io ? io : new IOException(cause));
  }
}
