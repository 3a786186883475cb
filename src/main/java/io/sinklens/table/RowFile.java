package io.sinklens.table;

import io.sinklens.table.FilePart.Format;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.Type;

/**
 * A file of rows: Parquet, or JSON with one object a line, perhaps compressed by gzip. Which of
 * them it is, its first bytes tell, and not its name.
 *
 * @param path its address
 * @param rows how many it has; of JSON about how many
 * @param columns their names; of JSON those of its first rows
 * @param parts what can be read apart from each other, in their order
 */
public record RowFile(String path, long rows, List<String> columns, List<FilePart> parts) {
  /** Rows of a JSON file that are looked at for the names of columns. */
  public static final int ROWS_WITH_NAMES = 1000;

  /** Whether a file of JSON may be divided. */
  public enum Splitting {
    ALLOWED,
    FORBIDDEN
  }

  /** What a row of JSON takes, roughly; and how much less, compressed. */
  private static final int BYTES_OF_A_ROW = 256;

  private static final int COMPRESSION = 8;
  private static final long BYTES_OF_A_PART = 32L << 20;
  private static final byte[] PARQUET = {'P', 'A', 'R', '1'};
  private static final byte[] GZIP = {0x1f, (byte) 0x8b};

  public RowFile {
    columns = List.copyOf(columns);
    parts = List.copyOf(parts);
  }

  /**
   * Looks at a file.
   *
   * @param splitting whether a file of JSON may be divided, so that its rows have no numbers
   * @throws UncheckedIOException in one line, if it cannot be read
   */
  public static RowFile open(FileStatus file, Splitting splitting, Configuration hadoop) {
    Path path = file.getPath();
    try {
      Format format = format(path, hadoop);
      return format == Format.PARQUET
          ? parquet(path, hadoop)
          : json(path, format, file.getLen(), splitting, hadoop);
    } catch (IOException | RuntimeException e) {
      throw FilePart.unreadable(path.toString(), e);
    }
  }

  private static Format format(Path path, Configuration hadoop) throws IOException {
    byte[] start;
    try (InputStream file = new BufferedInputStream(path.getFileSystem(hadoop).open(path))) {
      start = file.readNBytes(PARQUET.length);
    }
    return Arrays.equals(start, PARQUET)
        ? Format.PARQUET
        : Arrays.equals(Arrays.copyOf(start, GZIP.length), GZIP)
            ? Format.GZIPPED_JSON_LINES
            : Format.JSON_LINES;
  }

  private static RowFile parquet(Path path, Configuration hadoop) throws IOException {
    try (ParquetFileReader file = ParquetFileReader.open(HadoopInputFile.fromPath(path, hadoop))) {
      List<FilePart> parts = new ArrayList<>();
      long rows = 0;
      for (BlockMetaData group : file.getFooter().getBlocks()) {
        long start = group.getStartingPos();
        long end = start + group.getCompressedSize() + 1;
        parts.add(new FilePart(path.toString(), Format.PARQUET, start, end, rows));
        rows += group.getRowCount();
      }
      return new RowFile(
          path.toString(),
          rows,
          file.getFooter().getFileMetaData().getSchema().getFields().stream()
              .map(Type::getName)
              .toList(),
          parts);
    }
  }

  private static RowFile json(
      Path path, Format format, long length, Splitting splitting, Configuration hadoop)
      throws IOException {
    List<FilePart> parts = new ArrayList<>();
    boolean whole = format != Format.JSON_LINES || splitting == Splitting.FORBIDDEN;
    long step = whole ? Math.max(1, length) : BYTES_OF_A_PART;
    for (long start = 0; start < length; start += step) {
      parts.add(new FilePart(path.toString(), format, start, Math.min(length, start + step), 0));
    }
    Set<String> columns = new LinkedHashSet<>();
    for (FilePart part : parts.subList(0, Math.min(1, parts.size()))) {
      try (JsonRows rows = new JsonRows(part, null, hadoop)) {
        for (int row = 0; row < ROWS_WITH_NAMES && rows.hasNext(); row++) {
          columns.addAll(rows.next().keySet());
        }
      }
    }
    long uncompressed = format == Format.JSON_LINES ? length : length * COMPRESSION;
    return new RowFile(path.toString(), uncompressed / BYTES_OF_A_ROW, List.copyOf(columns), parts);
  }
}
