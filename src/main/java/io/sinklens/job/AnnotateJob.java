package io.sinklens.job;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.QuestionTable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Annotates every question of a dataset under every variant and writes one row for each.
 *
 * <p>Reads {@link QuestionTable}, writes {@link AnnotationTable}. Work is cut into waves by image;
 * each is an ordinary Spark write into a folder of its own, and counts once the manifest lists it.
 * Everything that can be known to be wrong is refused before a model is loaded, and nothing is
 * written before the model is.
 */
public final class AnnotateJob {
  /** Rows a reader holds at once: with the default of 4096, large images fill the memory. */
  private static final String READ_BATCH = "spark.sql.parquet.columnarReaderBatchSize";

  private static final String READ_BATCH_ROWS = "8";

  private final Settings settings;
  private final RunSettings run;
  private final AnnotatorFactory factory;
  private final JobProgress progress;

  /**
   * What to do.
   *
   * @param run the job file
   * @param limit first rows by sample id, above 0, or null for all
   * @param restart what to do about a former run's output
   * @param partitions tasks that share a wave, or null for as many as the cluster runs at a time;
   *     changes nothing in the result
   */
  public record Settings(
      RunSettings run, @Nullable Integer limit, Restart restart, @Nullable Integer partitions) {

    public Settings {
      if (limit != null && limit < 1) {
        throw new IllegalArgumentException("Limit must be at least 1, not " + limit);
      }
      if (partitions != null && partitions < 1) {
        throw new IllegalArgumentException("Partitions must be at least 1, not " + partitions);
      }
    }

    /** All rows, into a new folder. */
    public static Settings of(RunSettings run) {
      return new Settings(run, null, Restart.NOT_ASKED, null);
    }
  }

  /** What to do about a former run's output. */
  public enum Restart {
    /** Refuse to start. */
    NOT_ASKED,
    /** Delete it and begin again. */
    FROM_SCRATCH
  }

  /**
   * What was done, counted in the files as written.
   *
   * @param inputRows questions
   * @param variants how often each was asked
   * @param answered annotations with an answer
   * @param failed annotations without one
   * @param failures the latter by kind
   * @param promptTokens of answered rows
   * @param generatedTokens of answered rows
   * @param waves committed
   * @param seconds from start to end
   */
  public record Result(
      long inputRows,
      int variants,
      long answered,
      long failed,
      Map<String, Long> failures,
      long promptTokens,
      long generatedTokens,
      int waves,
      double seconds) {

    /** Failed annotations among all, 0 to 1. */
    public double failedShare() {
      return (double) failed / Math.max(1, answered + failed);
    }
  }

  /**
   * What would be done.
   *
   * @param rows questions
   * @param images different images, as far as bytes or paths tell
   * @param variants how often each question would be asked
   * @param annotations rows of the output
   * @param waves commits
   * @param sample some of the questions' texts
   */
  public record Plan(
      long rows, long images, int variants, long annotations, int waves, List<String> sample) {
    public Plan {
      sample = List.copyOf(sample);
    }
  }

  /** A job with a real model, telling nobody how far it is. */
  public AnnotateJob(Settings settings) {
    this(settings, JobProgress.NONE);
  }

  /** A job with a real model. */
  public AnnotateJob(Settings settings, JobProgress progress) {
    this(settings, new LoadModel(), progress);
  }

  /** A job with any annotator. The factory must be a record or an enum. */
  AnnotateJob(Settings settings, AnnotatorFactory factory, JobProgress progress) {
    this.settings = settings;
    this.run = settings.run();
    this.factory = factory;
    this.progress = progress;
  }

  /**
   * Does all checks that need no model, and counts.
   *
   * @throws IllegalArgumentException in one line, for whatever would stop the run
   */
  public Plan plan(SparkSession spark) {
    return reading(
        spark,
        () -> {
          OutputFolder output = checkOutput(spark);
          InputQuestions questions = questions(spark, output);
          return new Plan(
              questions.count(),
              questions.images(),
              run.variants().size(),
              questions.count() * run.variants().size(),
              questions.waves().size(),
              questions.sample(run));
        });
  }

  /**
   * Runs.
   *
   * @throws IllegalArgumentException in one line, for settings, input or a checkpoint that cannot
   *     be used; then nothing was written
   * @throws BrokenInvariantException when the output does not hold what it must
   * @throws CancellationException when the Spark session was stopped
   */
  public Result run(SparkSession spark) {
    return reading(
        spark,
        () -> {
          long start = System.nanoTime();
          OutputFolder output = checkOutput(spark);
          InputQuestions questions = questions(spark, output);
          ModelFacts model = loadModel(spark);
          output.clear();
          Manifest manifest =
              Manifest.begin(
                  run,
                  settings.limit(),
                  model,
                  new Manifest.Input(questions.count(), questions.images()),
                  spark);
          output.write(manifest);
          manifest = writeWaves(spark, questions, output, manifest);
          return finish(spark, questions, output, manifest, start);
        });
  }

