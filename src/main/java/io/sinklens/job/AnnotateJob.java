package io.sinklens.job;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count;
import static org.apache.spark.sql.functions.count_distinct;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.max;
import static org.apache.spark.sql.functions.pmod;
import static org.apache.spark.sql.functions.size;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.when;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.QuestionColumns;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionTable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Column;
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
  private static final int EXAMPLES = 3;
  private static final int SAMPLE = 1000;
  private static final int MAX_MESSAGE_LENGTH = 500;

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

  /**
   * Questions that were found fit to be asked.
   *
   * @param rows in normal form
   * @param count how many
   * @param images different images
   * @param waves how many rows each wave has, those without any left out
   * @param slices into how many parts images are divided
   */
  private record Questions(
      Dataset<Row> rows, long count, long images, List<Manifest.Wave> waves, int slices) {}

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
          checkOutput(spark);
          Questions questions = questions(spark);
          return new Plan(
              questions.count(),
              questions.images(),
              run.variants().size(),
              questions.count() * run.variants().size(),
              questions.waves().size(),
              sample(questions));
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
          Questions questions = questions(spark);
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

  private List<String> sample(Questions questions) {
    return fromInput(
        () ->
            questions
                .rows()
                .select("question")
                .where("question is not null")
                .limit(SAMPLE)
                .collectAsList()
                .stream()
                .map(row -> row.getString(0))
                .toList());
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

  private Questions questions(SparkSession spark) {
    describe(spark, "reading the input");
    Dataset<Row> input = fromInput(() -> spark.read().parquet(run.input().path()));
    OutputFolder output = new OutputFolder(run.output().path(), hadoop(spark));
    for (String file : fromInput(input::inputFiles)) {
      if (output.holds(file)) {
        throw new IllegalArgumentException(
            "Cannot write to output.path %s: the input lies in it"
                .formatted(Manifest.withoutPasswords(run.output().path())));
      }
    }
    Dataset<Row> filtered = filtered(input, run.input().filter());
    Dataset<Row> rows =
        QuestionTable.normalise(
            filtered, columns(run, UnnamedRows.BY_FILE_AND_NUMBER), run.input().images());
    long count = countIds(input, rows);
    if (settings.limit() != null && settings.limit() < count) {
      count = settings.limit();
      rows = first(rows, settings.limit());
    }
    return sliced(rows, count);
  }

  static Dataset<Row> filtered(Dataset<Row> input, @Nullable String condition) {
    if (condition == null) {
      return input;
    }
    try {
      return input.where(condition);
    } catch (Exception e) { // Scala declares nothing: what Spark cannot parse arrives unannounced.
      throw new IllegalArgumentException(
          "Cannot use input.filter %s: %s".formatted(condition, oneLine(e)), e);
    }
  }

  static QuestionColumns columns(RunSettings run, UnnamedRows unnamed) {
    RunSettings.Columns columns = run.input().columns();
    return new QuestionColumns(
        columns.id(),
        unnamed,
        columns.image(),
        columns.imageId(),
        columns.question(),
        columns.answers(),
        columns.mask(),
        run.output().keepColumns());
  }

  /** How many rows there are; there must be some, each with an id of its own. */
  private long countIds(Dataset<Row> input, Dataset<Row> rows) {
    Dataset<Row> ids = rows.select(QuestionTable.SAMPLE_ID);
    Row counts =
        fromInput(() -> ids.agg(count(lit(1)), count(col(QuestionTable.SAMPLE_ID))).first());
    long all = counts.getLong(0);
    List<String> idColumns = run.input().columns().id();
    if (all == 0) {
      String path = Manifest.withoutPasswords(run.input().path());
      throw new IllegalArgumentException(
          fromInput(input::isEmpty)
              ? "The dataset is empty: %s has no rows".formatted(path)
              : "The dataset is empty: no row of %s passes input.filter %s"
                  .formatted(path, run.input().filter()));
    }
    if (counts.getLong(1) < all) {
      throw new IllegalArgumentException(
          "Every row must have an id: %d of %d rows have a null in %s"
              .formatted(all - counts.getLong(1), all, named(idColumns)));
    }
    List<String> twice =
        fromInput(
            () ->
                ids
                    .groupBy(QuestionTable.SAMPLE_ID)
                    .count()
                    .where("count > 1")
                    .orderBy(QuestionTable.SAMPLE_ID)
                    .limit(EXAMPLES)
                    .collectAsList()
                    .stream()
                    .map(row -> "%s (%d rows)".formatted(row.getString(0), row.getLong(1)))
                    .toList());
    if (!twice.isEmpty()) {
      throw new IllegalArgumentException(
          idColumns.isEmpty()
              ? "Cannot tell rows apart: files of the input have the same name; set"
                  + " input.columns.id"
              : "Ids must be unique, but %s has duplicates, such as %s"
                  .formatted(named(idColumns), String.join(", ", twice)));
    }
    return all;
  }

  private static String named(List<String> columns) {
    return columns.size() == 1
        ? "column " + columns.get(0)
        : "the columns " + String.join(", ", columns);
  }

  /** The first rows by id: ids are unique, so the last of them says where to stop. */
  private Dataset<Row> first(Dataset<Row> rows, int limit) {
    Row last =
        fromInput(
            () ->
                rows.select(QuestionTable.SAMPLE_ID)
                    .orderBy(QuestionTable.SAMPLE_ID)
                    .limit(limit)
                    .agg(max(QuestionTable.SAMPLE_ID))
                    .first());
    return rows.where(col(QuestionTable.SAMPLE_ID).leq(lit(last.getString(0))));
  }

  /** Divides images into waves of about the wanted size. */
  private Questions sliced(Dataset<Row> rows, long count) {
    int slices = Math.toIntExact((count - 1) / run.run().waveRows() + 1);
    List<Row> sizes =
        fromInput(
            () ->
                rows.groupBy(slice(slices))
                    .agg(count(lit(1)), count_distinct(col(QuestionTable.IMAGE_KEY)))
                    .collectAsList());
    List<Manifest.Wave> waves = new ArrayList<>();
    long images = 0;
    for (Row size : sizes) {
      waves.add(new Manifest.Wave((int) size.getLong(0), size.getLong(1)));
      images += size.getLong(2);
    }
    waves.sort(Comparator.comparingInt(Manifest.Wave::number));
    return new Questions(rows, count, images, waves, slices);
  }

  private static Column slice(int slices) {
    return pmod(col(QuestionTable.IMAGE_KEY), lit((long) slices));
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
      for (Throwable cause : causes(e)) {
        if (cause instanceof IllegalArgumentException refused) {
          throw new IllegalArgumentException(refused.getMessage(), e);
        }
      }
      throw unwrapped(e, "Cannot load the model");
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
      SparkSession spark, Questions questions, OutputFolder output, Manifest begun) {
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
      SparkSession spark, Questions questions, Manifest.Wave wave, String path, Counters counters) {
    Dataset<Row> rows =
        questions.rows().where(slice(questions.slices()).equalTo(lit((long) wave.number())));
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
      throw unwrapped(e, "Cannot finish wave " + wave.number());
    }
  }

  /** Reads back what was written, holds it against the input, and closes the books. */
  private Result finish(
      SparkSession spark, Questions questions, OutputFolder output, Manifest manifest, long start) {
    describe(spark, "checking the output");
    Dataset<Row> written =
        spark
            .read()
            .schema(AnnotationTable.SCHEMA)
            .option("basePath", output.annotationsPath())
            .parquet(
                manifest.waves().stream()
                    .map(wave -> output.wavePath(wave.number()))
                    .toArray(String[]::new));
    requireEveryKeyOnce(questions, written);
    List<Row> groups =
        written
            .groupBy(
                col("variant"),
                col("status").equalTo(AnnotationTable.ANSWERED),
                col("failure.kind"))
            .agg(
                count(lit(1)),
                sum(
                    when(col("prompt_token_count").isNull(), 0)
                        .otherwise(col("prompt_token_count"))),
                sum(
                    when(col("answer_token_ids").isNull(), 0)
                        .otherwise(size(col("answer_token_ids")))))
            .collectAsList();
    Manifest.Counts counts = counts(groups);
    long expected = questions.count() * run.variants().size();
    if (counts.annotations() != expected) {
      throw new BrokenInvariantException(
          "%d rows under %d variants must give %d annotations, but there are %d"
              .formatted(questions.count(), run.variants().size(), expected, counts.annotations()));
    }
    Manifest.Tokens tokens =
        new Manifest.Tokens(
            groups.stream().mapToLong(group -> group.getLong(4)).sum(),
            groups.stream().mapToLong(group -> group.getLong(5)).sum());
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

  private void requireEveryKeyOnce(Questions questions, Dataset<Row> written) {
    int variants = run.variants().size();
    Column names =
        col("variant").isin(run.variants().stream().map(RunSettings.Variant::name).toArray());
    Dataset<Row> found =
        written
            .where(names)
            .groupBy(QuestionTable.SAMPLE_ID)
            .agg(count(lit(1)).as("annotations"), count_distinct(col("variant")).as("variants"));
    List<String> wrong =
        questions
            .rows()
            .select(col(QuestionTable.SAMPLE_ID).as("asked"))
            .join(found, col("asked").equalTo(col(QuestionTable.SAMPLE_ID)), "full_outer")
            .where(
                col("asked")
                    .isNull()
                    .or(col(QuestionTable.SAMPLE_ID).isNull())
                    .or(col("annotations").notEqual(variants))
                    .or(col("variants").notEqual(variants)))
            .limit(EXAMPLES)
            .collectAsList()
            .stream()
            .map(AnnotateJob::difference)
            .toList();
    if (!wrong.isEmpty()) {
      throw new BrokenInvariantException(
          "Every row must have one annotation under each of %d variants, but %s"
              .formatted(variants, String.join("; ", wrong)));
    }
  }

  private static String difference(Row row) {
    if (row.isNullAt(0)) {
      return "row %s of the output is not in the input".formatted(row.getString(1));
    }
    return "row %s has %d".formatted(row.getString(0), row.isNullAt(2) ? 0 : row.getLong(2));
  }

  private Manifest.Counts counts(List<Row> groups) {
    Map<String, Long> answered = new LinkedHashMap<>();
    Map<String, TreeMap<String, Long>> failed = new LinkedHashMap<>();
    for (Row group : groups) {
      if (group.getBoolean(1)) {
        answered.merge(group.getString(0), group.getLong(3), Long::sum);
      } else {
        failed
            .computeIfAbsent(group.getString(0), variant -> new TreeMap<>())
            .merge(group.getString(2), group.getLong(3), Long::sum);
      }
    }
    Map<String, Manifest.VariantCounts> variants = new LinkedHashMap<>();
    for (RunSettings.Variant variant : run.variants()) {
      variants.put(
          variant.name(),
          new Manifest.VariantCounts(
              answered.getOrDefault(variant.name(), 0L),
              failed.getOrDefault(variant.name(), new TreeMap<>())));
    }
    long allAnswered = answered.values().stream().mapToLong(Long::longValue).sum();
    long allFailed =
        failed.values().stream()
            .flatMap(kinds -> kinds.values().stream())
            .mapToLong(Long::longValue)
            .sum();
    return new Manifest.Counts(allAnswered + allFailed, allAnswered, allFailed, variants);
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
      throw e instanceof RuntimeException known ? known : new IllegalStateException(oneLine(e), e);
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

  /** Something that only a bad input can break. */
  private <T> T fromInput(Callable<T> work) {
    try {
      return work.call();
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      String reason = oneLine(rootCause(e));
      if (reason.contains("UNABLE_TO_INFER_SCHEMA") || reason.contains("Unable to infer schema")) {
        reason =
            "no Parquet files are there; name a folder that holds them itself, or a pattern such as"
                + " FOLDER/data/*.parquet";
      }
      throw new IllegalArgumentException(
          "Cannot read input.path %s: %s"
              .formatted(Manifest.withoutPasswords(run.input().path()), reason),
          e);
    }
  }

  /** What a task threw, out of Spark's wrapping. */
  private static RuntimeException unwrapped(Exception failure, String step) {
    for (Throwable e : causes(failure)) {
      if (e instanceof UncheckedIOException file) {
        return new UncheckedIOException(file.getMessage(), file.getCause());
      }
      if (e instanceof BrokenInvariantException broken) {
        return broken;
      }
    }
    return new IllegalStateException(
        "%s: %s".formatted(step, oneLine(rootCause(failure))), failure);
  }

  private static List<Throwable> causes(Throwable failure) {
    return Stream.iterate(failure, e -> e != null, Throwable::getCause).limit(20).toList();
  }

  private static Throwable rootCause(Throwable failure) {
    List<Throwable> causes = causes(failure);
    return causes.get(causes.size() - 1);
  }

  private static String oneLine(Throwable e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    String line = message.lines().filter(text -> !text.isBlank()).findFirst().orElse("").strip();
    return Manifest.withoutPasswords(
        line.length() <= MAX_MESSAGE_LENGTH ? line : line.substring(0, MAX_MESSAGE_LENGTH) + "...");
  }

  private static void describe(SparkSession spark, @Nullable String step) {
    spark.sparkContext().setJobDescription(step == null ? null : "sinklens annotate: " + step);
  }

  private static Configuration hadoop(SparkSession spark) {
    return spark.sparkContext().hadoopConfiguration();
  }
}
