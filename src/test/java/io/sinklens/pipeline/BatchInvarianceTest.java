package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * In float32 every family gives the golden token ids, with VAR and without, whatever runs beside a
 * row: for budgets of one row, a few rows and all rows, in any order, read by one task or many.
 */
class BatchInvarianceTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final int MAX_NEW_TOKENS = 12;
  private static final String VAR = "paper-0.6";

  static List<String> checkpoints() throws IOException {
    try (Stream<Path> folders = Files.list(GOLDEN)) {
      return folders
          .filter(folder -> Files.exists(folder.resolve("var.json")))
          .map(folder -> String.valueOf(folder.getFileName()))
          .filter(name -> json(name, "cases.json").get("dtype").asText().equals("float32"))
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("checkpoints")
  void answersTheSameUnderEveryBudgetOrderAndPartitioning(String checkpoint)
      throws InterruptedException, ExecutionException {
    Cases cases = new Cases(checkpoint);
    assertThat(cases.questions).hasSizeGreaterThan(6);
    List<Question> shuffled = new ArrayList<>(cases.questions);
    Collections.shuffle(shuffled, new Random(checkpoint.hashCode()));

    try (ModelAnnotator annotator = cases.load(1)) {
      cases.compare(inTasks(annotator, cases.questions, 1));
    }
    try (ModelAnnotator annotator = cases.load(4 * (cases.longestPrompt + MAX_NEW_TOKENS))) {
      cases.compare(inTasks(annotator, cases.questions, 3));
    }
    try (ModelAnnotator annotator = cases.load(Integer.MAX_VALUE)) {
      cases.compare(inTasks(annotator, cases.questions, 1));
      cases.compare(inTasks(annotator, shuffled, 8));
    }
  }

  /** As that many tasks of an executor annotate, each its part of the questions. */
  private static List<Annotation> inTasks(
      ModelAnnotator annotator, List<Question> questions, int tasks)
      throws InterruptedException, ExecutionException {
    ExecutorService threads = Executors.newFixedThreadPool(tasks);
    try {
      List<Future<List<Annotation>>> parts = new ArrayList<>();
      for (int t = 0; t < tasks; t++) {
        List<Question> part = new ArrayList<>();
        for (int i = t; i < questions.size(); i += tasks) {
          part.add(questions.get(i));
        }
        parts.add(
            threads.submit(
                () -> {
                  List<Annotation> annotations = new ArrayList<>();
                  annotator.annotate(part.iterator()).forEachRemaining(annotations::add);
                  return annotations;
                }));
      }
      List<Annotation> all = new ArrayList<>();
      for (Future<List<Annotation>> part : parts) {
        all.addAll(part.get());
      }
      return all;
    } finally {
      threads.shutdown();
    }
  }

  /** The golden cases of the template and image rule that most have. */
  private static final class Cases {
    private final String checkpoint;
    private final String template;
    private final String rule;
    private final Variant var;
    private final Map<String, List<Integer>> expected = new HashMap<>(); // By sample and variant.
    private final List<Question> questions = new ArrayList<>();
    private int longestPrompt;

    Cases(String checkpoint) {
      this.checkpoint = checkpoint;
      Map<List<String>, List<JsonNode>> byUse = new LinkedHashMap<>();
      for (JsonNode golden : json(checkpoint, "cases.json").get("cases")) {
        List<String> use =
            List.of(golden.get("template").asText(), golden.get("image_rule").asText());
        byUse.computeIfAbsent(use, key -> new ArrayList<>()).add(golden);
      }
      List<String> use =
          Collections.max(
                  byUse.entrySet(), Comparator.comparingInt(entry -> entry.getValue().size()))
              .getKey();
      template = use.get(0);
      rule = use.get(1);
      for (JsonNode golden : byUse.getOrDefault(use, List.of())) {
        String id = id(golden);
        if (expected.put(id + " none", integers(golden.get("answer_token_ids"))) == null) {
          questions.add(question(id, golden));
        }
        longestPrompt = Math.max(longestPrompt, golden.get("prompt_token_ids").size());
      }
      JsonNode run = run(checkpoint);
      var = variant(run.get("settings"));
      for (JsonNode golden : run.get("cases")) {
        if (fits(json(checkpoint, "cases.json").get("cases").get(golden.get("case").asInt()))) {
          expected.put(id(golden) + " var", integers(golden.get("answer_token_ids")));
        }
      }
    }

    private boolean fits(JsonNode golden) {
      return golden.get("template").asText().equals(template)
          && golden.get("image_rule").asText().equals(rule);
    }

    ModelAnnotator load(int batchTokens) {
      JsonNode vision = json(checkpoint, "cases.json").path("vision_path");
      return ModelAnnotator.load(
          new AnnotatorSettings(
              new RunSettings.Model(
                  GOLDEN.resolve(checkpoint).toString(),
                  "auto",
                  template,
                  rule,
                  "auto",
                  vision.isTextual() ? GOLDEN.resolve(vision.asText()).toString() : null,
                  TestDevice.setting(),
                  "float32",
                  ""),
              new RunSettings.Generation(MAX_NEW_TOKENS, 0, batchTokens, List.of(), 0),
              List.of(none(), var),
              RunSettings.Statistics.SUMMARY,
              1_000_000));
    }

    void compare(List<Annotation> annotations) {
      assertThat(annotations).hasSize(2 * questions.size());
      int compared = 0;
      for (Annotation annotation : annotations) {
        String name = annotation.sampleId() + " " + annotation.variant();
        assertThat(annotation.outcome()).as(name).isInstanceOf(Outcome.Answered.class);
        List<Integer> ids = ((Outcome.Answered) annotation.outcome()).answer().tokenIds();
        if (expected.containsKey(name)) {
          assertThat(ids).as(name).isEqualTo(expected.get(name));
          compared++;
        }
      }
      assertThat(compared).isEqualTo(expected.size());
    }

    private static String id(JsonNode golden) {
      return golden.get("image").asText() + ": " + golden.get("question").asText();
    }

    private static Question question(String id, JsonNode golden) {
      try {
        byte[] image =
            Files.readAllBytes(GOLDEN.resolve("images").resolve(golden.get("image").asText()));
        return new Question(
            id,
            null,
            new ImageSource.Bytes(image),
            golden.get("question").asText(),
            List.of(),
            null,
            false);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static Variant none() {
    return new Variant(
        "none", Hook.NONE, "paper", List.of(), null, "prompt", 0.5, 0.2, 0.6, true, Knockout.SINKS);
  }

  private static Variant variant(JsonNode settings) {
    return new Variant(
        "var",
        Hook.VAR,
        settings.get("mode").asText(),
        integers(settings.get("sink-dimensions")),
        settings.get("sink-threshold").asDouble(),
        "prompt",
        settings.get("min-nonsink-ratio").asDouble(),
        settings.get("min-image-attention").asDouble(),
        settings.get("moved-share").asDouble(),
        true,
        Knockout.SINKS);
  }

  private static JsonNode run(String checkpoint) {
    for (JsonNode run : json(checkpoint, "var.json").get("runs")) {
      if (run.get("name").asText().equals(VAR)) {
        return run;
      }
    }
    throw new IllegalArgumentException("No run " + VAR + " in " + checkpoint);
  }

  private static JsonNode json(String checkpoint, String file) {
    try {
      return new ObjectMapper().readTree(GOLDEN.resolve(checkpoint).resolve(file).toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<Integer> integers(JsonNode array) {
    List<Integer> integers = new ArrayList<>();
    array.forEach(element -> integers.add(element.asInt()));
    return integers;
  }
}
