package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.io.TempDir;

class AnnotateJobTest {
  private static final int VARIANTS = 2;

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private Shouting shouting = new Shouting("");

  @BeforeEach
  void giveEveryTestAnAnnotatorOfItsOwn(TestInfo test) {
    shouting = new Shouting(test.getDisplayName());
  }

  /** Seven questions about three images, two of them failing. */
  private String scenes() {
    return scenes("");
  }

  private String scenes(String more) {
    return input(
        """
        SELECT id, category, named_struct('bytes', CAST(image AS BINARY), 'path', 'gone.png') AS image,
          question, answer, DATE'2020-02-29' AS day
        FROM VALUES
          (1, 'x', 'cat', 'Is it?', 'yes'), (2, 'x', 'cat', 'Who?', NULL), (3, 'x', 'dog', ' ', 'no'),
          (4, 'y', 'dog', 'What?', 'dog'), (5, 'y', 'bird', 'Where?', 'there'),
          (6, 'y', 'bird', 'Why?', 'so'), (7, 'y', NULL, 'How?', 'so')
          AS t(id, category, image, question, answer)
        """
            + more);
  }

  @Test
  void writesOneRowForEveryQuestionAndVariant() {
    RunSettings run =
        settings(scenes(), "input.columns.id=[category, id]", "output.keep-columns=[day, id]");

    AnnotateJob.Result result = run(run);

    assertThat(result.inputRows()).isEqualTo(7);
    assertThat(result.variants()).isEqualTo(VARIANTS);
    assertThat(result.answered()).isEqualTo(10);
    assertThat(result.failed()).isEqualTo(4);
    assertThat(result.failures()).isEqualTo(Map.of("IMAGE_MISSING", 2L, "QUESTION_MISSING", 2L));
    assertThat(result.failedShare()).isEqualTo(4 / 14.0);
    assertThat(result.promptTokens()).isEqualTo(100);
    assertThat(result.generatedTokens()).isEqualTo(20);

    List<Row> rows = rows();
    assertThat(rows.get(0).schema().fieldNames())
        .startsWith(AnnotationTable.SCHEMA.fieldNames())
        .endsWith("day", "id", "wave");
    assertThat(rows)
        .extracting(row -> AnnotationTable.fromRow(row).sampleId())
        .containsExactly(
            "x/1", "x/1", "x/2", "x/2", "x/3", "x/3", "y/4", "y/4", "y/5", "y/5", "y/6", "y/6",
            "y/7", "y/7");
    Annotation first = AnnotationTable.fromRow(rows.get(0));
    assertThat(first.variant()).isEqualTo("baseline");
    assertThat(first.question()).isEqualTo("Is it?");
    assertThat(first.answers()).containsExactly("yes");
    assertThat(first.outcome())
        .isInstanceOfSatisfying(
            Outcome.Answered.class,
            answered -> assertThat(answered.answer().text()).isEqualTo("IS IT?"));
    assertThat(AnnotationTable.fromRow(rows.get(2)).answers()).isEmpty();
    assertThat(AnnotationTable.fromRow(rows.get(12)).outcome())
        .isEqualTo(
            new Outcome.Failed(
                new Failure(
                    FailureKind.IMAGE_MISSING,
                    "The row has only the path" + " gone.png, and input.images is not set")));
    assertThat(rows.get(0).<Object>getAs("day")).hasToString("2020-02-29");
    assertThat(rows).extracting(row -> row.<Integer>getAs("id")).startsWith(1, 1, 2, 2);
    assertThat(folder.resolve("out/_SUCCESS")).exists();
  }