  private OutputFolder checkOutput(SparkSession spark) {
    QuestionTable.requireFreeNames(run.output().keepColumns());
    String shown = Manifest.withoutPasswords(run.output().path());
    OutputFolder output = new OutputFolder(run.output().path(), hadoop(spark));
    if (output.isFile()) {
      throw new IllegalArgumentException(
          "Cannot write to output.path %s: it is a file".formatted(shown));
    }
    if (output.isFree()) {
      return output;
    }
    List<String> foreign = output.foreign();
    if (!foreign.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot write to output.path %s: it holds other files, such as %s"
              .formatted(shown, foreign.get(0)));
    }
    if (settings.restart() == Restart.NOT_ASKED) {
      Optional<JsonNode> manifest = output.manifest();
      String what = "an unfinished run";
      if (manifest.isPresent() && Manifest.isComplete(manifest.get())) {
        what =
            Manifest.hasSettings(manifest.get(), run, settings.limit())
                ? "the complete result of a run with these settings"
                : "the complete result of a run with other settings";
      }
      throw new IllegalArgumentException(
          "Cannot write to output.path %s: it holds %s; choose another, or replace it with"
                  .formatted(shown, what)
              + " --restart");
    }
    return output;
  }

  private InputQuestions questions(SparkSession spark, OutputFolder output) {
    describe(spark, "reading the input");
    return InputQuestions.read(spark, run, output, settings.limit());
  }

  /** Loads the model on one executor, which later tasks there share, and asks what it is. */
  private ModelFacts loadModel(SparkSession spark) {
    describe(spark, "loading the model");
    try {
      return Manifest.modelFacts(
          spark
              .createDataset(List.of("model"), Encoders.STRING())
              .mapPartitions(new DescribeModel(factory, run), Encoders.STRING())
              .first());
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      for (Throwable cause : SparkFailures.causes(e)) {
        if (cause instanceof IllegalArgumentException refused) {
          throw new IllegalArgumentException(refused.getMessage(), e);
        }
      }
      throw SparkFailures.unwrapped(e, "Cannot load the model");
    }
  }

  private record DescribeModel(AnnotatorFactory factory, RunSettings run)
      implements MapPartitionsFunction<String, String> {
    @Override
    public Iterator<String> call(Iterator<String> any) {
      try (ExecutorAnnotator.Lease lease = ExecutorAnnotator.lease(factory, run)) {
        return List.of(Manifest.toJson(lease.annotator().facts())).iterator();
      }
    }
  }

  private Manifest writeWaves(
      SparkSession spark, InputQuestions questions, OutputFolder output, Manifest begun) {
    Counters counters = Counters.in(spark.sparkContext());
    ProgressListener listener =
        new ProgressListener(counters, progress, questions.count() * run.variants().size());
    spark.sparkContext().addSparkListener(listener);
    try {
      Manifest manifest = begun;
      List<Manifest.Wave> committed = new ArrayList<>();
      for (Manifest.Wave wave : questions.waves()) {
        describe(
            spark,
            "wave %d of %d: %d rows"
                .formatted(committed.size() + 1, questions.waves().size(), wave.rows()));
        write(spark, questions, wave, output.wavePath(wave.number()), counters);
        committed.add(wave);
        manifest = manifest.with(committed);
        output.write(manifest);
        listener.report();
      }
      return manifest;
    } finally {
      spark.sparkContext().removeSparkListener(listener);
    }
  }

  private void write(
      SparkSession spark,
      InputQuestions questions,
      Manifest.Wave wave,
      String path,
      Counters counters) {
    Dataset<Row> rows = questions.wave(wave);
    int partitions =
        settings.partitions() != null
            ? settings.partitions()
            : (int) Math.min(spark.sparkContext().defaultParallelism(), wave.rows());
    try {
      AnnotatedRows.flat(AnnotatedRows.of(rows, factory, run, partitions, counters))
          .write()
          .mode(SaveMode.Overwrite) // What an unlisted wave left does not count.
          .option("compression", "zstd")
          .parquet(path);
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      throw SparkFailures.unwrapped(e, "Cannot finish wave " + wave.number());
    }
  }

  /** Reads back what was written, holds it against the input, and closes the books. */
  private Result finish(
      SparkSession spark,
      InputQuestions questions,
      OutputFolder output,
      Manifest manifest,
      long start) {
    describe(spark, "checking the output");
    OutputCheck check = new OutputCheck(spark, run, questions, output, manifest);
    Manifest.Counts counts = check.counts();
    Manifest.Tokens tokens = check.tokens();
    double seconds = (System.nanoTime() - start) / 1e9;
    output.write(manifest.complete(counts, tokens, seconds));
    output.markComplete();
    Map<String, Long> failures =
        counts.variants().values().stream()
            .flatMap(variant -> variant.failed().entrySet().stream())
            .collect(
                Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, Long::sum, TreeMap::new));
    return new Result(
        questions.count(),
        run.variants().size(),
        counts.answered(),
        counts.failed(),
        failures,
        tokens.prompt(),
        tokens.generated(),
        manifest.waves().size(),
        seconds);
  }

  /** Runs with small read batches, and leaves the session as it was. */
  private <T> T reading(SparkSession spark, Callable<T> work) {
    Optional<String> before = Optional.ofNullable(spark.conf().get(READ_BATCH, null));
    spark.conf().set(READ_BATCH, READ_BATCH_ROWS);
    try {
      return work.call();
    } catch (Exception e) {
      if (spark.sparkContext().isStopped()) {
        throw cancelled(e);
      }
      throw e instanceof RuntimeException known
          ? known
          : new IllegalStateException(SparkFailures.oneLine(e), e);
    } finally {
      if (!spark.sparkContext().isStopped()) {
        describe(spark, null);
        before.ifPresentOrElse(
            value -> spark.conf().set(READ_BATCH, value), () -> spark.conf().unset(READ_BATCH));
      }
    }
  }

  private static CancellationException cancelled(Exception cause) {
    CancellationException cancelled = new CancellationException("The Spark session was stopped");
    cancelled.initCause(cause);
    return cancelled;
  }

  private static void describe(SparkSession spark, @Nullable String step) {
    spark.sparkContext().setJobDescription(step == null ? null : "sinklens annotate: " + step);
  }

  private static Configuration hadoop(SparkSession spark) {
    return spark.sparkContext().hadoopConfiguration();
  }
}
