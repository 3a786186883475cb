package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What becomes of an output that an earlier run has left. */
class ResumedRunTest {
  private static final int ROWS = 24;
  private static final String[] WAVES = {"run.wave-rows=4"};

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private AnnotatorFactory annotator = new Shouting("");

  /** Cannot be opened. */
  private record Unwanted(String name) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      throw new IllegalArgumentException("Nobody needs a model");
    }
  }

  /** Fails two rows on bad days, and on good ones says which rows it was asked. */
  private record Moody(String name, boolean good) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      return new ChangedAnnotator(new Shouting(name).open(settings), this::turned);
    }

    private Annotation turned(Annotation annotation) {
      Outcome outcome = annotation.outcome();
      if (!good && Set.of("3", "17").contains(annotation.sampleId())) {
        outcome = new Outcome.Failed(new Failure(FailureKind.NUMERIC_FAILURE, "Not today"));
      }
      return new Annotation(
          annotation.sampleId(),
          annotation.imageId(),
          annotation.question(),
          annotation.variant(),
          good ? List.of("asked again") : annotation.answers(),
          outcome);
    }
  }

  @BeforeEach
  void giveEveryTestAnAnnotatorOfItsOwn(TestInfo test) {
    annotator = new Shouting("resumed " + test.getDisplayName());
    write(ROWS, 1, "yes");
  }

  @ParameterizedTest
  @CsvSource({"1, 4, 1", "3, 1000, 8", "6, 1, 2"})
  void writesOnlyTheWavesThatAreMissing(int committed, int waveRows, int partitions)
      throws IOException {
    stopAfter(committed, WAVES);
    JsonNode stopped = manifest();
    assertThat(stopped.path("status").asText()).isEqualTo("running");
    assertThat(stopped.path("waves")).hasSize(committed);
    Map<String, FileTime> kept = files();

    Result result = run(settings("run.wave-rows=" + waveRows), null, partitions);

    assertThat(result.formerWaves()).isEqualTo(committed);
    assertThat(result.waves()).isGreaterThanOrEqualTo(committed);
    assertThat(result.answered()).isEqualTo(2 * ROWS);
    assertThat(result.seconds()).isGreaterThan(stopped.path("wall_seconds").asDouble());
    assertThat(files()).containsAllEntriesOf(kept);
    assertThat(rows("out")).isEqualTo(rowsOfARunThatWasNotStopped());
    assertThat(manifest().path("status").asText()).isEqualTo("complete");
    assertThat(folder.resolve("out/_SUCCESS")).exists();
  }

  @Test
  void recognisesACompleteResultWithoutAModel() {
    Result first = run(settings(WAVES));
    annotator = new Unwanted("complete");

    Result second = run(settings("run.wave-rows=1000", "run.max-failed-share=0.5"));

    assertThat(second.formerWaves()).isEqualTo(first.waves());
    assertThat(second).usingRecursiveComparison().ignoringFields("formerWaves").isEqualTo(first);
  }

  @Test
  void recognisesACompleteResultOfTheSameRowsInOtherFiles() {
    run(settings(WAVES));
    write(ROWS, 3, "yes");
    annotator = new Unwanted("complete");
    assertThat(run(settings()).answered()).isEqualTo(2 * ROWS);

    write(ROWS, 1, "no");
    assertRefused(
        settings(), "input.fingerprint was \"[0-9a-f]{16}\", and is \"[0-9a-f]{16}\" now");
  }

  @Test
  void namesTheFirstSettingThatDiffers() {
    stopAfter(2, WAVES);
    assertSettingsRefused();
    assertThat(manifest().path("waves")).hasSize(2);
    run(settings());
    assertSettingsRefused();
  }

  private void assertSettingsRefused() {
    Map<String, String> differences =
        Map.of(
            "generation.max-new-tokens=7",
            "generation.max-new-tokens was 128, and is 7 now",
            "variants.1.moved-share=0.5",
            "variants.1.moved-share was 0.6, and is 0.5 now",
            "output.keep-columns=[id]",
            "output.keep-columns was \\[\\], and is \\[\"id\"\\] now",
            "input.filter=id > 0",
            "input.filter was not set, and is \"id > 0\" now");
    differences.forEach(
        (setting, difference) ->
            assertRefused(settings("statistics.level=none", setting), difference));
  }

  @Test
  void namesAnotherLimitOtherRowsAndAnotherModel() {
    stopAfter(2, WAVES);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings(), 5, null))
        .withMessageContaining("a run that differs: --limit was not given, and is 5 now;");

    write(ROWS + 1, 1, "yes");
    assertRefused(settings(), "input.rows was 24, and is 25 now");
    write(ROWS, 1, "no");
    assertRefused(settings(), "input.fingerprint was .*, and is .* now");
    write(ROWS, 1, "yes");

    change(manifest -> ((ObjectNode) manifest.path("model")).put("fingerprint", "cafe"));
    assertRefused(settings(), "model.fingerprint was \"cafe\", and is \"f00d\" now");
    change(
        manifest ->
            ((ObjectNode) manifest.path("model"))
                .put("fingerprint", "f00d")
                .put("device", "gpu:1"));
    assertRefused(settings(), "model.device was \"gpu\", and is \"cpu\" now");
    change(manifest -> ((ObjectNode) manifest.path("model")).put("device", "cpu"));
    assertThat(run(settings()).formerWaves()).isEqualTo(2);
  }

  @Test
  void goesOnWhateverChangesNothingInTheResult() {
    stopAfter(2, WAVES);
    Result result =
        run(
            settings(
                "generation.batch-tokens=1",
                "run.max-failed-share=1",
                "output.path=file:" + folder.resolve("out"),
                "model.dtype=float32",
                "model.device=cpu"));
    assertThat(result.formerWaves()).isEqualTo(2);
  }

  @Test
  void sweepsUpWhatDoesNotCountAndWritesLostWavesAgain() throws IOException {
    stopAfter(3, WAVES);
    Path annotations = folder.resolve("out/annotations");
    Files.createDirectories(annotations.resolve("wave=00099"));
    Files.writeString(annotations.resolve("wave=00099/part-0.parquet"), "half of a file");
    Files.writeString(folder.resolve("out/_SUCCESS"), "");
    int lost = manifest().path("waves").path(1).path("number").asInt();
    Files.delete(annotations.resolve("wave=0000%d/_SUCCESS".formatted(lost)));

    Result result = run(settings());

    assertThat(result.formerWaves()).isEqualTo(2);
    assertThat(annotations.resolve("wave=00099")).doesNotExist();
    assertThat(rows("out")).isEqualTo(rowsOfARunThatWasNotStopped());
  }

  @Test
  void goesOnAfterARestartThatWasStopped() {
    run(settings("run.wave-rows=3"));
    stopAfter(2, Restart.FROM_SCRATCH, settings("generation.max-new-tokens=7", "run.wave-rows=6"));

    Result result = run(settings("generation.max-new-tokens=7"));

    assertThat(result.formerWaves()).isEqualTo(2);
    assertThat(result.answered()).isEqualTo(2 * ROWS);
  }

  @Test
  void asksAgainWhatHasFailedAndNothingElse() {
    annotator = new Moody("bad day", false);
    assertThat(run(settings("run.wave-rows=4", "output.keep-columns=[id]")).failed()).isEqualTo(4);
    int slices = manifest().path("slices").asInt();
    annotator = new Unwanted("not asked to");
    assertThat(run(settings("output.keep-columns=[id]")).failed()).isEqualTo(4);

    annotator = new Moody("good day", true);
    Result result = retry(settings("output.keep-columns=[id]"));

    assertThat(result.failed()).isZero();
    assertThat(result.answered()).isEqualTo(2 * ROWS);
    assertThat(result.formerWaves()).isBetween(result.waves() - 2, result.waves() - 1);
    List<Row> rows = rows("out");
    assertThat(rows).hasSize(2 * ROWS).allMatch(row -> row.getAs("id") != null);
    assertThat(rows)
        .filteredOn(row -> row.getList(row.fieldIndex("answers")).contains("asked again"))
        .extracting(row -> row.getAs("sample_id"))
        .containsExactly("17", "17", "3", "3");
    assertThat(manifest().path("waves"))
        .filteredOn(wave -> wave.path("number").asInt() >= slices)
        .hasSize(result.waves() - result.formerWaves());
    assertThat(folder.resolve("out/annotations").toFile().list())
        .hasSize(result.waves()); // What was written in place of others has taken theirs.

    annotator = new Unwanted("nothing left to ask");
    assertThat(retry(settings("output.keep-columns=[id]")).formerWaves()).isEqualTo(result.waves());
  }

  @Test
  void asksAgainAndGoesOn() {
    annotator = new Moody("bad day, and stopped", false);
    stopAfter(4, WAVES);
    annotator = new Moody("good day, and stopped", true);
    assertThatThrownBy(
            () ->
                job(
                        settings(),
                        Restart.FAILED_ROWS,
                        state -> {
                          throw new IllegalStateException("Stopped");
                        })
                    .run(spark))
        .hasMessage("Stopped");
    assertThat(manifest().path("status").asText()).isEqualTo("running");
    assertThat(folder.resolve("out/_SUCCESS")).doesNotExist();

    assertThat(retry(settings()).answered()).isEqualTo(2 * ROWS);
  }

  @Test
  void beginsAgainWhereNothingWasCommitted() throws IOException {
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(folder.resolve("out/.manifest.json.new"), "{");
    assertThat(run(settings()).formerWaves()).isZero();
    assertThat(folder.resolve("out/.manifest.json.new")).doesNotExist();
  }

  @Test
  void refusesAManifestOfAnotherKind() throws IOException {
    Files.createDirectories(folder.resolve("out/annotations/wave=00000"));
    for (String manifest : List.of("{", "{}", "[]", "{\"format\": 1, \"status\": \"complete\"}")) {
      Files.writeString(folder.resolve("out/manifest.json"), manifest);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> run(settings()))
          .withMessage(
              "Cannot write to output.path %s: it holds files of a run that cannot be gone on with;"
                  + " choose another, or replace it with --restart",
              folder.resolve("out"));
    }
  }

  /** Runs until so many waves are committed. */
  private void stopAfter(int waves, String... overlays) {
    stopAfter(waves, Restart.NOT_ASKED, settings(overlays));
  }

  private void stopAfter(int waves, Restart restart, RunSettings run) {
    JobProgress stopping =
        state -> {
          JsonNode manifest = manifest();
          if (manifest.path("waves").size() >= waves) {
            throw new IllegalStateException("Stopped");
          }
        };
    assertThatThrownBy(() -> job(run, restart, stopping).run(spark)).hasMessage("Stopped");
    assertThat(manifest().path("waves")).hasSize(waves);
  }

  private AnnotateJob job(RunSettings run, Restart restart, JobProgress progress) {
    return new AnnotateJob(new Settings(run, null, restart, null), annotator, progress);
  }

  private Result retry(RunSettings run) {
    return job(run, Restart.FAILED_ROWS, JobProgress.NONE).run(spark);
  }

  private Result run(RunSettings run) {
    return run(run, null, null);
  }

  private Result run(RunSettings run, @Nullable Integer limit, @Nullable Integer partitions) {
    return new AnnotateJob(
            new Settings(run, limit, Restart.NOT_ASKED, partitions), annotator, JobProgress.NONE)
        .run(spark);
  }

  private void assertRefused(RunSettings run, String difference) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(run))
        .withMessageMatching(
            "Cannot write to output.path \\S+: it holds a run that differs: "
                + difference
                + "; choose another, or replace it with --restart");
  }

  private JsonNode manifest() {
    try {
      return new ObjectMapper().readTree(folder.resolve("out/manifest.json").toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void change(Consumer<JsonNode> change) {
    JsonNode manifest = manifest();
    change.accept(manifest);
    try {
      Files.deleteIfExists(folder.resolve("out/.manifest.json.crc"));
      Files.writeString(folder.resolve("out/manifest.json"), manifest.toString());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The files of committed waves, and when each was written. */
  private Map<String, FileTime> files() throws IOException {
    Map<String, FileTime> files = new TreeMap<>();
    for (JsonNode wave : manifest().path("waves")) {
      Path written =
          folder.resolve("out/annotations/wave=%05d".formatted(wave.path("number").asInt()));
      try (Stream<Path> parts = Files.list(written)) {
        for (Path part : parts.toList()) {
          files.put(part.toString(), Files.getLastModifiedTime(part));
        }
      }
    }
    return files;
  }

  private List<Row> rows(String output) {
    return spark
        .read()
        .parquet(folder.resolve(output + "/annotations").toString())
        .drop("wave")
        .orderBy("sample_id", "variant")
        .collectAsList();
  }

  private List<Row> rowsOfARunThatWasNotStopped() {
    run(settings("output.path=" + folder.resolve("other")));
    return rows("other");
  }

  /** Questions, each on an image of its own. */
  private void write(int rows, int files, String answer) {
    spark
        .sql(
            """
            SELECT id, CAST(concat('image ', id) AS BINARY) AS image, concat('Is it ', id, '?') AS question,
              '%s' AS answer
            FROM range(%d)
            """
                .formatted(answer, rows))
        .repartition(files)
        .write()
        .mode(SaveMode.Overwrite)
        .parquet(folder.resolve("questions").toString());
  }

  private RunSettings settings(String... overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.path=" + folder.resolve("questions"));
    all.add("input.columns.id=id");
    all.add("output.path=" + folder.resolve("out"));
    all.add("model.path=/models/any");
    all.addAll(List.of(overlays));
    return JobFile.parse("", all);
  }
}
