package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.S3Server;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.io.TempDir;

/** Runs whose input, images and output lie on a real S3 server. */
class S3RunTest {
  private static final int ROWS = 12;
  private static final String WAVES = "run.wave-rows=4";

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private final Configuration hadoop = spark.sparkContext().hadoopConfiguration();
  private final S3Server server = S3Server.shared();
  private final String bucket = server.newBucket(hadoop);
  private AnnotatorFactory annotator = new Shouting("");

  /** Cannot be opened. */
  private record Unwanted(String name) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      throw new IllegalArgumentException("Nobody needs a model");
    }
  }

  @BeforeEach
  void putQuestionsAndImages(TestInfo test) {
    annotator = new Shouting("S3 " + test.getDisplayName());
    spark
        .sql(
            """
            SELECT id, concat(id, '.png') AS image, concat('Is it ', id, '?') AS question, 'yes' AS answer
            FROM range(%d)
            """
                .formatted(ROWS))
        .coalesce(1)
        .write()
        .mode(SaveMode.Overwrite)
        .parquet("s3a://" + bucket + "/questions");
    for (int i = 0; i < ROWS - 1; i++) {
      server.write(bucket, "images/%d.png".formatted(i), bytes("image " + i));
    }
  }

  @Test
  void commitsWavesWithTheMagicCommitter() throws IOException {
    Result result = run(settings(WAVES));

    assertThat(result.answered()).isEqualTo(2 * (ROWS - 1));
    assertThat(result.failures()).isEqualTo(Map.of("IMAGE_MISSING", 2L));
    assertThat(manifest().path("status").asText()).isEqualTo("complete");
    assertThat(manifest().path("waves")).hasSizeGreaterThan(1);
    for (JsonNode wave : manifest().path("waves")) {
      JsonNode success =
          json("out/annotations/wave=%05d/_SUCCESS".formatted(wave.path("number").asInt()));
      assertThat(success.path("committer").asText()).isEqualTo("magic");
      assertThat(success.path("filenames")).isNotEmpty();
    }
    assertThat(names())
        .allMatch(
            name ->
                name.matches(
                    "out/(manifest.json|_SUCCESS|annotations/wave=[0-9]{5}/(_SUCCESS|part-[^/]+[.]parquet)?)"));
    assertThat(server.uploads(bucket)).isZero();

    String local = folder.resolve("out").toString();
    run(settings(WAVES, "output.path=" + local));
    assertThat(rows("s3a://" + bucket + "/out")).isEqualTo(rows(local));
    assertThat(Files.readString(folder.resolve("out/annotations/wave=00000/_SUCCESS"))).isEmpty();
  }

  @Test
  void leavesTheSessionsOwnWaysOfWritingAlone() {
    String before = spark.conf().get("spark.sql.sources.commitProtocolClass");
    run(settings());
    assertThat(spark.conf().get("spark.sql.sources.commitProtocolClass")).isEqualTo(before);
  }

  @Test
  void goesOnAfterTheLastCommittedWave() {
    stopAfter(3);
    assertThat(manifest().path("status").asText()).isEqualTo("running");
    int lost = manifest().path("waves").path(0).path("number").asInt();
    server.delete(bucket, "out/annotations/wave=%05d/_SUCCESS".formatted(lost));
    server.write(bucket, "out/annotations/wave=00099/part-0.parquet", bytes("half of a file"));
    server.write(bucket, "out/annotations/wave=00098/__magic_job-1/tasks/1/x.pending", bytes("{"));
    server.write(bucket, "out/annotations/wave=00097/", new byte[0]);
    server.write(bucket, "out/_SUCCESS", new byte[0]);

    Result result = run(settings());

    assertThat(result.formerWaves()).isEqualTo(2);
    assertThat(names()).noneMatch(name -> name.contains("wave=0009"));
    assertThat(manifest().path("status").asText()).isEqualTo("complete");
    assertThat(rows("s3a://" + bucket + "/out")).hasSize(2 * ROWS).doesNotHaveDuplicates();
  }

  @Test
  void recognisesACompleteOutputWithoutAModel() {
    Result first = run(settings(WAVES));
    annotator = new Unwanted("complete");
    assertThat(run(settings()))
        .usingRecursiveComparison()
        .ignoringFields("formerWaves")
        .isEqualTo(first);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings("generation.max-new-tokens=7")))
        .withMessage(
            "Cannot write to output.path s3a://%s/out: it holds a run that differs:"
                    .formatted(bucket)
                + " generation.max-new-tokens was 128, and is 7 now; choose another, or replace it"
                + " with --restart");
  }

  @Test
  void asksAgainWhatHasFailedAndBeginsAgain() {
    Result first = run(settings(WAVES));
    assertThat(first.failed()).isEqualTo(2);
    server.write(bucket, "images/%d.png".formatted(ROWS - 1), bytes("image at last"));

    Result retried = run(settings(WAVES), Restart.FAILED_ROWS);
    assertThat(retried.failed()).isZero();
    assertThat(retried.formerWaves()).isEqualTo(first.waves() - 1);
    assertThat(rows("s3a://" + bucket + "/out")).hasSize(2 * ROWS);

    Result again = run(settings("run.wave-rows=100"), Restart.FROM_SCRATCH);
    assertThat(again.waves()).isEqualTo(1);
    assertThat(rows("s3a://" + bucket + "/out")).hasSize(2 * ROWS);
    assertThat(names()).filteredOn(name -> name.contains("wave=")).hasSizeLessThan(5);
  }

  @Test
  void writesNothingWhereOthersHaveWritten() {
    server.write(bucket, "out/thesis.txt", bytes("years of work"));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings(), Restart.FROM_SCRATCH))
        .withMessage(
            "Cannot write to output.path s3a://%s/out: it holds other files, such as thesis.txt",
            bucket);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings("output.path=s3a://%s/out/thesis.txt".formatted(bucket))))
        .withMessageEndingWith("it is a file");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings("output.path=s3a://%s/".formatted(bucket))))
        .withMessageContaining("it holds other files, such as ");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> run(settings("output.path=s3a://%s/questions/x/..".formatted(bucket))))
        .withMessageContaining("Cannot write to output.path");
  }

  @Test
  void endsTheRunWhereImagesMayNotBeRead() {
    String closed = server.newBucket(hadoop);
    S3Server.configure(closed, server.port(), Map.of("secret.key", "wrong"), hadoop);
    assertThatThrownBy(() -> run(settings("input.images=s3a://%s/images".formatted(closed))))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageStartingWith("Cannot read image file ")
        .hasMessageContaining("403")
        .hasMessageNotContaining("\n");
  }

  private void stopAfter(int waves) {
    JobProgress stopping =
        state -> {
          if (manifest().path("waves").size() >= waves) {
            throw new IllegalStateException("Stopped");
          }
        };
    Settings settings = new Settings(settings("run.wave-rows=2"), null, Restart.NOT_ASKED, null);
    assertThatThrownBy(() -> new AnnotateJob(settings, annotator, stopping).run(spark))
        .hasMessage("Stopped");
    assertThat(manifest().path("waves")).hasSize(waves);
  }

  private Result run(RunSettings run) {
    return run(run, Restart.NOT_ASKED);
  }

  private Result run(RunSettings run, Restart restart) {
    return new AnnotateJob(new Settings(run, null, restart, null), annotator, JobProgress.NONE)
        .run(spark);
  }

  private RunSettings settings(String... overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.path=s3a://%s/questions".formatted(bucket));
    all.add("input.columns.id=id");
    all.add("input.images=s3a://%s/images".formatted(bucket));
    all.add("output.path=s3a://%s/out".formatted(bucket));
    all.add("model.path=/models/any");
    all.addAll(List.of(overlays));
    return JobFile.parse("", all);
  }

  private JsonNode manifest() {
    return json("out/manifest.json");
  }

  private JsonNode json(String name) {
    try {
      return new ObjectMapper().readTree(server.read(bucket, name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<String> names() {
    return server.names(bucket).stream().filter(name -> name.startsWith("out/")).toList();
  }

  private List<Row> rows(String output) {
    return spark
        .read()
        .parquet(output + "/annotations")
        .drop("wave")
        .orderBy("sample_id", "variant")
        .collectAsList();
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
