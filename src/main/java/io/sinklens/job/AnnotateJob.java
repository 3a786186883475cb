package io.sinklens.job;

import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.QuestionTable;
import io.sinklens.table.WaveCommit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.function.DoubleSupplier;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Annotates every question of a dataset under every variant and writes one row for each.
 *
 * <p>Reads {@link QuestionTable}, writes {@link AnnotationTable}. Work is cut into waves by image;
 * each is an ordinary Spark write into a folder of its own, and counts once the manifest lists it.
 * Everything that can be known to be wrong is refused before a model is loaded, and nothing is
 * written before the model is. A run on the output of one that was cut short writes only the waves
 * that are missing.
 */
public final class AnnotateJob {
  /** What the session is told for the time of a run. */
  private static final Map<String, String> SESSION =
      Map.of(
          "spark.sql.parquet.columnarReaderBatchSize",
          "8", // Rows a reader holds at once: with the default of 4096, large images fill memory.
          "parquet.hadoop.vectored.io.enabled",
          "false", // Reads of several ranges at once are not tried again when S3 breaks them off.
          WaveCommit.SESSION_KEY,
          WaveCommit.class.getName());

  private final Settings settings;
  private final RunSettings run;
  private final AnnotatorFactory factory;
  private final JobProgress progress;
  private final RunLease.Pace pace;

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
    /** Go on with it where it is a run with the same settings, input and model; else refuse. */
    NOT_ASKED,
    /** The same, and ask again what has failed in it. */
    FAILED_ROWS,
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
   * @param formerWaves those among them that were there before
   * @param seconds from start to end, of former runs too
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
      int formerWaves,
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
    this(settings, factory, progress, RunLease.Pace.USUAL);
  }

  AnnotateJob(
      Settings settings, AnnotatorFactory factory, JobProgress progress, RunLease.Pace pace) {
    this.settings = settings;
    this.run = settings.run();
    this.factory = factory;
    this.progress = progress;
    this.pace = pace;
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
          InputQuestions questions = questions(spark, output, formerRun(output));
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
          FormerRun former = formerRun(output);
          if (former != null && hasAllOf(former)) {
            if (!hasInputOf(former, spark)) {
              questions(spark, output, former); // Refuses other rows.
            }
            return result(former.manifest(), former.manifest());
          }
          try (RunLease lease = RunLease.request(output, pace, progress)) {
            former = formerRun(output); // Another run may have ended in the meantime.
            InputQuestions questions = questions(spark, output, former);
            Manifest begun = begin(spark, questions, output, former, lease);
            tellBegin(questions, begun);
            DoubleSupplier seconds = () -> begun.wallSeconds() + (System.nanoTime() - start) / 1e9;
            Manifest written = writeWaves(spark, questions, output, begun, lease, seconds);
            Result result =
                result(finish(spark, questions, output, written, lease, seconds), begun);
            tellEnd(result);
            return result;
          }
        });
  }

  private void tellBegin(InputQuestions questions, Manifest begun) {
    RunLog.tell(
        "run begins",
        Map.of(
            "output",
            Addresses.withoutSecrets(run.output().path()),
            "rows",
            questions.count(),
            "variants",
            run.variants().size(),
            "waves",
            questions.waves().size(),
            "former_waves",
            begun.waves().size()));
  }

  private static void tellEnd(Result result) {
    RunLog.tell(
        "run ends",
        Map.of(
            "answered",
            result.answered(),
            "failed",
            result.failed(),
            "failures",
            result.failures(),
            "prompt_tokens",
            result.promptTokens(),
            "generated_tokens",
            result.generatedTokens(),
            "seconds",
            result.seconds()));
  }

  private OutputFolder checkOutput(SparkSession spark) {
    QuestionTable.requireFreeNames(run.output().keepColumns());
    String shown = Addresses.withoutSecrets(run.output().path());
    OutputFolder output = new OutputFolder(run.output().path(), hadoop(spark));
    if (output.isFile()) {
      throw new IllegalArgumentException(
          "Cannot write to output.path %s: it is a file".formatted(shown));
    }
    List<String> foreign = output.foreign();
    if (!foreign.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot write to output.path %s: it holds other files, such as %s"
              .formatted(shown, foreign.get(0)));
    }
    return output;
  }

  /** The run to go on with, if there is any. */
  private @Nullable FormerRun formerRun(OutputFolder output) {
    if (settings.restart() == Restart.FROM_SCRATCH || !output.hasResults()) {
      return null;
    }
    FormerRun former =
        output
            .manifest()
            .map(FormerRun::new)
            .orElseThrow(() -> other("files of a run that cannot be gone on with"));
    former.settingsDifference(run, settings.limit()).ifPresent(this::refuse);
    return former;
  }

  private void refuse(String difference) {
    throw other("a run that differs: " + difference);
  }

  private IllegalArgumentException other(String what) {
    return new IllegalArgumentException(
        "Cannot write to output.path %s: it holds %s; choose another, or replace it with --restart"
            .formatted(Addresses.withoutSecrets(run.output().path()), what));
  }

  private boolean retries() {
    return settings.restart() == Restart.FAILED_ROWS;
  }

  /** Whether a run has left nothing to do, if its input is ours. */
  private boolean hasAllOf(FormerRun former) {
    Manifest.Counts counts = former.manifest().counts();
    return former.isComplete() && counts != null && (counts.failed() == 0 || !retries());
  }

  private boolean hasInputOf(FormerRun former, SparkSession spark) {
    describe(spark, "looking at the input's files");
    return former.manifest().input().files().equals(InputQuestions.fingerprintOfFiles(spark, run));
  }

  private InputQuestions questions(
      SparkSession spark, OutputFolder output, @Nullable FormerRun former) {
    describe(spark, "reading the input");
    if (former == null) {
      return InputQuestions.read(spark, run, output, settings.limit(), null);
    }
    InputQuestions questions =
        InputQuestions.read(spark, run, output, settings.limit(), former.manifest().slices());
    former.inputDifference(questions.input()).ifPresent(this::refuse);
    return questions;
  }

  /** Loads the model, makes the output ready, and says which waves need not be written again. */
  private Manifest begin(
      SparkSession spark,
      InputQuestions questions,
      OutputFolder output,
      @Nullable FormerRun former,
      RunLease lease) {
    ModelFacts model = loadModel(spark);
    if (former != null) {
      former.modelDifference(model).ifPresent(this::refuse);
    }
    lease.take();
    Manifest found = output.manifest().orElse(null);
    boolean asItWas = Objects.equals(former == null ? null : former.manifest(), found);
    if (!asItWas && settings.restart() != Restart.FROM_SCRATCH) {
      throw other("what another run has changed in the meantime");
    }
    Manifest manifest =
        former == null
            ? Manifest.begin(found, run, settings.limit(), model, questions, spark)
            : former.manifest().goneOnWith(wave -> !output.hasWave(wave));
    output.write(manifest, lease); // First: then what still lies there does not count.
    output.keepOnly(manifest.waveNumbers(), lease);
    return manifest;
  }

  /** Loads the model on one executor, which later tasks there share, and asks what it is. */
  private ModelFacts loadModel(SparkSession spark) {
    describe(spark, "loading the model");
    try {
      return Manifest.modelFacts(
          spark
              .createDataset(List.of("model"), Encoders.STRING())
              .mapPartitions(
                  new DescribeModel(factory, run, new LocalModel(hadoop(spark))), Encoders.STRING())
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

  private record DescribeModel(AnnotatorFactory factory, RunSettings run, LocalModel local)
      implements MapPartitionsFunction<String, String> {
    @Override
    public Iterator<String> call(Iterator<String> any) {
      try (ExecutorAnnotator.Lease lease = ExecutorAnnotator.lease(factory, run, local)) {
        ModelFacts facts = lease.annotator().facts().withPath(run.model().path());
        return List.of(Manifest.toJson(facts)).iterator();
      }
    }
  }

  /** Writes the waves that are missing, and those again in which rows have failed if asked to. */
  private Manifest writeWaves(
      SparkSession spark,
      InputQuestions questions,
      OutputFolder output,
      Manifest begun,
      RunLease lease,
      DoubleSupplier seconds) {
    WaveWriter writer =
        new WaveWriter(spark, run, factory, questions, output, settings.partitions());
    describe(spark, "looking for what is left to do");
    List<WaveWriter.Work> work = new ArrayList<>(retries() ? writer.failed(begun) : List.of());
    work.addAll(writer.missing(begun));
    if (!begun.waves().isEmpty()) {
      progress.goesOn(begun.waves().size(), questions.waves().size());
    }
    long asked = work.stream().mapToLong(WaveWriter.Work::asked).sum();
    ProgressListener listener =
        new ProgressListener(writer.counters(), progress, asked * run.variants().size());
    spark.sparkContext().addSparkListener(listener);
    Manifest manifest = begun;
    try (WavesInFlight flight = new WavesInFlight(spark, writer, work)) {
      while (flight.hasNext()) {
        WaveWriter.Work done = flight.next();
        manifest = manifest.with(done.wave(), done.former(), seconds.getAsDouble());
        output.write(manifest, lease);
        RunLog.tell("wave committed", done.facts());
        if (done.former() != null) {
          output.deleteWave(done.former().number());
        }
        listener.report();
      }
    } catch (RuntimeException e) {
      if (!lease.isLost()) {
        throw e;
      }
      Set<Integer> committed = manifest.waveNumbers();
      work.stream()
          .map(lost -> lost.wave().number())
          .filter(number -> !committed.contains(number))
          .forEach(output::deleteWave); // Nobody else has folders of these numbers.
      throw lease.lost(e);
    } finally {
      spark.sparkContext().removeSparkListener(listener);
    }
    return manifest;
  }

  /** Reads back what was written, holds it against the input, and closes the books. */
  private Manifest finish(
      SparkSession spark,
      InputQuestions questions,
      OutputFolder output,
      Manifest written,
      RunLease lease,
      DoubleSupplier seconds) {
    describe(spark, "checking the output");
    output.keepOnly(written.waveNumbers(), lease);
    OutputCheck check = new OutputCheck(spark, run, questions, output, written);
    Manifest complete = written.complete(check.counts(), check.tokens(), seconds.getAsDouble());
    output.write(complete, lease);
    output.markComplete();
    return complete;
  }

  /**
   * What a complete run comes to.
   *
   * @param begun what this run went on with
   */
  private static Result result(Manifest complete, Manifest begun) {
    Manifest.Counts counts = Objects.requireNonNull(complete.counts());
    Manifest.Tokens tokens = Objects.requireNonNull(complete.tokens());
    Map<String, Long> failures =
        counts.variants().values().stream()
            .flatMap(variant -> variant.failed().entrySet().stream())
            .collect(
                Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, Long::sum, TreeMap::new));
    return new Result(
        complete.input().rows(),
        counts.variants().size(),
        counts.answered(),
        counts.failed(),
        failures,
        tokens.prompt(),
        tokens.generated(),
        complete.waves().size(),
        (int) complete.waves().stream().filter(begun.waves()::contains).count(),
        complete.wallSeconds());
  }

  /** Runs with settings of our own, and leaves the session as it was. */
  private <T> T reading(SparkSession spark, Callable<T> work) {
    Map<String, @Nullable String> before = new HashMap<>();
    SESSION.forEach(
        (name, value) -> {
          before.put(name, spark.conf().get(name, null));
          spark.conf().set(name, value);
        });
    S3Defaults.in(hadoop(spark));
    try {
      Addresses.requireNoSecrets("input.path", run.input().path());
      Addresses.requireNoSecrets("input.images", run.input().images());
      ImageTable images = run.input().imageTable();
      Addresses.requireNoSecrets("input.image-table.path", images == null ? null : images.path());
      Addresses.requireNoSecrets("output.path", run.output().path());
      return work.call();
    } catch (Exception e) {
      RunLog.tell("run stopped", Map.of("reason", SparkFailures.oneLine(e)));
      if (spark.sparkContext().isStopped()) {
        throw cancelled(e);
      }
      throw e instanceof RuntimeException known
          ? known
          : SparkFailures.unwrapped(e, "Cannot finish the run");
    } finally {
      if (!spark.sparkContext().isStopped()) {
        describe(spark, null);
        before.forEach(
            (name, value) -> {
              if (value == null) {
                spark.conf().unset(name);
              } else {
                spark.conf().set(name, value);
              }
            });
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
