package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.result.Answer;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.HeadSelection;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Holds everything from image file to answer against transformers and the released VAR code.
 *
 * <p>The golden folder's README says how its files were made and what they hold.
 */
class GoldenTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final int MAX_NEW_TOKENS = 12;

  /** Every folder with cases computed in float32. */
  static List<String> float32Checkpoints() throws IOException {
    try (Stream<Path> folders = Files.list(GOLDEN)) {
      List<String> names =
          folders
              .filter(folder -> Files.exists(folder.resolve("cases.json")))
              .map(folder -> String.valueOf(folder.getFileName()))
              .filter(name -> json(name, "cases.json").get("dtype").asText().equals("float32"))
              .sorted()
              .toList();
      assertThat(names).contains("llava-gqa", "llava-mha");
      return names;
    }
  }

  /** Every run of the method there is: the checkpoint, and the run's name. */
  static List<Arguments> runs() throws IOException {
    List<Arguments> runs = new ArrayList<>();
    try (Stream<Path> folders = Files.list(GOLDEN)) {
      for (Path folder : folders.sorted().toList()) {
        if (Files.exists(folder.resolve("var.json"))) {
          String name = String.valueOf(folder.getFileName());
          json(name, "var.json")
              .get("runs")
              .forEach(run -> runs.add(Arguments.of(name, run.get("name").asText())));
        }
      }
    }
    assertThat(runs).hasSizeGreaterThanOrEqualTo(15);
    return runs;
  }

  @ParameterizedTest
  @MethodSource("float32Checkpoints")
  void answersAsTransformersDoesInFloat32(String checkpoint) throws RowFailedException {
    int compared = 0;
    try (Models models = new Models(checkpoint, "float32", Variants.NONE)) {
      for (JsonNode golden : json(checkpoint, "cases.json").get("cases")) {
        Asked asked = models.ask(golden, null);
        String name = golden.get("question").asText();
        assertThat(asked.promptTokenIds())
            .as(name)
            .isEqualTo(integers(golden.get("prompt_token_ids")));
        assertThat(List.of(asked.imageStart(), asked.imageEnd()))
            .as(name)
            .isEqualTo(integers(golden.get("image_span")));
        Answer answer = asked.outcome().answer();
        assertThat(answer.tokenIds()).as(name).isEqualTo(integers(golden.get("answer_token_ids")));
        assertThat(answer.text()).as(name).isEqualTo(golden.get("answer").asText());
        assertThat(answer.finishReason().name().toLowerCase(Locale.ROOT))
            .isEqualTo(golden.get("finish_reason").asText());
        assertThat(answer.logprob())
            .as(name)
            .isCloseTo(golden.get("answer_logprob").asDouble(), within(1e-3));
        compared++;
      }
    }
    assertThat(compared).isGreaterThanOrEqualTo(20);
  }

  /** Until the first step whose best two logits lie close, after which both may go their ways. */
  @Test
  void answersAsTransformersDoesInBfloat16() throws RowFailedException {
    int steps = 0;
    try (Models models = new Models("llava-bf16", "bfloat16", Variants.NONE)) {
      for (JsonNode golden : json("llava-bf16", "cases.json").get("cases")) {
        List<Integer> ids = models.ask(golden, null).outcome().answer().tokenIds();
        List<Integer> expected = integers(golden.get("answer_token_ids"));
        JsonNode gaps = golden.get("top_two_gaps");
        for (int step = 0; step < expected.size() && gaps.get(step).asDouble() > 0.1; step++) {
          assertThat(ids.get(step))
              .as("%s, step %d", golden.get("question").asText(), step)
              .isEqualTo(expected.get(step));
          steps++;
        }
      }
    }
    assertThat(steps).isGreaterThanOrEqualTo(100);
  }

  @Test
  void answersAsTransformersDoesWithBfloat16WeightsInFloat32() throws RowFailedException {
    try (Models models = new Models("llava-bf16", "float32", Variants.NONE)) {
      for (JsonNode golden : json("llava-bf16", "cases.json").get("cases")) {
        assertThat(models.ask(golden, null).outcome().answer().tokenIds())
            .isEqualTo(integers(golden.get("float32").get("answer_token_ids")));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("float32Checkpoints")
  void agreesWithTransformersInsideInFloat32(String checkpoint, @TempDir Path folder)
      throws RowFailedException {
    TensorFile golden = TensorFile.read(GOLDEN.resolve(checkpoint).resolve("trace.safetensors"));
    try (Models models = new Models(checkpoint, "float32", Variants.NONE)) {
      for (JsonNode goldenCase : traced(checkpoint)) {
        TensorFile trace = models.trace(goldenCase, folder);
        for (String tensor : namesOf(golden, goldenCase)) {
          float[] expected = golden.values(goldenCase.get("trace").asText() + "." + tensor);
          assertThat(lastRows(trace.values(tensor), expected.length))
              .as(tensor)
              .containsExactly(expected, within(1e-4f));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llava-original", "vila", "vila1.5"})
  void makesThePixelValuesOfTheOriginalCode(String checkpoint)
      throws IOException, RowFailedException {
    TensorFile golden = TensorFile.read(GOLDEN.resolve(checkpoint).resolve("trace.safetensors"));
    Blueprint blueprint =
        Families.read(Families.open(GOLDEN.resolve(checkpoint), visionPath(checkpoint)));
    for (JsonNode goldenCase : traced(checkpoint)) {
      ImageRule rule = blueprint.imageRule(goldenCase.get("image_rule").asText()).orElseThrow();
      Path image = GOLDEN.resolve("images").resolve(goldenCase.get("image").asText());
      RgbImage decoded = new ImageDecoder(rule.exif()).decode(Files.readAllBytes(image));
      assertThat(rule.apply(decoded).data())
          .containsExactly(
              golden.values(goldenCase.get("trace").asText() + ".pixel_values"), within(1e-6f));
    }
  }

  /** The golden numbers of the first are bfloat16 as well, those of the others float32. */
  @ParameterizedTest
  @ValueSource(strings = {"llava-bf16", "vila", "vila1.5"})
  void agreesWithTransformersInsideInBfloat16(String checkpoint, @TempDir Path folder)
      throws RowFailedException {
    TensorFile golden = TensorFile.read(GOLDEN.resolve(checkpoint).resolve("trace.safetensors"));
    try (Models models = new Models(checkpoint, "bfloat16", Variants.NONE)) {
      for (JsonNode goldenCase : traced(checkpoint)) {
        TensorFile trace = models.trace(goldenCase, folder);
        for (String tensor : namesOf(golden, goldenCase)) {
          float[] expected = golden.values(goldenCase.get("trace").asText() + "." + tensor);
          float[] actual = lastRows(trace.values(tensor), expected.length);
          assertThat(cosine(actual, expected)).as(tensor).isGreaterThanOrEqualTo(0.999);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("runs")
  void redistributesAsTheGoldenRun(String checkpoint, String run, @TempDir Path folder)
      throws RowFailedException {
    JsonNode golden = run(checkpoint, run);
    TensorFile tensors = TensorFile.read(GOLDEN.resolve(checkpoint).resolve("var.safetensors"));
    JsonNode cases = json(checkpoint, "cases.json").get("cases");
    int changed = 0;
    try (Models models = new Models(checkpoint, "float32", Variants.of(golden.get("settings")))) {
      for (JsonNode goldenCase : golden.get("cases")) {
        JsonNode plain = cases.get(goldenCase.get("case").asInt());
        String name = plain.get("question").asText();
        Asked asked = models.ask(plain, folder.resolve("trace.safetensors"));
        Answer answer = asked.outcome().answer();
        assertThat(answer.tokenIds())
            .as(name)
            .isEqualTo(integers(goldenCase.get("answer_token_ids")));
        assertThat(answer.logprob())
            .as(name)
            .isCloseTo(goldenCase.get("answer_logprob").asDouble(), within(1e-3));
        AttentionRecord attention = Objects.requireNonNull(asked.outcome().attention());
        compareSinks(attention, goldenCase.get("sinks"));
        if (!goldenCase.get("head_selection").isNull()) {
          compareHeads(attention.headSelection(), goldenCase.get("head_selection"));
        }
        if (goldenCase.has("head_statistics") && !goldenCase.get("head_statistics").isNull()) {
          compareStatistics(attention, goldenCase.get("head_statistics"));
        }
        if (!goldenCase.get("tensors").isNull()) {
          compareTensors(
              TensorFile.read(folder.resolve("trace.safetensors")),
              tensors,
              goldenCase.get("tensors").asText());
        }
        changed += goldenCase.get("changed").asBoolean() ? 1 : 0;
      }
    }
    assertThat(changed > 0).as("a case whose answer VAR changes").isEqualTo(!run.equals("observe"));
  }

  private static void compareSinks(AttentionRecord attention, JsonNode golden) {
    assertThat(attention.sinks()).hasSize(golden.size());
    for (int i = 0; i < golden.size(); i++) {
      AttentionRecord.LayerSinks sinks = attention.sinks().get(i);
      assertThat(sinks.layer()).isEqualTo(golden.get(i).get("layer").asInt());
      assertThat(sinks.imagePositions()).isEqualTo(integers(golden.get(i).get("image_positions")));
      assertThat(sinks.textPositions()).isEqualTo(integers(golden.get(i).get("text_positions")));
      assertThat((double) sinks.maxValue())
          .isCloseTo(golden.get(i).get("max_value").asDouble(), within(1e-4));
    }
  }

  private static void compareHeads(HeadSelection selection, JsonNode golden) {
    List<List<List<Integer>>> actual = new ArrayList<>();
    List<List<List<Integer>>> expected = new ArrayList<>();
    for (int t = 0; t < golden.size(); t++) {
      List<List<Integer>> actualLayers = new ArrayList<>();
      List<List<Integer>> expectedLayers = new ArrayList<>();
      for (int l = 0; l < golden.get(t).size(); l++) {
        expectedLayers.add(integers(golden.get(t).get(l)));
        List<Integer> heads = new ArrayList<>();
        for (int h = 0; h < selection.heads(); h++) {
          heads.add(selection.selected(t, l, h) ? 1 : 0);
        }
        actualLayers.add(heads);
      }
      actual.add(actualLayers);
      expected.add(expectedLayers);
    }
    assertThat(selection.answerTokens()).isEqualTo(golden.size());
    assertThat(actual).isEqualTo(expected);
  }

  private static void compareStatistics(AttentionRecord attention, JsonNode golden) {
    assertThat(attention.headStatistics()).hasSize(golden.size());
    for (int i = 0; i < golden.size(); i++) {
      AttentionRecord.HeadStatistics statistics = attention.headStatistics().get(i);
      assertThat(statistics.layer()).isEqualTo(golden.get(i).get("layer").asInt());
      close(statistics.imageAttention(), golden.get(i).get("image_attention"));
      close(statistics.nonsinkRatio(), golden.get(i).get("nonsink_ratio"));
      close(statistics.sinkAttention(), golden.get(i).get("sink_attention"));
    }
  }

  private static void compareTensors(TensorFile trace, TensorFile golden, String prefix) {
    int compared = 0;
    for (String name : golden.names()) {
      if (!name.startsWith(prefix + ".")) {
        continue;
      }
      String tensor = name.substring(prefix.length() + 1);
      float tolerance = tensor.equals("logits") ? 1e-4f : 1e-5f;
      float[] expected = golden.values(name);
      assertThat(lastRows(trace.values(tensor), expected.length))
          .as(name)
          .containsExactly(expected, within(tolerance));
      compared++;
    }
    assertThat(compared).as("tensors of " + prefix).isGreaterThan(0);
  }

  private static void close(List<Float> actual, JsonNode golden) {
    assertThat(actual).hasSize(golden.size());
    for (int i = 0; i < golden.size(); i++) {
      assertThat((double) actual.get(i)).isCloseTo(golden.get(i).asDouble(), within(1e-5));
    }
  }

  /** Some golden tensors hold the last token only. */
  private static float[] lastRows(float[] values, int count) {
    float[] last = new float[count];
    System.arraycopy(values, values.length - count, last, 0, count);
    return last;
  }

  private static double cosine(float[] a, float[] b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      dot += (double) a[i] * b[i];
      aa += (double) a[i] * a[i];
      bb += (double) b[i] * b[i];
    }
    return dot / Math.sqrt(aa * bb);
  }

  private static List<JsonNode> traced(String checkpoint) {
    List<JsonNode> traced =
        StreamSupport.stream(json(checkpoint, "cases.json").get("cases").spliterator(), false)
            .filter(golden -> !golden.get("trace").isNull())
            .toList();
    assertThat(traced).hasSizeGreaterThanOrEqualTo(2);
    return traced;
  }

  private static List<String> namesOf(TensorFile golden, JsonNode goldenCase) {
    String prefix = goldenCase.get("trace").asText() + ".";
    List<String> names =
        golden.names().stream()
            .filter(name -> name.startsWith(prefix) && !name.endsWith(".pixel_values"))
            .map(name -> name.substring(prefix.length()))
            .toList();
    assertThat(names)
        .contains("vision.output", "projector.output", "decoder.4.attention", "logits");
    return names;
  }

  private static JsonNode run(String checkpoint, String name) {
    for (JsonNode run : json(checkpoint, "var.json").get("runs")) {
      if (run.get("name").asText().equals(name)) {
        return run;
      }
    }
    throw new IllegalArgumentException("No run " + name + " in " + checkpoint);
  }

  private static @Nullable Path visionPath(String checkpoint) {
    JsonNode name = json(checkpoint, "cases.json").path("vision_path");
    return name.isTextual() ? GOLDEN.resolve(name.asText()) : null;
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

  private static final class Variants {
    static final Variant NONE =
        new Variant(
            "none",
            Hook.NONE,
            "paper",
            List.of(),
            null,
            "prompt",
            0.5,
            0.2,
            0.6,
            true,
            Knockout.SINKS);

    static Variant of(JsonNode settings) {
      String mode = settings.get("mode").asText();
      return new Variant(
          "golden",
          mode.equals("observe") ? Hook.OBSERVE : Hook.VAR,
          mode.equals("observe") ? "paper" : mode,
          integers(settings.get("sink-dimensions")),
          settings.get("sink-threshold").asDouble(),
          "prompt",
          settings.get("min-nonsink-ratio").asDouble(),
          settings.get("min-image-attention").asDouble(),
          settings.get("moved-share").asDouble(),
          true,
          Knockout.SINKS);
    }
  }

  /** One checkpoint under every template and image rule its cases ask for, loaded when needed. */
  private static final class Models implements AutoCloseable {
    private final String checkpoint;
    private final String dtype;
    private final Variant variant;
    private final Map<String, ModelAnnotator> loaded = new LinkedHashMap<>();

    Models(String checkpoint, String dtype, Variant variant) {
      this.checkpoint = checkpoint;
      this.dtype = dtype;
      this.variant = variant;
    }

    Asked ask(JsonNode golden, @Nullable Path trace) throws RowFailedException {
      String template = golden.get("template").asText();
      String rule = golden.get("image_rule").asText();
      ModelAnnotator annotator =
          loaded.computeIfAbsent(template + rule, key -> load(template, rule));
      return annotator.ask(
          bytes(GOLDEN.resolve("images").resolve(golden.get("image").asText())),
          golden.get("question").asText(),
          trace);
    }

    TensorFile trace(JsonNode golden, Path folder) throws RowFailedException {
      Path file = folder.resolve("trace.safetensors");
      ask(golden, file);
      return TensorFile.read(file);
    }

    private ModelAnnotator load(String template, String rule) {
      Path visionPath = visionPath(checkpoint);
      return ModelAnnotator.load(
          new AnnotatorSettings(
              new RunSettings.Model(
                  GOLDEN.resolve(checkpoint).toString(),
                  "auto",
                  template,
                  rule,
                  "auto",
                  visionPath == null ? null : visionPath.toString(),
                  TestDevice.setting(),
                  dtype,
                  ""),
              new RunSettings.Generation(MAX_NEW_TOKENS, 0, 16384, List.of(), 0),
              List.of(variant),
              RunSettings.Statistics.SUMMARY,
              1_000_000));
    }

    private static byte[] bytes(Path file) {
      try {
        return Files.readAllBytes(file);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      loaded.values().forEach(ModelAnnotator::close);
    }
  }
}
