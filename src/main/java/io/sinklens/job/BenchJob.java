package io.sinklens.job;

import io.sinklens.dataset.Question;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.RunTimes;
import io.sinklens.pipeline.Versions;
import io.sinklens.result.Annotation;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.ImageFiles;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionReader;
import io.sinklens.table.QuestionTable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Measures how fast questions are answered: by the engine alone, and by the whole job in Spark.
 *
 * <p>The questions are the bundled ones; the model is the bundled one unless another is given. The
 * engine is warmed up on the first images before it is measured.
 */
public final class BenchJob {
  private static final int WARM_UP_QUESTIONS = 60;

  private final Settings settings;

  /** What to do about attention while measuring. */
  public enum Workload {
    /** One variant, the model as published: fused attention, nothing recorded. */
    PLAIN,
    /** One variant that measures sinks and changes nothing. */
    OBSERVE,
    /** Two variants, observed and with VAR, as the demo runs, but without its attention maps. */
    BASELINE_AND_VAR;

    /** The name on the command line and in results, such as {@code baseline-and-var}. */
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /**
     * The workload of that name.
     *
     * @throws IllegalArgumentException naming those there are
     */
    public static Workload named(String label) {
      for (Workload known : values()) {
        if (known.label().equals(label)) {
          return known;
        }
      }
      throw new IllegalArgumentException(
          "Workload must be one of %s, not %s"
              .formatted(
                  Arrays.stream(values()).map(Workload::label).collect(Collectors.joining(", ")),
                  label));
    }
  }

  /**
   * What to measure.
   *
   * @param workload what to do about attention
   * @param model checkpoint folder, or null for the bundled one
   */
  public record Settings(Workload workload, @Nullable Path model) {}

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

  /** Measures. */
  public Result run(SparkSession spark) {
    try (Bundled bundled = Bundled.unpack()) {
      RunSettings run = bundled.job(bundled.scratch().resolve("job"), overlays());
      Map<String, Object> values = new LinkedHashMap<>();
      values.put("workload", settings.workload().label());
      List<Annotation> annotations;
      RunTimes spent;
      double seconds;
      try (ModelAnnotator annotator = ModelAnnotator.load(run.annotator())) {
        values.put("model", annotator.facts());
        List<Question> questions = questions(spark, run);
        drain(annotator, questions.subList(0, Math.min(WARM_UP_QUESTIONS, questions.size())));
        RunTimes before = annotator.times();
        long start = System.nanoTime();
        annotations = drain(annotator, questions);
        seconds = seconds(start);
        spent = annotator.times().since(before);
      }
      double writeSeconds = write(spark, annotations, bundled.scratch().resolve("write"));
      values.put("engine", engine(annotations.size(), seconds, spent));
      values.put("write", rates(annotations.size(), writeSeconds));
      values.put("job", job(spark, run, annotations.size() / seconds));
      Map<String, Double> split = new LinkedHashMap<>(spent.seconds());
      split.put("write", writeSeconds);
      values.put("seconds_by_phase", split);
      values.put("memory", memory());
      values.put("machine", machine(spark));
      return new Result(values);
    }
  }

  private List<String> overlays() {
    List<String> overlays = new ArrayList<>();
    overlays.add("statistics="); // The defaults: no maps.
    overlays.add("model.dtype=auto");
    if (settings.model() != null) {
      overlays.add("model.path='" + settings.model().toString().replace("'", "''") + "'");
    }
    switch (settings.workload()) {
      case PLAIN -> overlays.add("variants=[{name: plain, hook: none}]");
      case OBSERVE -> overlays.add("variants=[{name: baseline, hook: observe}]");
      case BASELINE_AND_VAR -> {}
    }
    return overlays;
  }

