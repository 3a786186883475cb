package io.sinklens.job;

import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.table.AnnotationTable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Measures how fast questions are answered: by the engine alone, and by the whole job in Spark.
 *
 * <p>Images are the bundled ones; the model is the bundled one unless another is given. The engine
 * is warmed up on the first images before it is measured.
 */
public final class BenchJob {
  /** Images of the jobs that tell what one takes however little it asks. */
  private static final int START_IMAGES = 1;

  private final Settings settings;

  /**
   * What to measure.
   *
   * @param workload its name
   * @param model checkpoint folder, or null for the bundled one
   * @param images how many of the bundled images and, where all are asked the same, of their mirror
   *     images behind them; null for the workload's number
   * @param questions how many of the workload's questions an image, or null for all
   * @param variants names of variants, or null for the workload's
   * @param job whether to measure the job in Spark too
   * @param overlays more settings, such as {@code model.dtype=float32}
   */
  public record Settings(
      String workload,
      @Nullable Path model,
      @Nullable Integer images,
      @Nullable Integer questions,
      @Nullable List<String> variants,
      boolean job,
      List<String> overlays) {
    public Settings {
      variants = variants == null ? null : List.copyOf(variants);
      overlays = List.copyOf(overlays);
    }
  }

  /**
   * What was measured, as the names and values of a JSON object; rates are per second.
   *
   * @param values nested maps of numbers and texts
   */
  public record Result(Map<String, Object> values) {
    public Result {
      values = new LinkedHashMap<>(values);
    }
  }

  public BenchJob(Settings settings) {
    this.settings = settings;
  }

  /**
   * Refuses a workload that there is not.
   *
   * @throws IllegalArgumentException naming those there are
   */
  public static void requireWorkload(String name) {
    Workload.named(name);
  }

  /** Measures. */
  public Result run(SparkSession spark) {
    Workload workload =
        Workload.named(settings.workload()).with(settings.images(), settings.variants());
    if (settings.questions() != null) {
      workload = workload.first(settings.questions());
    }
    return run(spark, workload);
  }

  private Result run(SparkSession spark, Workload workload) {
    try (Bundled bundled = Bundled.unpack()) {
      BenchQuestions questions = BenchQuestions.of(workload, bundled, spark);
      RunSettings run = job(bundled, workload, questions);
      Map<String, Object> values = new LinkedHashMap<>();
      values.put("workload", settings.workload());
      EngineBench.Measured measured;
      try (EngineBench engine = EngineBench.load(run.annotator())) {
        values.putAll(engine.loaded());
        if (settings.workload().equals(Workload.LOAD)) {
          return new Result(withMachine(values, spark));
        }
        measured = engine.measure(questions.read(spark, run));
      }
      values.putAll(measured.rates());
      List<Annotation> annotations = measured.annotations();
      values.put("first_answer", questions.firstAnswer(annotations));
      values.put("attention", measured.attention());
      double writeSeconds = write(spark, annotations, bundled.scratch().resolve("write"));
      values.put("write", EngineBench.rates(annotations.size(), writeSeconds));
      if (settings.job()) {
        BenchQuestions few = BenchQuestions.of(workload.with(START_IMAGES, null), bundled, spark);
        values.put("job", job(spark, run, job(bundled, workload, few), measured.rowsPerSecond()));
      }
      Map<String, Object> split = new LinkedHashMap<>(measured.secondsByPhase());
      split.put("write", writeSeconds);
      values.put("seconds_by_phase", split);
      return new Result(withMachine(values, spark));
    }
  }

  /** A job that asks these questions. */
  private RunSettings job(Bundled bundled, Workload workload, BenchQuestions questions) {
    return bundled.job(bundled.scratch().resolve("job"), overlays(workload, questions.overlays()));
  }

  private List<String> overlays(Workload workload, List<String> ofQuestions) {
    List<String> overlays = new ArrayList<>();
    overlays.add("model.dtype=auto");
    if (settings.model() != null) {
      overlays.add("model.path='" + settings.model().toString().replace("'", "''") + "'");
    }
    overlays.addAll(ofQuestions);
    overlays.addAll(workload.overlays());
    overlays.addAll(settings.overlays());
    return overlays;
  }

  /** Writes annotations as the job would, and nothing else; returns seconds. */
  private static double write(SparkSession spark, List<Annotation> annotations, Path folder) {
    List<Row> rows = annotations.stream().map(AnnotationTable::toRow).toList();
    Dataset<Row> table =
        spark.createDataset(rows, Encoders.row(AnnotationTable.SCHEMA)).coalesce(1);
    long start = System.nanoTime();
    table.write().option("compression", "zstd").parquet(folder.toString());
    return EngineBench.seconds(start);
  }

  /**
   * Runs the job, behind two with few questions: the first loads the model and warms everything up,
   * the second tells what a job takes however little it asks.
   *
   * <p>The rate that is held against the engine's is that of the questions the job asks beyond
   * those few, in the time it takes beyond theirs: what reading, planning, writing and checking
   * take of every row stays in, what they take once is left out.
   */
  private static Map<String, Object> job(
      SparkSession spark, RunSettings run, RunSettings few, double engineRate) {
    double firstSeconds = annotate(spark, few).seconds();
    AnnotateJob.Result start = annotate(spark, few);
    AnnotateJob.Result result = annotate(spark, run);
    Map<String, Object> job = EngineBench.rates(rows(result), result.seconds());
    job.put("failed", result.failed());
    job.put("first_seconds", firstSeconds);
    job.put("start_seconds", start.seconds());
    if (rows(result) > rows(start)) {
      double rate = (rows(result) - rows(start)) / (result.seconds() - start.seconds());
      job.put("ratio_to_engine", rate / engineRate);
    }
    return job;
  }

  private static long rows(AnnotateJob.Result result) {
    return result.answered() + result.failed();
  }

  private static AnnotateJob.Result annotate(SparkSession spark, RunSettings run) {
    return new AnnotateJob(new AnnotateJob.Settings(run, null, Restart.FROM_SCRATCH, null))
        .run(spark);
  }

  private static Map<String, Object> withMachine(Map<String, Object> values, SparkSession spark) {
    values.put("memory", Memory.peak());
    Map<String, Object> machine = EngineBench.machine();
    machine.put("spark", spark.version());
    values.put("machine", machine);
    return values;
  }
}