  @Test
  void describesTheRunInItsManifest() throws IOException {
    RunSettings run =
        settings(
            scenes(),
            "input.columns.id=id",
            "run.wave-rows=3",
            "model.path=s3a://key:secret@bucket/model");

    AnnotateJob.Result result = run(run);

    String text = Files.readString(folder.resolve("out/manifest.json"));
    assertThat(text).doesNotContain("secret");
    JsonNode manifest = new ObjectMapper().readTree(text);
    assertThat(manifest.path("status").asText()).isEqualTo("complete");
    assertThat(manifest.path("settings").path("model").path("path").asText())
        .isEqualTo("s3a://bucket/model");
    assertThat(manifest.path("settings").path("variants").path(1).path("moved-share").asDouble())
        .isEqualTo(0.6);
    assertThat(manifest.path("input").toString())
        .matches(
            "\\{\"rows\":7,\"images\":4,\"fingerprint\":\"[0-9a-f]{16}\",\"files\":\"[0-9a-f]{64}\"}");
    assertThat(manifest.path("counts").toString())
        .isEqualTo(
            "{\"annotations\":14,\"answered\":10,\"failed\":4,\"variants\":{\"baseline\":"
                + "{\"answered\":5,\"failed\":{\"IMAGE_MISSING\":1,\"QUESTION_MISSING\":1}},"
                + "\"var\":{\"answered\":5,\"failed\":{\"IMAGE_MISSING\":1,"
                + "\"QUESTION_MISSING\":1}}}}");
    assertThat(manifest.path("tokens").toString()).isEqualTo("{\"prompt\":100,\"generated\":20}");
    assertThat(manifest.path("model").path("fingerprint").asText()).isEqualTo("f00d");
    assertThat(manifest.path("versions").path("spark").asText()).isEqualTo(spark.version());
    assertThat(manifest.path("versions").path("djl").asText()).matches("[0-9.]+");
    assertThat(manifest.path("wall_seconds").asDouble()).isPositive();

    // Waves hold whole images, every row once, and a folder each.
    assertThat(manifest.path("waves")).hasSize(result.waves()).hasSizeGreaterThan(1);
    int rows = 0;
    for (JsonNode wave : manifest.path("waves")) {
      rows += wave.path("rows").asInt();
      assertThat(folder.resolve("out/annotations/wave=0000" + wave.path("number").asInt()))
          .isDirectory();
    }
    assertThat(rows).isEqualTo(7);
    assertThat(rows()).hasSize(14);
  }

  @Test
  void givesTheSameRowsHoweverTheWorkIsCut() {
    String input = scenes();
    List<List<Annotation>> results = new ArrayList<>();
    for (int partitions : List.of(1, 3, 8)) {
      RunSettings run =
          settings(
              input,
              "input.columns.id=id",
              "output.path=" + folder.resolve("out" + partitions),
              "run.wave-rows=" + partitions);
      new AnnotateJob(
              new Settings(run, null, Restart.NOT_ASKED, partitions), shouting, JobProgress.NONE)
          .run(spark);
      results.add(rows("out" + partitions).stream().map(AnnotationTable::fromRow).toList());
    }

    assertThat(results.get(0)).hasSize(14);
    assertThat(results.get(1)).isEqualTo(results.get(0));
    assertThat(results.get(2)).isEqualTo(results.get(0));
  }

  @Test
  void loadsOneModelForAllTasks() {
    int before = ExecutorAnnotator.loads();
    RunSettings run = settings(scenes(), "input.columns.id=id", "run.wave-rows=2");

    new AnnotateJob(new Settings(run, null, Restart.NOT_ASKED, 4), shouting, JobProgress.NONE)
        .run(spark);

    assertThat(ExecutorAnnotator.loads()).isEqualTo(before + 1);

    new AnnotateJob(
            Settings.of(
                settings(
                    scenes(),
                    "input.columns.id=id",
                    "output.path=" + folder.resolve("other"),
                    "generation.max-new-tokens=3")),
            shouting,
            JobProgress.NONE)
        .run(spark);

    assertThat(ExecutorAnnotator.loads()).isEqualTo(before + 2);
  }