  private static List<Question> questions(SparkSession spark, RunSettings run) {
    Dataset<Row> rows =
        QuestionTable.normalise(
            spark.read().parquet(run.input().path()),
            InputQuestions.columns(run, UnnamedRows.BY_FILE_AND_NUMBER),
            null);
    QuestionReader reader =
        new QuestionReader(new ImageFiles(null, spark.sparkContext().hadoopConfiguration()));
    return rows.orderBy(QuestionTable.IMAGE_KEY, QuestionTable.SAMPLE_ID).collectAsList().stream()
        .map(reader::read)
        .toList();
  }

  private static List<Annotation> drain(Annotator annotator, List<Question> questions) {
    List<Annotation> annotations = new ArrayList<>();
    Iterator<Annotation> rows = annotator.annotate(questions.iterator());
    rows.forEachRemaining(annotations::add);
    return annotations;
  }

  private static Map<String, Object> rates(long rows, double seconds) {
    Map<String, Object> rates = new LinkedHashMap<>();
    rates.put("rows", rows);
    rates.put("seconds", seconds);
    rates.put("rows_per_second", rows / seconds);
    return rates;
  }

  private static Map<String, Object> engine(int rows, double seconds, RunTimes spent) {
    Map<String, Object> engine = rates(rows, seconds);
    engine.put("prompt_tokens", spent.promptTokens());
    engine.put("prompt_tokens_per_second", spent.promptTokens() / seconds);
    engine.put("generated_tokens", spent.generatedTokens());
    engine.put("generated_tokens_per_second", spent.generatedTokens() / seconds);
    return engine;
  }

  /** Writes annotations as the job would, and nothing else; returns seconds. */
  private static double write(SparkSession spark, List<Annotation> annotations, Path folder) {
    List<Row> rows = annotations.stream().map(AnnotationTable::toRow).toList();
    Dataset<Row> table =
        spark.createDataset(rows, Encoders.row(AnnotationTable.SCHEMA)).coalesce(1);
    long start = System.nanoTime();
    table.write().option("compression", "zstd").parquet(folder.toString());
    return seconds(start);
  }

  private static Map<String, Object> job(SparkSession spark, RunSettings run, double engineRate) {
    AnnotateJob.Result result =
        new AnnotateJob(new AnnotateJob.Settings(run, null, Restart.NOT_ASKED, null)).run(spark);
    Map<String, Object> job = rates(result.answered() + result.failed(), result.seconds());
    job.put("failed", result.failed());
    job.put(
        "ratio_to_engine", (result.answered() + result.failed()) / result.seconds() / engineRate);
    return job;
  }

  /** Largest use so far: of the heap, and of the whole process where the system tells. */
  private static Map<String, Object> memory() {
    long heap =
        ManagementFactory.getMemoryPoolMXBeans().stream()
            .filter(pool -> pool.getType() == MemoryType.HEAP)
            .map(MemoryPoolMXBean::getPeakUsage)
            .mapToLong(usage -> usage.getUsed())
            .sum();
    Map<String, Object> memory = new LinkedHashMap<>();
    memory.put("peak_heap_bytes", heap);
    Path status = Path.of("/proc/self/status");
    if (Files.isReadable(status)) {
      try (Stream<String> lines = Files.lines(status)) {
        lines
            .filter(line -> line.startsWith("VmHWM:"))
            .findFirst()
            .ifPresent(
                line ->
                    memory.put(
                        "peak_resident_bytes", Long.parseLong(line.replaceAll("\\D", "")) * 1024));
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot read " + status, e);
      }
    }
    return memory;
  }

  private static Map<String, Object> machine(SparkSession spark) {
    Map<String, Object> machine = new LinkedHashMap<>();
    machine.put("processors", Runtime.getRuntime().availableProcessors());
    machine.put("omp_num_threads", System.getenv().getOrDefault("OMP_NUM_THREADS", "unset"));
    machine.put("architecture", System.getProperty("os.arch"));
    machine.put("spark", spark.version());
    machine.putAll(Versions.all());
    return machine;
  }

  private static double seconds(long start) {
    return (System.nanoTime() - start) / 1e9;
  }
}
