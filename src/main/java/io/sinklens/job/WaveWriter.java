package io.sinklens.job;

import static org.apache.spark.sql.functions.col;

import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.QuestionTable;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/** Writes waves, each by an ordinary Spark write into a folder of its own. */
final class WaveWriter {
  private static final String[] ID = {QuestionTable.SAMPLE_ID};

  private final SparkSession spark;
  private final RunSettings run;
  private final AnnotatorFactory factory;
  private final InputQuestions questions;
  private final OutputFolder output;
  private final @Nullable Integer partitions;
  private final Counters counters;

  /**
   * A wave to write.
   *
   * @param wave the wave, when written
   * @param former the wave it takes the place of, or null
   * @param asked how many questions are asked
   * @param questions those
   * @param kept annotations of the former wave that stay, or null
   */
  record Work(
      Manifest.Wave wave,
      Manifest.@Nullable Wave former,
      long asked,
      Dataset<Row> questions,
      @Nullable Dataset<Row> kept) {

    /** For the log. */
    Map<String, ?> facts() {
      return Map.of("wave", wave.number(), "rows", asked);
    }
  }

  /**
   * A writer.
   *
   * @param partitions tasks that share a wave, or null for as many as the cluster runs at a time
   */
  WaveWriter(
      SparkSession spark,
      RunSettings run,
      AnnotatorFactory factory,
      InputQuestions questions,
      OutputFolder output,
      @Nullable Integer partitions) {
    this.spark = spark;
    this.run = run;
    this.factory = factory;
    this.questions = questions;
    this.output = output;
    this.partitions = partitions;
    counters = Counters.in(spark.sparkContext());
  }

  /** What is counted while waves are written. */
  Counters counters() {
    return counters;
  }

  /** The waves that are not there yet. */
  List<Work> missing(Manifest manifest) {
    return questions.waves().stream()
        .filter(wave -> !manifest.hasSlice(wave.number()))
        .map(
            wave ->
                new Work(
                    manifest.wave(wave.number(), wave.rows()),
                    null,
                    wave.rows(),
                    questions.slice(wave.number()),
                    null))
        .toList();
  }

  /** The waves with failed rows, whose questions are asked again under all variants. */
  List<Work> failed(Manifest manifest) {
    return manifest.waves().stream().flatMap(wave -> failed(wave, manifest).stream()).toList();
  }

  private Optional<Work> failed(Manifest.Wave wave, Manifest manifest) {
    int slice = wave.number() % manifest.slices();
    Dataset<Row> written = spark.read().parquet(output.wavePath(wave.number()));
    Dataset<Row> failed =
        written
            .where(col("status").equalTo(AnnotationTable.FAILED))
            .select(QuestionTable.SAMPLE_ID)
            .distinct();
    long count = failed.count();
    return count == 0
        ? Optional.empty()
        : Optional.of(
            new Work(
                manifest.wave(slice, wave.rows()),
                wave,
                count,
                questions.slice(slice).join(failed, ID, "left_semi"),
                written.join(failed, ID, "left_anti")));
  }

  /** Writes a wave, in place of whatever lies there. */
  void write(Work work) {
    int tasks =
        partitions != null
            ? partitions
            : (int) Math.min(spark.sparkContext().defaultParallelism(), work.asked());
    try {
      Dataset<Row> annotated =
          AnnotatedRows.flat(AnnotatedRows.of(work.questions(), factory, run, tasks, counters));
      (work.kept() == null ? annotated : annotated.unionByName(work.kept()))
          .write()
          .mode(SaveMode.Overwrite)
          .option("compression", "zstd")
          .parquet(output.wavePath(work.wave().number()));
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      throw SparkFailures.unwrapped(e, "Cannot finish wave " + work.wave().number());
    }
  }
}
