package io.sinklens.job;

import static java.util.Objects.requireNonNull;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.benchmark.RowScore;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

/** A file with the score of every row: one file, whether Spark was used or not. */
abstract class RowScoreFile implements AutoCloseable {
  private final String path;

  private RowScoreFile(String path) {
    this.path = path;
  }

  /**
   * Refuses a name that does not say what to write.
   *
   * @throws IllegalArgumentException in one line
   */
  static void requireKnownName(String path) {
    if (!path.endsWith(".jsonl") && !path.endsWith(".parquet")) {
      throw new IllegalArgumentException("--rows must end in .jsonl or .parquet, not " + path);
    }
  }

  /**
   * Begins a file in place of one that may be there.
   *
   * @param variants whether to say which variant a row is of
   */
  static RowScoreFile create(String path, boolean variants, Configuration hadoop) {
    try {
      return path.endsWith(".jsonl")
          ? new JsonLines(path, variants, hadoop)
          : new Parquet(path, variants, hadoop);
    } catch (IOException e) {
      throw unwritable(path, e);
    }
  }

  /** Writes rows. */
  void write(List<ScoredRow> rows) {
    try {
      for (ScoredRow row : rows) {
        write(row.variant(), requireNonNull(row.score()));
      }
    } catch (IOException e) {
      throw unwritable(path, e);
    }
  }

  abstract void write(String variant, RowScore score) throws IOException;

  abstract void end() throws IOException;

  @Override
  public void close() {
    try {
      end();
    } catch (IOException e) {
      throw unwritable(path, e);
    }
  }

  private static UncheckedIOException unwritable(String path, IOException e) {
    return new UncheckedIOException(
        "Cannot write %s: %s".formatted(path, SparkFailures.oneLine(e)), e);
  }

  private static final class JsonLines extends RowScoreFile {
    private final Writer file;
    private final boolean variants;

    JsonLines(String path, boolean variants, Configuration hadoop) throws IOException {
      super(path);
      this.variants = variants;
      Path target = new Path(path);
      file =
          new BufferedWriter(
              new OutputStreamWriter(
                  target
                      .getFileSystem(ParquetFile.withoutChecksumFiles(hadoop))
                      .create(target, true),
                  StandardCharsets.UTF_8));
    }

    @Override
    void write(String variant, RowScore score) throws IOException {
      ObjectNode row = Manifest.JSON.createObjectNode();
      row.put("id", score.id());
      if (variants) {
        row.put("variant", variant);
      }
      row.put("parsed", score.parsed());
      row.put("score", score.score());
      file.write(row.toString());
      file.write('\n');
    }

    @Override
    void end() throws IOException {
      file.close();
    }
  }

  private static final class Parquet extends RowScoreFile {
    private final MessageType schema;
    private final ParquetWriter<Group> file;

    Parquet(String path, boolean variants, Configuration hadoop) throws IOException {
      super(path);
      schema =
          MessageTypeParser.parseMessageType(
              "message scores { required binary id (STRING); "
                  + (variants ? "required binary variant (STRING); " : "")
                  + "optional binary parsed (STRING); required double score; }");
      file = ParquetFile.create(path, schema, hadoop);
    }

    @Override
    void write(String variant, RowScore score) throws IOException {
      Group row = new SimpleGroup(schema).append("id", score.id());
      if (schema.containsField("variant")) {
        row.append("variant", variant);
      }
      if (score.parsed() != null) {
        row.append("parsed", score.parsed());
      }
      file.write(row.append("score", score.score()));
    }

    @Override
    void end() throws IOException {
      file.close();
    }
  }
}
