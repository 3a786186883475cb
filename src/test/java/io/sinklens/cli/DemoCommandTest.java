package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DemoCommandTest {
  private static final String RANDOM_WEIGHTS =
      "The bundled model has random weights: its answers mean nothing, but its sinks are planted"
          + " and all else is real.";

  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** Whose session the command takes over. */
  @BeforeAll
  static void startSpark() {
    LocalSpark.session();
  }

  @Test
  void replacesAFormerDemoByTheMainJobOnWhatIsBundled() throws IOException {
    Path former = Files.createDirectories(folder.resolve("out/annotations/wave=00007"));
    Files.writeString(former.resolve("part-0.zstd.parquet"), "former");
    Files.writeString(folder.resolve("out/manifest.json"), "{}");
    Files.writeString(folder.resolve("out/_SUCCESS"), "");

    assertThat(demo(folder.resolve("out"))).as(err.toString()).isEqualTo(ExitCode.DONE);

    List<String> lines = out.toString().lines().toList();
    assertThat(lines.get(0)).isEqualTo(RANDOM_WEIGHTS);
    assertThat(lines.get(1))
        .matches(
            "720 questions as baseline and with VAR: 1440 answered, 0 failed, [1-9][0-9]* answers"
                + " changed by VAR");
    assertThat(lines.get(2))
        .matches("[0-9.]+ seconds, [0-9]+ rows/s, [0-9]+ prompt tokens, [0-9]+ generated tokens");
    assertThat(lines.get(4))
        .isEqualTo("layer  sinks of image tokens  attention on sinks  heads corrected");
    assertThat(lines.subList(5, 9))
        .allMatch(line -> line.matches(" +[2-5] +[0-9.]+ of +64 +[0-9.]+ % +[0-9]+ %"));
    assertThat(lines.subList(9, lines.size()))
        .containsExactly(
            "",
            "Parquet:   " + folder.resolve("out/annotations"),
            "Manifest:  " + folder.resolve("out/manifest.json"));
    assertThat(err.toString()).contains("1440 of 1440 rows, 0 failed");

    Dataset<Row> rows =
        LocalSpark.session().read().parquet(folder.resolve("out/annotations").toString());
    assertThat(rows.groupBy("variant").count().collectAsList())
        .extracting(row -> row.getString(0), row -> row.getLong(1))
        .containsExactlyInAnyOrder(tuple("baseline", 720L), tuple("var", 720L));
    assertThat(former).doesNotExist();
    assertThat(folder.resolve("out/_SUCCESS")).exists();
    JsonNode manifest = new ObjectMapper().readTree(folder.resolve("out/manifest.json").toFile());
    assertThat(manifest.isObject() && !manifest.isEmpty()).isTrue();
  }

  @Test
  void leavesFoldersOfOthersAlone() throws IOException {
    Files.writeString(folder.resolve("thesis.tex"), "mine");
    Files.writeString(folder.resolve("_SUCCESS"), "");

    assertThat(demo(folder)).isEqualTo(ExitCode.BAD_INPUT);

    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Cannot write to output.path %s: it holds other files, such as thesis.tex\n"
                .formatted(folder));
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder("thesis.tex", "_SUCCESS");
    }
  }

  private int demo(Path output) {
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute("demo", "--output", output.toString());
  }
}
