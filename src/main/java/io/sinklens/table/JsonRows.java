package io.sinklens.table;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import io.sinklens.table.FilePart.Format;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.zip.GZIPInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.util.LineReader;
import org.jspecify.annotations.Nullable;

/** Lines of JSON that begin in a part of a file. Blank lines are no rows. */
final class JsonRows implements RowReader {
  private static final ObjectReader JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).reader();
  private static final String BYTE_ORDER_MARK = "\uFEFF";

  private final FilePart part;
  private final @Nullable Set<String> columns;
  private final LineReader lines;
  private final Text line = new Text();
  private long position; // Of the next line; of what is unpacked, where the file is compressed.
  private @Nullable Map<String, Object> next;

  /**
   * Opens the file.
   *
   * @param columns which to read, or null for all
   */
  JsonRows(FilePart part, @Nullable Set<String> columns, Configuration hadoop) throws IOException {
    this.part = part;
    this.columns = columns;
    Path path = new Path(part.path());
    FSDataInputStream file = path.getFileSystem(hadoop).open(path);
    try {
      InputStream content = file;
      if (part.format() == Format.GZIPPED_JSON_LINES) {
        content = new GZIPInputStream(file, 1 << 16);
      } else if (part.start() > 0) {
        file.seek(part.start() - 1); // A line begins behind the end of another.
      }
      lines = new LineReader(content, 1 << 16);
      if (part.start() > 0) {
        position = part.start() - 1;
        position += lines.readLine(line);
      }
      next = read();
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  @Override
  public boolean hasNext() {
    return next != null;
  }

  @Override
  public Map<String, Object> next() {
    if (next == null) {
      throw new NoSuchElementException();
    }
    Map<String, Object> row = next;
    try {
      next = read();
    } catch (IOException e) {
      throw FilePart.unreadable(part.path(), e);
    }
    return row;
  }

  /** The next row, or null at the end. */
  private @Nullable Map<String, Object> read() throws IOException {
    while (part.format() == Format.GZIPPED_JSON_LINES || position < part.end()) {
      long start = position;
      int length = lines.readLine(line);
      if (length == 0) {
        return null;
      }
      position += length;
      String text = line.toString();
      if (start == 0 && text.startsWith(BYTE_ORDER_MARK)) {
        text = text.substring(1);
      }
      if (!text.isBlank()) {
        return row(text, start);
      }
    }
    return null;
  }

  private Map<String, Object> row(String text, long start) throws IOException {
    JsonNode object;
    try {
      object = JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IOException(
          "the line at byte %d is no JSON: %s".formatted(start, e.getOriginalMessage()), e);
    }
    if (!object.isObject()) {
      throw new IOException("the line at byte %d is no JSON object".formatted(start));
    }
    Map<String, Object> row = new LinkedHashMap<>();
    object
        .properties()
        .forEach(
            field -> {
              if (columns == null) {
                row.put(field.getKey(), true); // Only names are wanted.
              } else if (columns.contains(field.getKey())) {
                Object value = value(field.getValue());
                if (value != null) {
                  row.put(field.getKey(), value);
                }
              }
            });
    return row;
  }

  private static @Nullable Object value(JsonNode node) {
    return switch (node.getNodeType()) {
      case NULL, MISSING -> null;
      case BOOLEAN -> node.booleanValue();
      case NUMBER ->
          node.isIntegralNumber() && node.canConvertToLong()
              ? (Object) node.longValue()
              : (Object) node.doubleValue();
      case ARRAY -> {
        List<@Nullable Object> list = new ArrayList<>(node.size());
        node.forEach(element -> list.add(value(element)));
        yield list;
      }
      case OBJECT -> {
        Map<String, Object> struct = new LinkedHashMap<>();
        node.properties()
            .forEach(
                field -> {
                  Object value = value(field.getValue());
                  if (value != null) {
                    struct.put(field.getKey(), value);
                  }
                });
        yield struct;
      }
      default -> node.asText();
    };
  }

  @Override
  public void close() {
    try {
      lines.close();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot close " + part.path(), e);
    }
  }
}
