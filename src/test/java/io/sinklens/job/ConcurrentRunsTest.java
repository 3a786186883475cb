package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.job.RunLease.LostException;
import io.sinklens.job.RunLease.Pace;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.table.LocalSpark;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.commons.io.FileUtils;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Waves side by side, and runs that meet in one output. */
class ConcurrentRunsTest {
  private static final int ROWS = 12;
  private static final int SLOW_ROW = 5;
  private static final Pace QUICK =
      new Pace(Duration.ofMillis(200), Duration.ofSeconds(5), Duration.ofMillis(50));

  /** Of a driver that sleeps. */
  private static final Pace ASLEEP =
      new Pace(Duration.ofHours(1), Duration.ofHours(2), Duration.ofMillis(50));

  /** Reached when the slow row is asked; and what it waits for. */
  private static CountDownLatch asked = new CountDownLatch(1);

  private static CountDownLatch gate = new CountDownLatch(1);

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();

  /** Answers one row when the gate is opened. */
  private record Gated(String name) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      return new ChangedAnnotator(new Shouting(name).open(settings), Gated::held);
    }

    private static Annotation held(Annotation annotation) {
      if (annotation.sampleId().equals(Integer.toString(SLOW_ROW))) {
        waitAtTheGate();
      }
      return annotation;
    }
  }

  private static void waitAtTheGate() {
    asked.countDown();
    try {
      if (!gate.await(2, TimeUnit.MINUTES)) {
        throw new IllegalStateException("Nobody opened the gate");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }

  @BeforeEach
  void write() {
    asked = new CountDownLatch(1);
    gate = new CountDownLatch(1);
    spark
        .sql(
            """
            SELECT id, CAST(concat('image ', id) AS BINARY) AS image, concat('Is it ', id, '?') AS question,
              'yes' AS answer
            FROM range(%d)
            """
                .formatted(ROWS))
        .write()
        .parquet(folder.resolve("questions").toString());
  }

  @Test
  void aSlowWaveDoesNotHoldUpTheOthers() {
    List<Integer> committedBehindTheGate = new ArrayList<>();
    JobProgress progress =
        state -> {
          if (gate.getCount() > 0 && manifest().waves().size() >= 3) {
            committedBehindTheGate.addAll(manifest().waveNumbers());
            gate.countDown();
          }
        };
    Result result = job(new Gated("slow wave"), progress, Pace.USUAL).run(spark);

    assertThat(result.answered()).isEqualTo(2 * ROWS);
    assertThat(committedBehindTheGate).hasSizeGreaterThanOrEqualTo(3).doesNotContain(slowWave());
    assertThat(manifest().waveNumbers()).contains(slowWave());
  }

  private int slowWave() {
    return spark
        .read()
        .parquet(folder.resolve("out/annotations").toString())
        .where("sample_id = '%d'".formatted(SLOW_ROW))
        .select("wave")
        .first()
        .getInt(0);
  }

  @Test
  void refusesASecondRunAndTakesOverFromOneThatSleeps() throws InterruptedException {
    CompletableFuture<Result> sleeping =
        CompletableFuture.supplyAsync(
            () -> job(new Gated("sleeping"), JobProgress.NONE, ASLEEP).run(spark));
    assertThat(asked.await(1, TimeUnit.MINUTES)).isTrue();

    Result second = job(new Shouting("second"), JobProgress.NONE, QUICK).run(spark);
    gate.countDown();

    assertThat(second.answered()).isEqualTo(2 * ROWS);
    assertThatThrownBy(sleeping::join)
        .isInstanceOf(CompletionException.class)
        .hasCauseInstanceOf(LostException.class);
    Manifest manifest = manifest();
    assertThat(manifest.isComplete()).isTrue();
    assertThat(manifest.generation()).isEqualTo(1);
    assertThat(folder.resolve("out/annotations").toFile().list()).hasSize(manifest.waves().size());
    assertThat(folder.resolve("out/_lease")).doesNotExist();
    List<Row> rows =
        spark.read().parquet(folder.resolve("out/annotations").toString()).collectAsList();
    assertThat(rows).hasSize(2 * ROWS);
  }

  @Test
  void refusesToStartBesideARunAtWork() throws InterruptedException {
    CompletableFuture<Result> first =
        CompletableFuture.supplyAsync(
            () -> job(new Gated("at work"), JobProgress.NONE, QUICK).run(spark));
    assertThat(asked.await(1, TimeUnit.MINUTES)).isTrue();
    for (Restart restart : Restart.values()) {
      assertThatIllegalArgumentException()
          .isThrownBy(
              () ->
                  new AnnotateJob(
                          new Settings(settings(), null, restart, null),
                          new Shouting("beside"),
                          JobProgress.NONE,
                          QUICK)
                      .run(spark))
          .withMessageContaining("another run is at work on it");
    }
    gate.countDown();
    assertThat(first.join().answered()).isEqualTo(2 * ROWS);
  }

  /** While its model loads, another run begins and ends; as if the two had not seen each other. */
  private record Overtaken(String other, String output) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      try {
        FileUtils.copyDirectory(new File(other), new File(output));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return new Shouting("overtaken").open(settings);
    }
  }

  @Test
  void doesNotReplaceWhatAnotherRunHasMadeSinceItBegan() throws IOException {
    Path other = folder.resolve("other");
    Path output = folder.resolve("out");
    job(new Shouting("first"), JobProgress.NONE, QUICK).run(spark);
    Files.move(output, other);

    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                job(new Overtaken(other.toString(), output.toString()), JobProgress.NONE, QUICK)
                    .run(spark))
        .withMessageContaining("it holds what another run has changed in the meantime");
    assertThat(manifest().isComplete()).isTrue();
    assertThat(spark.read().parquet(output.resolve("annotations").toString()).count())
        .isEqualTo(2 * ROWS);
  }

  private Manifest manifest() {
    return new OutputFolder(folder.resolve("out").toString(), new Configuration())
        .manifest()
        .orElseThrow();
  }

  private AnnotateJob job(AnnotatorFactory annotator, JobProgress progress, Pace pace) {
    return new AnnotateJob(
        new Settings(settings(), null, Restart.NOT_ASKED, 1), annotator, progress, pace);
  }

  private RunSettings settings() {
    return JobFile.parse(
        "",
        List.of(
            "input.path=" + folder.resolve("questions"),
            "input.columns.id=id",
            "output.path=" + folder.resolve("out"),
            "model.path=/models/any",
            "run.wave-rows=2"));
  }
}
