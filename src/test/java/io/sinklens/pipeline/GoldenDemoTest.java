package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Holds the bundled checkpoint against transformers on 200 questions: with the image processor,
 * template, preset and variants that a job file gets when it says nothing of them.
 */
class GoldenDemoTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden/demo");
  private static final Path CHECKPOINT =
      Path.of("src/main/resources/io/sinklens/demo/checkpoint").toAbsolutePath();

  /** Where {@code planting.py} taught the model to have sinks, if no object is there. */
  private static final List<Integer> PLANTED = List.of(3, 14, 24, 39, 42, 57);

  private static JsonNode golden;

  @BeforeAll
  static void readGolden() throws IOException {
    golden = new ObjectMapper().readTree(GOLDEN.resolve("questions.json").toFile());
  }

  @Test
  void isOfTheBundledCheckpoint() throws IOException, NoSuchAlgorithmException {
    byte[] weights = Files.readAllBytes(CHECKPOINT.resolve("model.safetensors"));
    assertThat(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(weights)))
        .as("weights; if they changed on purpose, run src/test/python/demo_golden.py")
        .isEqualTo(golden.get("checkpoint_sha256").asText());
  }

  @Test
  void answersAndRedistributesAsTransformersDoes() throws IOException {
    List<Question> questions = questions();
    assertThat(questions).hasSize(200);
    List<Annotation> annotations = new ArrayList<>();
    try (ModelAnnotator annotator = ModelAnnotator.load(settings())) {
      annotator.annotate(questions.iterator()).forEachRemaining(annotations::add);
    }
    assertThat(annotations).hasSize(2 * questions.size());
    boolean anySink = false;
    boolean anyHead = false;
    for (int i = 0; i < questions.size(); i++) {
      JsonNode expected = golden.get("questions").get(i);
      compare(annotations.get(2 * i), "baseline", expected);
      compare(annotations.get(2 * i + 1), "var", expected);
      for (JsonNode layer : expected.get("var").get("sinks")) {
        anySink |= !layer.get("image_positions").isEmpty();
      }
      anyHead |= expected.get("var").get("head_selection").toString().contains("1");
    }
    assertThat(anySink).as("a sink in an image").isTrue();
    assertThat(anyHead).as("a corrected head").isTrue();
  }

  private static void compare(Annotation annotation, String variant, JsonNode expected) {
    String name = annotation.sampleId() + " " + annotation.question() + " " + variant;
    assertThat(annotation.variant()).isEqualTo(variant);
    assertThat(annotation.outcome()).as(name).isInstanceOf(Outcome.Answered.class);
    Outcome.Answered answered = (Outcome.Answered) annotation.outcome();
    assertThat(answered.answer().tokenIds()).as(name).isEqualTo(tokenIds(expected, variant));
    assertThat(answered.answer().text())
        .as(name)
        .isEqualTo(expected.get(variant).get("answer").asText());
    AttentionRecord attention = Objects.requireNonNull(answered.attention());
    compareSinks(name, attention.sinks(), expected.get(variant).get("sinks"));
    if (variant.equals("var")) {
      List<String> selection = new ArrayList<>();
      expected.get("var").get("head_selection").forEach(bits -> selection.add(bits.asText()));
      assertThat(bits(attention.headSelection())).as(name).isEqualTo(selection);
    }
  }

  private static void compareSinks(
      String name, List<AttentionRecord.LayerSinks> sinks, JsonNode expected) {
    assertThat(sinks).as(name).hasSize(expected.size());
    for (int i = 0; i < sinks.size(); i++) {
      JsonNode layer = expected.get(i);
      assertThat(sinks.get(i).layer()).as(name).isEqualTo(layer.get("layer").asInt());
      assertThat(sinks.get(i).imagePositions())
          .as("%s, layer %s", name, layer.get("layer"))
          .isEqualTo(integers(layer.get("image_positions")));
      assertThat(sinks.get(i).textPositions())
          .as("%s, layer %s", name, layer.get("layer"))
          .isEqualTo(integers(layer.get("text_positions")));
      assertThat(PLANTED).as(name).containsAll(sinks.get(i).imagePositions());
      assertThat(sinks.get(i).textPositions()).as(name).containsExactly(0);
    }
  }

  /** For every answer token its bits in the order of layers and heads. */
  private static List<String> bits(HeadSelection selection) {
    List<String> tokens = new ArrayList<>();
    for (int t = 0; t < selection.answerTokens(); t++) {
      StringBuilder bits = new StringBuilder();
      for (int l = 0; l < selection.layers(); l++) {
        for (int h = 0; h < selection.heads(); h++) {
          bits.append(selection.selected(t, l, h) ? '1' : '0');
        }
      }
      tokens.add(bits.toString());
    }
    return tokens;
  }

  private static AnnotatorSettings settings() {
    List<String> overlays =
        List.of(
            "model.path=" + CHECKPOINT,
            "model.dtype=float32",
            "generation.max-new-tokens=" + golden.get("max_new_tokens").asInt());
    return JobFile.parse("{input: {path: none}, output: {path: none}}", overlays).annotator();
  }

  private static List<Question> questions() throws IOException {
    Map<String, ImageSource> images = new LinkedHashMap<>();
    List<Question> questions = new ArrayList<>();
    for (JsonNode each : golden.get("questions")) {
      String image = each.get("image").asText();
      if (!images.containsKey(image)) {
        Path file = GOLDEN.resolve("images").resolve(image);
        images.put(image, new ImageSource.Bytes(Files.readAllBytes(file)));
      }
      questions.add(
          new Question(
              image,
              image,
              Objects.requireNonNull(images.get(image)),
              each.get("question").asText(),
              List.of(),
              null,
              false));
    }
    return questions;
  }

  private static List<Integer> tokenIds(JsonNode expected, String variant) {
    return integers(expected.get(variant).get("answer_token_ids"));
  }

  private static List<Integer> integers(JsonNode array) {
    List<Integer> integers = new ArrayList<>();
    array.forEach(element -> integers.add(element.asInt()));
    return integers;
  }
}
