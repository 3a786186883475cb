package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.table.LocalSpark;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DemoCommandTest {
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
    Files.writeString(folder.resolve("out/contact-sheet.png"), "former");

    assertThat(demo(folder.resolve("out"))).as(err.toString()).isEqualTo(ExitCode.DONE);

    // Which answers are right and where sinks are is the same on every machine: all is float32.
    List<String> expected =
        List.of(
            Pattern.quote(DemoCommand.MODEL),
            "720 questions as baseline and with VAR: 1440 answered, 0 failed; answers changed by VAR: 1",
            "",
            "kind      questions  baseline right       VAR right  only baseline  only VAR        p",
            kind("caption", 120, 84, "70.0"),
            kind("colour", 104, 104, "100.0"),
            kind("count", 98, 95, "96.9"),
            kind("position", 96, 96, "100.0"),
            kind("presence", 94, 94, "100.0"),
            kind("relation", 99, 99, "100.0"),
            kind("shape", 109, 109, "100.0"),
            kind("all", 720, 681, "94.6"),
            "",
            Pattern.quote(
                "Shapes that captions name but the reference does not: baseline 1 of 292 (0.3 %), VAR 1"
                    + " of 292 (0.3 %)"),
            "",
            Pattern.quote(
                "VAR made no significant difference: from wrong to right 0, from right to wrong 0 (p ="
                    + " 1.0000, exact McNemar test)"),
            "",
            "[\\d.]+ seconds, \\d+ rows/s, 143160 prompt tokens, 5932 generated tokens",
            "",
            "layer  sinks of image tokens  attention on sinks of image and text  heads corrected",
            " +2 +5.0 of +64 +60.7 % +27 %",
            " +3 +5.0 of +64 +62.1 % +20 %",
            " +4 +5.0 of +64 +64.7 % +31 %",
            " +5 +5.0 of +64 +66.8 % +0 %",
            "",
            "99.8 % of image sinks lie on background; 87.0 % of all image tokens do",
            "VAR leaves the last layer alone.",
            "",
            Pattern.quote("Parquet:   " + folder.resolve("out/annotations")),
            Pattern.quote("Manifest:  " + folder.resolve("out/manifest.json")),
            Pattern.quote("Picture:   " + folder.resolve("out/contact-sheet.png")) + ".*");
    List<String> lines = out.toString().lines().toList();
    assertThat(lines).hasSameSizeAs(expected);
    for (int i = 0; i < lines.size(); i++) {
      assertThat(lines.get(i)).matches(expected.get(i));
    }
    BufferedImage picture = ImageIO.read(folder.resolve("out/contact-sheet.png").toFile());
    assertThat(picture.getWidth()).isGreaterThan(1000);
    assertThat(picture.getHeight()).isGreaterThan(1000);
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

  @Test
  void takesAPictureForItsOwnOnlyBesideAManifest() throws IOException {
    Path picture = Files.writeString(folder.resolve("contact-sheet.png"), "mine");

    assertThat(demo(folder)).isEqualTo(ExitCode.BAD_INPUT);

    assertThat(err.toString()).contains("it holds other files, such as contact-sheet.png");
    assertThat(picture).hasContent("mine");
  }

  /** A line of a kind in which VAR changes nothing. */
  private static String kind(String name, int questions, int right, String percent) {
    String share = "%d \\( *%s %%\\)".formatted(right, percent);
    return "%s +%d +%s +%s +0 +0 +1.0000".formatted(name, questions, share, share);
  }

  private int demo(Path output) {
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute("demo", "--output", output.toString());
  }
}
