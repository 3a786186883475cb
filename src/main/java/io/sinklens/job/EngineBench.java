package io.sinklens.job;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorSettings;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.RunTimes;
import io.sinklens.pipeline.Versions;
import io.sinklens.result.Annotation;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Measures how fast the engine answers questions, without Spark. */
final class EngineBench implements AutoCloseable {
  /** Warming up goes on for so long, or until all questions have been asked once. */
  private static final double WARM_UP_SECONDS = 10;

  private final ModelAnnotator annotator;
  private final Map<String, Object> loaded;

  /**
   * What was measured.
   *
   * @param annotations the answers
   * @param rowsPerSecond annotations made in a second
   * @param secondsByPhase what the time went into
   * @param rates of the engine and its passes, as the names and values of a JSON object
   * @param attention what the hooks saw, likewise
   */
  record Measured(
      List<Annotation> annotations,
      double rowsPerSecond,
      Map<String, Double> secondsByPhase,
      Map<String, Object> rates,
      Map<String, Object> attention) {}

  private EngineBench(ModelAnnotator annotator, Map<String, Object> loaded) {
    this.annotator = annotator;
    this.loaded = loaded;
  }

  /** Loads a model, and measures that too. */
  static EngineBench load(AnnotatorSettings settings) {
    long start = System.nanoTime();
    ModelAnnotator annotator = ModelAnnotator.load(settings);
    Map<String, Object> load = new LinkedHashMap<>();
    load.put("seconds", seconds(start));
    load.putAll(Memory.now());
    Map<String, Object> loaded = new LinkedHashMap<>();
    loaded.put("model", annotator.facts());
    loaded.put("load", load);
    return new EngineBench(annotator, loaded);
  }

  /** The model, and what loading it took. */
  Map<String, Object> loaded() {
    return loaded;
  }

  /** Answers questions, those on one image behind one another, once warmed up on the first. */
  Measured measure(List<Question> questions) {
    warmUp(questions);
    return measureWarm(questions);
  }

  /** As {@link #measure}, warmed up on all of them, where every new size of a batch costs time. */
  Measured measureTwice(List<Question> questions) {
    drain(annotator, questions);
    return measureWarm(questions);
  }

  /** Asks about one image, about two, about four, and so on. */
  private void warmUp(List<Question> questions) {
    long start = System.nanoTime();
    int asked = 0;
    for (int images = 1;
        asked < questions.size() && (asked == 0 || seconds(start) < WARM_UP_SECONDS);
        images *= 2) {
      asked = ofImages(questions, images);
      drain(annotator, questions.subList(0, asked));
    }
  }

  private Measured measureWarm(List<Question> questions) {
    RunTimes before = annotator.times();
    long start = System.nanoTime();
    List<Annotation> annotations = drain(annotator, questions);
    double seconds = seconds(start);
    RunTimes spent = annotator.times().since(before);
    Map<String, Object> rates = new LinkedHashMap<>();
    rates.put("engine", engine(annotations, seconds, spent));
    rates.put("passes", new PassReport(annotator, spent).values());
    return new Measured(
        annotations,
        annotations.size() / seconds,
        spent.seconds(),
        rates,
        AttentionSummary.of(annotations, annotator.facts().heads()));
  }

  @Override
  public void close() {
    annotator.close();
  }

  /** Rows, seconds, and rows in a second. */
  static Map<String, Object> rates(long rows, double seconds) {
    Map<String, Object> rates = new LinkedHashMap<>();
    rates.put("rows", rows);
    rates.put("seconds", seconds);
    rates.put("rows_per_second", rows / seconds);
    return rates;
  }

  /** What it ran on. */
  static Map<String, Object> machine() {
    Map<String, Object> machine = new LinkedHashMap<>();
    machine.put("processors", Runtime.getRuntime().availableProcessors());
    machine.put("omp_num_threads", System.getenv().getOrDefault("OMP_NUM_THREADS", "unset"));
    machine.put("architecture", System.getProperty("os.arch"));
    machine.putAll(Versions.all());
    machine.put("pytorch", Versions.libtorch());
    return machine;
  }

  static double seconds(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  /** How many questions at the beginning are on the first images. */
  private static int ofImages(List<Question> questions, int images) {
    List<byte[]> seen = new ArrayList<>();
    for (int i = 0; i < questions.size(); i++) {
      ImageSource image = questions.get(i).image();
      byte[] content = image instanceof ImageSource.Bytes bytes ? bytes.content() : new byte[0];
      if (seen.stream().noneMatch(other -> Arrays.equals(other, content))) {
        if (seen.size() == images) {
          return i;
        }
        seen.add(content);
      }
    }
    return questions.size();
  }

  private static List<Annotation> drain(Annotator annotator, List<Question> questions) {
    List<Annotation> annotations = new ArrayList<>();
    Iterator<Annotation> rows = annotator.annotate(questions.iterator());
    rows.forEachRemaining(annotations::add);
    return annotations;
  }

  private static Map<String, Object> engine(
      List<Annotation> annotations, double seconds, RunTimes spent) {
    Map<String, Object> engine = rates(annotations.size(), seconds);
    engine.put("prompt_tokens", spent.promptTokens());
    engine.put("prompt_tokens_per_second", spent.promptTokens() / seconds);
    engine.put("generated_tokens", spent.generatedTokens());
    engine.put("generated_tokens_per_second", spent.generatedTokens() / seconds);
    long computed =
        spent.passes().stream().mapToLong(passes -> passes.tokens() * passes.count()).sum();
    engine.put("computed_tokens", computed);
    // The last token of an answer is not run any more.
    long useful = spent.promptTokens() + spent.generatedTokens() - spent.answeredRows();
    engine.put("useful_over_computed_tokens", (double) useful / computed);
    return engine;
  }
}