  @Test
  void readsImageFilesOnExecutors() throws IOException {
    Files.createDirectories(folder.resolve("images"));
    Files.writeString(folder.resolve("images/a.png"), "four");
    String input =
        input(
            """
            SELECT * FROM VALUES (1, 'a.png', 'Q'), (2, 'b.png', 'Q'), (3, '../a.png', 'Q')
              AS t(id, image, question)
            """);

    AnnotateJob.Result result =
        run(
            settings(
                input,
                "input.columns.id=id",
                "input.columns.answers=null",
                "input.images=" + folder.resolve("images")));

    assertThat(result.failures()).isEqualTo(Map.of("IMAGE_MISSING", 2L, "IMAGE_FORBIDDEN", 2L));
    assertThat(rows().get(0).<Integer>getAs("image_width")).isEqualTo(4);
  }

  @Test
  void numbersRowsWithoutIds() {
    run(settings(scenes()));

    assertThat(rows())
        .extracting(row -> row.<String>getAs("sample_id"))
        .allMatch(id -> id.matches("[0-9a-f]{64}"));
    assertThat(rows().stream().map(row -> row.<String>getAs("sample_id")).distinct()).hasSize(7);
  }

  @Test
  void annotatesWhatPassesTheFilterUpToTheLimit() {
    RunSettings run =
        settings(scenes(), "input.columns.id=id", "input.filter=category = 'y' AND id > 4");

    AnnotateJob.Result result =
        new AnnotateJob(new Settings(run, 2, Restart.NOT_ASKED, null), shouting, JobProgress.NONE)
            .run(spark);

    assertThat(result.inputRows()).isEqualTo(2);
    assertThat(rows())
        .extracting(row -> row.<String>getAs("sample_id"))
        .containsExactly("5", "5", "6", "6");
  }

  @Test
  void plansWithoutAModel() {
    RunSettings run = settings(scenes(), "input.columns.id=id", "run.wave-rows=7");

    AnnotateJob.Plan plan =
        new AnnotateJob(Settings.of(run), shouting, JobProgress.NONE).plan(spark);

    assertThat(plan).isEqualTo(new AnnotateJob.Plan(7, 4, VARIANTS, 14, 1, plan.sample()));
    assertThat(plan.sample()).isNotEmpty().doesNotContainNull();
    assertThat(folder.resolve("out")).doesNotExist();
  }

  @Test
  void tellsHowFarItIs() {
    List<JobProgress.State> states = new CopyOnWriteArrayList<>();

    new AnnotateJob(Settings.of(settings(scenes(), "input.columns.id=id")), shouting, states::add)
        .run(spark);

    JobProgress.State last = states.get(states.size() - 1);
    assertThat(last.annotations()).isEqualTo(14);
    assertThat(last.failed()).isEqualTo(4);
    assertThat(last.total()).isEqualTo(14);
    assertThat(last.tokens()).isEqualTo(120);
  }

