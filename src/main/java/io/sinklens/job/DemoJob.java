package io.sinklens.job;

import static java.util.Objects.requireNonNull;
import static org.apache.spark.sql.functions.col;

import io.sinklens.benchmark.SceneComparison;
import io.sinklens.dataset.ImageSource;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.report.ContactSheet;
import io.sinklens.report.TextReport;
import io.sinklens.result.Annotation;
import io.sinklens.statistics.SinkBackground;
import io.sinklens.statistics.SinksByLayer;
import io.sinklens.table.AnnotationTable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * The main job on what is bundled: every scene and question, as the model is and with VAR; then a
 * comparison of the two, and a picture of some questions.
 *
 * <p>A former demo's output in the folder is replaced; anything else there is left alone and ends
 * the run.
 */
public final class DemoJob {
  private static final String VAR = "var";

  private final Path output;
  private final JobProgress progress;

  /**
   * What came out.
   *
   * @param run the job's own counts
   * @param changed questions that VAR answers in other words than the baseline
   * @param comparison lines of text: who was right, and whether VAR made a difference
   * @param sinks lines of text: what sinks did at each layer, from the first that can have some
   * @param picture where the contact sheet is
   */
  public record Result(
      AnnotateJob.Result run,
      long changed,
      List<String> comparison,
      List<String> sinks,
      Picture picture) {
    public Result {
      comparison = List.copyOf(comparison);
      sinks = List.copyOf(sinks);
    }
  }

  /**
   * The contact sheet.
   *
   * @param file its place
   * @param hasText whether the machine had a font to write with
   */
  public record Picture(Path file, boolean hasText) {}

  public DemoJob(Path output, JobProgress progress) {
    this.output = output;
    this.progress = progress;
  }

  /** Runs, and reads the result back as any other program would. */
  public Result run(SparkSession spark) {
    try (Bundled bundled = Bundled.unpack()) {
      AnnotateJob.Settings settings =
          new AnnotateJob.Settings(
              bundled.job(output, List.of()), null, Restart.FROM_SCRATCH, null);
      AnnotateJob.Result run = new AnnotateJob(settings, progress).run(spark);
      List<DemoQuestion> questions = questions(spark);
      SceneComparison comparison = new SceneComparison();
      SinksByLayer layers = new SinksByLayer();
      SinkBackground background = new SinkBackground();
      for (DemoQuestion question : questions) {
        comparison.add(question.kind(), question.baseline(), question.var());
        layers.add(question.var());
        background.add(question.var());
      }
      return new Result(
          run,
          comparison.changed(),
          TextReport.comparison(comparison),
          TextReport.sinks(layers, background),
          draw(DemoQuestion.choose(questions, ContactSheet.MAX_CELLS), spark, bundled));
    }
  }

  /** By id. The job has made sure that each question was asked under both variants. */
  private List<DemoQuestion> questions(SparkSession spark) {
    Map<String, Annotation> baseline = new HashMap<>();
    Map<String, Annotation> var = new TreeMap<>();
    Map<String, String> kinds = new HashMap<>();
    for (Row row : spark.read().parquet(output + "/annotations").collectAsList()) {
      Annotation annotation = AnnotationTable.fromRow(row);
      (annotation.variant().equals(VAR) ? var : baseline).put(annotation.sampleId(), annotation);
      kinds.put(annotation.sampleId(), row.getAs("category"));
    }
    List<DemoQuestion> questions = new ArrayList<>();
    var.forEach(
        (id, annotation) ->
            questions.add(
                new DemoQuestion(
                    requireNonNull(kinds.get(id)), requireNonNull(baseline.get(id)), annotation)));
    return questions;
  }

  private Picture draw(List<DemoQuestion> questions, SparkSession spark, Bundled bundled) {
    Map<String, ImageSource.Bytes> images = new HashMap<>();
    for (Row row :
        spark
            .read()
            .parquet(bundled.scenes().toString())
            .where(col("question_id").isin(questions.stream().map(DemoQuestion::id).toArray()))
            .select("question_id", "image.bytes")
            .collectAsList()) {
      images.put(row.getString(0), new ImageSource.Bytes(row.getAs(1)));
    }
    ContactSheet sheet =
        new ContactSheet(
            questions.stream()
                .map(
                    question ->
                        new ContactSheet.Cell(
                            requireNonNull(images.get(question.id())),
                            question.baseline(),
                            question.var()))
                .toList());
    Path file = output.resolve(OutputFolder.CONTACT_SHEET);
    try {
      Files.write(file, sheet.png());
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write " + file, e);
    }
    return new Picture(file, sheet.hasText());
  }
}
