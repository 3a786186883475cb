package io.sinklens.job;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Measures the engine on a host that has neither Spark nor the bundled dataset: a workload's
 * questions about the images of a folder, asked once to warm up and once to be measured.
 */
public final class HostBench {
  private static final String JOB = "{input: {path: none}, output: {path: none}}";

  private final Settings settings;

  /**
   * What to measure.
   *
   * @param workload name of a workload that asks the same of every image
   * @param model checkpoint folder
   * @param images folder of image files, taken in the order of their names
   * @param count how many of the images; null for the workload's number
   * @param variants names of variants; null for the workload's
   * @param overlays more settings, such as {@code model.device=gpu}
   */
  public record Settings(
      String workload,
      Path model,
      Path images,
      @Nullable Integer count,
      @Nullable List<String> variants,
      List<String> overlays) {
    public Settings {
      variants = variants == null ? null : List.copyOf(variants);
      overlays = List.copyOf(overlays);
    }
  }

  public HostBench(Settings settings) {
    this.settings = settings;
  }

  /**
   * Measures.
   *
   * @return names and values of a JSON object, as those of {@code bench} without the job
   * @throws IllegalArgumentException in one line, for settings that cannot be measured
   */
  public Map<String, Object> run() {
    Workload workload =
        Workload.named(settings.workload()).with(settings.count(), settings.variants());
    List<Question> questions = questions(workload);
    List<String> overlays = new ArrayList<>();
    overlays.add("model={path: '%s'}".formatted(settings.model().toString().replace("'", "''")));
    overlays.addAll(workload.overlays());
    overlays.addAll(settings.overlays());
    RunSettings run = JobFile.parse(JOB, overlays);
    Map<String, Object> values = new LinkedHashMap<>();
    values.put("workload", settings.workload());
    values.put("variants", workload.variants());
    try (EngineBench engine = EngineBench.load(run.annotator())) {
      values.putAll(engine.loaded());
      // A GPU loads kernels and takes memory when it first meets a size.
      EngineBench.Measured measured = engine.measureTwice(questions);
      values.putAll(measured.rates());
      values.put("failed", failures(measured.annotations()));
      values.put("first_answer", firstAnswer(measured.annotations()));
      values.put("attention", measured.attention());
      values.put("seconds_by_phase", measured.secondsByPhase());
    }
    values.put("memory", Memory.peak());
    values.put("machine", EngineBench.machine());
    return values;
  }

  private List<Question> questions(Workload workload) {
    if (workload.questions() == null || workload.images() == null) {
      throw new IllegalArgumentException(
          "Cannot run workload %s without Spark: it asks about the bundled dataset"
              .formatted(settings.workload()));
    }
    List<Path> files = files();
    if (files.size() < workload.images()) {
      throw new IllegalArgumentException(
          "Cannot find %d images in %s: there are %d"
              .formatted(workload.images(), settings.images(), files.size()));
    }
    List<Question> questions = new ArrayList<>();
    for (Path file : files.subList(0, workload.images())) {
      ImageSource image = new ImageSource.Bytes(read(file));
      for (int q = 0; q < workload.questions().size(); q++) {
        questions.add(
            new Question(
                file.getFileName() + "-" + q,
                String.valueOf(file.getFileName()),
                image,
                workload.questions().get(q),
                List.of(),
                null,
                false));
      }
    }
    return questions;
  }

  private List<Path> files() {
    try (Stream<Path> files = Files.list(settings.images())) {
      return files.filter(Files::isRegularFile).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read folder " + settings.images(), e);
    }
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  /** What failed, by its message. */
  private static Map<String, Integer> failures(List<Annotation> annotations) {
    Map<String, Integer> failures = new LinkedHashMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.outcome() instanceof Outcome.Failed failed) {
        failures.merge(failed.failure().message(), 1, Integer::sum);
      }
    }
    return failures;
  }

  /** By variant, the tokens of the first answer. */
  private static Map<String, List<Integer>> firstAnswer(List<Annotation> annotations) {
    Map<String, List<Integer>> tokens = new LinkedHashMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.outcome() instanceof Outcome.Answered answered) {
        tokens.putIfAbsent(annotation.variant(), answered.answer().tokenIds());
      }
    }
    return tokens;
  }
}
