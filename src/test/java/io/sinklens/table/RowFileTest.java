package io.sinklens.table;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.table.FilePart.Format;
import io.sinklens.table.RowFile.Splitting;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RowFileTest {
  private static final Configuration HADOOP = new Configuration();
  private static final String LINES =
      """
      {"id": 1, "text": "ä", "list": ["a", null], "struct": {"x": 0.5, "y": null}, "yes": true}

      {"id": 2, "text": null, "list": []}\r
      {"id": 3, "text": "last, without an end of line"}\
      """;

  @TempDir private Path folder;

  @Test
  void readsValuesAsTheyAre() throws IOException {
    List<Map<String, Object>> rows = read(write("rows.txt", LINES));

    assertThat(rows).hasSize(3);
    assertThat(rows.get(0))
        .containsEntry("id", 1L)
        .containsEntry("text", "ä")
        .containsEntry("struct", Map.of("x", 0.5))
        .containsEntry("yes", true);
    assertThat((List<?>) rows.get(0).get("list")).hasSize(2).first().isEqualTo("a");
    assertThat(rows.get(1)).isEqualTo(Map.of("id", 2L, "list", List.of()));
    assertThat(rows.get(2)).isEqualTo(Map.of("id", 3L, "text", "last, without an end of line"));
  }

  @Test
  void readsTheSameFromParquetAndFromCompressedLines() throws IOException {
    List<Map<String, Object>> rows = read(write("rows.jsonl", LINES));
    Path packed = folder.resolve("packed.jsonl");
    try (OutputStream file = new GZIPOutputStream(Files.newOutputStream(packed))) {
      file.write(LINES.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }
    Path parquet = folder.resolve("parquet");
    LocalSpark.session()
        .read()
        .json(folder.resolve("rows.jsonl").toString())
        .coalesce(1)
        .write()
        .parquet(parquet.toString());
    Path part;
    try (var files = Files.newDirectoryStream(parquet, "*.parquet")) {
      part = files.iterator().next();
    }

    assertThat(read(packed)).isEqualTo(rows);
    assertThat(read(part)).isEqualTo(rows);
    assertThat(open(part).rows()).isEqualTo(3);
    assertThat(open(part).columns()).containsExactlyInAnyOrderElementsOf(open(packed).columns());
  }

  @Test
  void losesAndRepeatsNoRowWhereverAFileIsCut() throws IOException {
    Path file = write("rows.jsonl", LINES);
    long length = Files.size(file);
    for (long cut = 0; cut <= length; cut++) {
      List<Object> ids = new ArrayList<>();
      for (FilePart part :
          List.of(
              new FilePart(file.toString(), Format.JSON_LINES, 0, cut, 0),
              new FilePart(file.toString(), Format.JSON_LINES, cut, length, 0))) {
        try (RowReader rows = part.open(Set.of("id"), HADOOP)) {
          rows.forEachRemaining(row -> ids.add(row.get("id")));
        }
      }
      assertThat(ids).as("cut at byte %d", cut).containsExactly(1L, 2L, 3L);
    }
  }

  @Test
  void saysWhichLineIsBroken() throws IOException {
    Path file = write("rows.jsonl", "{\"id\": 1}\n[1]\n");

    assertThatThrownBy(() -> read(file))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot read file:%s: the line at byte 10 is no JSON object", file);
  }

  private Path write(String name, String content) throws IOException {
    return Files.writeString(folder.resolve(name), content);
  }

  private static RowFile open(Path file) throws IOException {
    org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(file.toUri());
    FileStatus status = path.getFileSystem(HADOOP).getFileStatus(path);
    return RowFile.open(status, Splitting.ALLOWED, HADOOP);
  }

  private static List<Map<String, Object>> read(Path path) throws IOException {
    RowFile file = open(path);
    List<Map<String, Object>> all = new ArrayList<>();
    for (FilePart part : file.parts()) {
      try (RowReader rows = part.open(Set.copyOf(file.columns()), HADOOP)) {
        rows.forEachRemaining(all::add);
      }
    }
    return all;
  }
}