  @Test
  void refusesInputThatCannotBeUsed() throws IOException {
    String scenes = scenes();
    assertRefused(
        settings(scenes, "input.columns.id=category"),
        "Ids must be unique, but column category has duplicates, such as x (3 rows), y (4 rows)");
    assertRefused(
        settings(scenes, "input.columns.id=answer"),
        "Every row must have an id: 1 of 7 rows have a null in column answer");
    assertRefused(
        settings(scenes, "input.columns.question=qestion"),
        "Cannot read the questions: column qestion (question) is missing; the input has the"
            + " columns id, category, image, question, answer, day");
    assertRefused(
        settings(scenes, "output.keep-columns=answer"),
        "Cannot carry column answer: the output has a column of its own called answer");
    assertRefused(
        settings(scenes, "input.filter=id > 99"),
        "The dataset is empty: no row of %s passes input.filter id > 99".formatted(scenes));
    assertRefused(
        settings(input("SELECT 1 AS id LIMIT 0"), "input.columns.image=id"),
        "Cannot read the questions: column id (image) must hold an image (struct<bytes, path>,"
            + " binary, or a path as text), not int; column question (question) is missing; column"
            + " answer (answers) is missing; the input has the columns id");
    String empty = scenes("WHERE id > 99");
    assertRefused(settings(empty), "The dataset is empty: %s has no rows".formatted(empty));
    Path taken = Files.createDirectories(folder.resolve("taken"));
    Files.writeString(taken.resolve("thesis.txt"), "years of work");
    assertRefused(
        settings(scenes, "output.path=" + taken),
        "Cannot write to output.path %s: it holds other files, such as thesis.txt"
            .formatted(taken));
    assertRefused(
        settings(scenes, "output.path=" + taken.resolve("thesis.txt")),
        "Cannot write to output.path %s: it is a file".formatted(taken.resolve("thesis.txt")));
    assertRefused(settings(scenes, "model.path=broken"), "Cannot read model: it is broken");

    Path text = Files.writeString(folder.resolve("note.parquet"), "not Parquet");
    for (String bad : List.of(folder.resolve("absent").toString(), text.toString())) {
      assertThatThrownBy(() -> run(settings(bad)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("Cannot read input.path %s: ", bad)
          .hasMessageNotContaining("\n");
    }
    assertThatThrownBy(() -> run(settings(scenes, "input.filter=id >")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot use input.filter id >: ");
    assertThatThrownBy(() -> run(settings(scenes, "output.path=nowhere://x/y")))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot reach output.path nowhere://x/y: No FileSystem for scheme \"nowhere\"");
    assertThat(folder.resolve("out")).doesNotExist();
  }

  @Test
  void tellsFilesOfOneNameApart() throws IOException {
    Path written = Path.of(scenes());
    try (Stream<Path> files = Files.list(written)) {
      Path part =
          files.filter(file -> file.toString().endsWith(".parquet")).findFirst().orElseThrow();
      for (String category : List.of("a", "b")) {
        Files.createDirectories(folder.resolve("twins/split=" + category));
        Files.copy(part, folder.resolve("twins/split=" + category + "/part.parquet"));
      }
    }

    assertRefused(
        settings(folder.resolve("twins").toString()),
        "Cannot tell rows apart: files of the input have the same name; set input.columns.id");
    assertThat(
            run(settings(folder.resolve("twins").toString(), "input.columns.id=[split, id]"))
                .inputRows())
        .isEqualTo(14);
  }

  @Test
  void keepsAFormerResultUntilItIsTold() throws IOException {
    RunSettings run = settings(scenes(), "input.columns.id=id");
    run(run);
    String out = folder.resolve("out").toString();

    RunSettings other = settings(run.input().path(), "input.columns.id=id", "model.path=other");
    assertRefused(
        other,
        "Cannot write to output.path %s: it holds a run that differs: model.path was \"/models/any\","
                .formatted(out)
            + " and is \"other\" now; choose another, or replace it with --restart");

    // A model that does not load leaves the former result alone.
    assertThatThrownBy(
            () -> restart(settings(run.input().path(), "input.columns.id=id", "model.path=broken")))
        .hasMessage("Cannot read model: it is broken");
    assertThat(rows()).hasSize(14);

    assertThat(
            restart(settings(run.input().path(), "input.columns.id=id", "input.filter=id = 1"))
                .inputRows())
        .isEqualTo(1);
    assertThat(rows()).hasSize(2);

    // Nobody else's files are ever deleted, and no run eats its own input.
    Files.writeString(folder.resolve("out/thesis.txt"), "years of work");
    assertThatThrownBy(() -> restart(run))
        .hasMessage(
            "Cannot write to output.path %s: it holds other files, such as thesis.txt", out);
    Files.delete(folder.resolve("out/thesis.txt"));
    assertThatThrownBy(
            () ->
                restart(
                    settings(
                        out + "/annotations",
                        "input.columns={id: [sample_id, variant], image: answer}",
                        "input.images=/")))
        .hasMessage("Cannot write to output.path %s: the input lies in it", out);
    Files.delete(folder.resolve("out/manifest.json"));
    assertRefused(
        run,
        "Cannot write to output.path %s: it holds files of a run that cannot be gone on with;"
                .formatted(out)
            + " choose another, or replace it with --restart");
  }

  @Test
  void takesAnEmptyFolder() throws IOException {
    Files.createDirectories(folder.resolve("out"));

    assertThat(run(settings(scenes())).inputRows()).isEqualTo(7);
  }

  @Test
  void noticesAnAnnotatorThatLeavesRowsOut() {
    String input =
        input("SELECT 1 AS id, CAST('cat' AS BINARY) AS image, 'forget' AS question, '' AS answer");

    assertThatThrownBy(() -> run(settings(input, "input.columns.id=id")))
        .isInstanceOf(BrokenInvariantException.class)
        .hasMessageMatching(
            "The annotator left out 2 annotations, such as that of row 1 under variant (baseline|var)");
    assertThat(folder.resolve("out/_SUCCESS")).doesNotExist();
  }

  @Test
  void noticesRowsThatAreLostOnTheWay() {
    RunSettings run = settings(scenes(), "input.columns.id=id", "run.wave-rows=3");
    JobProgress losing =
        state -> {
          for (Path file : files(folder.resolve("out/annotations"))) {
            file.toFile().delete();
          }
        };

    assertThatThrownBy(() -> new AnnotateJob(Settings.of(run), shouting, losing).run(spark))
        .isInstanceOf(BrokenInvariantException.class)
        .hasMessageStartingWith("Every row must have one annotation under each of 2 variants, but ")
        .hasMessageContaining("has 0");
    assertThat(folder.resolve("out/_SUCCESS")).doesNotExist();
  }

  @Test
  void noticesRowsThatStandTwice() {
    RunSettings run = settings(scenes(), "input.columns.id=id");
    JobProgress doubling =
        state -> {
          for (Path file :
              files(folder.resolve("out/annotations"))) { // A slow run reports more than once.
            Path twin = file.resolveSibling("twin-" + file.getFileName());
            try {
              Files.copy(file, twin, StandardCopyOption.REPLACE_EXISTING);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          }
        };

    assertThatThrownBy(() -> new AnnotateJob(Settings.of(run), shouting, doubling).run(spark))
        .isInstanceOf(BrokenInvariantException.class)
        .hasMessageStartingWith("Every row must have one annotation under each of 2 variants, but ")
        .hasMessageContaining("has 4");
    assertThat(folder.resolve("out/_SUCCESS")).doesNotExist();
  }

  @Test
  void leavesTheSessionAsItWas() {
    String before = spark.conf().get("spark.sql.parquet.columnarReaderBatchSize");

    run(settings(scenes()));

    assertThat(spark.conf().get("spark.sql.parquet.columnarReaderBatchSize")).isEqualTo(before);
  }

  /** What waves have committed; a wave still at work is not to be disturbed. */
  private static List<Path> files(Path annotations) {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> waves = Files.newDirectoryStream(annotations, "wave=*")) {
      for (Path wave : waves) {
        try (DirectoryStream<Path> parts = Files.newDirectoryStream(wave, "part-*.parquet")) {
          parts.forEach(files::add);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return files;
  }

  private void assertRefused(RunSettings run, String message) {
    assertThatThrownBy(() -> run(run))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  private AnnotateJob.Result run(RunSettings run) {
    return new AnnotateJob(Settings.of(run), shouting, JobProgress.NONE).run(spark);
  }

  private AnnotateJob.Result restart(RunSettings run) {
    return new AnnotateJob(
            new Settings(run, null, Restart.FROM_SCRATCH, null), shouting, JobProgress.NONE)
        .run(spark);
  }

  private List<Row> rows() {
    return rows("out");
  }

  private List<Row> rows(String output) {
    return spark
        .read()
        .parquet(folder.resolve(output + "/annotations").toString())
        .orderBy("sample_id", "variant")
        .collectAsList();
  }

  private String input(String query) {
    String path = folder.resolve("inputs/" + query.hashCode()).toString();
    if (!Files.exists(Path.of(path))) {
      spark.sql(query).coalesce(1).write().parquet(path);
    }
    return path;
  }

  private RunSettings settings(String input, String... overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.path=" + input);
    all.add("output.path=" + folder.resolve("out"));
    all.add("model.path=/models/any");
    all.addAll(Arrays.asList(overlays));
    return JobFile.parse("", all);
  }
}
