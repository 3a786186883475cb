package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a Qwen2-VL or Qwen2.5-VL checkpoint may say, and what is refused with a reason. */
class QwenCheckpointTest {
  private static final String NESTED = "qwen2-vl-tied";
  private static final String WINDOWS = "qwen2.5-vl";

  @TempDir Path folder;

  /** A checkpoint, a change of its {@code config.json} and the refusal it must bring. */
  static Stream<Arguments> refusals() {
    return Stream.of(
        refusal(
            NESTED,
            config -> text(config).put("use_sliding_window", true),
            "config.json: text_config.use_sliding_window must be false, not true"),
        refusal(
            WINDOWS,
            config -> config.put("use_sliding_window", true),
            "config.json: use_sliding_window must be false, not true"),
        refusal(
            NESTED,
            config -> text(config).putArray("layer_types").add("sliding_attention"),
            "layer_types must all be full_attention, not sliding_attention"),
        refusal(
            NESTED,
            config -> config.put("tie_word_embeddings", false),
            "config.json: tie_word_embeddings must be true, not false"),
        refusal(
            NESTED,
            config -> text(config).put("model_type", "qwen2"),
            "config.json: text_config.model_type must be qwen2_vl_text, not \"qwen2\""),
        refusal(
            WINDOWS,
            config -> config.remove("rope_scaling"),
            "rope_scaling.mrope_section must not be missing"),
        refusal(
            WINDOWS,
            config -> config.putObject("rope_scaling").put("type", "yarn"),
            "config.json: rope_scaling.type must be one of default, mrope, not \"yarn\""),
        refusal(
            WINDOWS,
            config ->
                config
                    .putObject("rope_scaling")
                    .put("type", "mrope")
                    .putArray("mrope_section")
                    .add(2)
                    .add(2)
                    .add(2),
            "mrope_section [2, 2, 2] must add up to half the head_dim 16"),
        refusal(
            WINDOWS,
            config -> config.put("image_token_id", 400),
            "image_token_id must be from 0 to vocab_size 400 minus 1, not 400"),
        refusal(
            NESTED,
            config -> vision(config).put("hidden_size", 32),
            "vision_config.hidden_size must be the decoder's hidden_size 64, not 32"),
        refusal(
            WINDOWS,
            config -> vision(config).put("out_hidden_size", 32),
            "vision_config.out_hidden_size must be the decoder's hidden_size 64, not 32"),
        refusal(
            NESTED,
            config -> vision(config).put("in_channels", 4),
            "config.json: vision_config.in_channels must be 3, not 4"),
        refusal(
            WINDOWS,
            config -> vision(config).put("spatial_patch_size", 16),
            "config.json: vision_config.spatial_patch_size must be 14, not 16"),
        refusal(
            NESTED,
            config -> vision(config).put("num_heads", 3),
            "Cannot split embed_dim 32 evenly over num_heads 3"),
        refusal(
            NESTED,
            config -> vision(config).put("num_heads", 16),
            "Cannot turn heads of size 2 by row and column: embed_dim over num_heads must be a"
                + " multiple of 4"),
        refusal(
            NESTED,
            config -> vision(config).put("mlp_ratio", 0),
            "mlp_ratio must be above 0, not 0.0"),
        refusal(
            WINDOWS,
            config -> vision(config).put("num_heads", 16),
            "Cannot turn heads of size 2 by row and column: hidden_size over num_heads must be a"
                + " multiple of 4"),
        refusal(
            WINDOWS,
            config -> vision(config).put("window_size", 100),
            "window_size must be a multiple of patch_size times spatial_merge_size, 28, not 100"),
        refusal(
            WINDOWS,
            config -> vision(config).putArray("fullatt_block_indexes").add(4),
            "fullatt_block_indexes must be from 0 to depth 4 minus 1, not 4"),
        refusal(
            WINDOWS,
            config -> vision(config).put("model_type", "qwen2_vl"),
            "config.json: vision_config.model_type must be qwen2_5_vl, not \"qwen2_vl\""),
        refusal(
            WINDOWS,
            config -> vision(config).put("spatial_merge_size", 4),
            "Cannot use image processor setting patch_size = 14: supported is with merge_size 2,"
                + " what makes the 56 pixels of an image token in config.json"));
  }

  @ParameterizedTest
  @MethodSource("refusals")
  void refusesAConfigItWouldNotCompute(
      String checkpoint, Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, checkpoint).config(change);
    assertThatThrownBy(this::read).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
  }

  @Test
  void takesTheRootsWordOnTiedEmbeddingsWhereTheDecoderSaysNothing() {
    TinyCheckpoint copy =
        TinyCheckpoint.copyTo(folder, NESTED)
            .config(
                config -> {
                  text(config).remove("tie_word_embeddings");
                  config.put("tie_word_embeddings", true);
                });
    assertThat(read().decoder().tieWordEmbeddings()).isTrue();

    copy.config(config -> config.remove("tie_word_embeddings"));
    assertThat(read().decoder().tieWordEmbeddings()).isFalse();
  }

  @Test
  void leavesTheHeadAloneWhereEmbeddingsAreTied() {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, NESTED).with("lm_head.weight", 1L, 1L);
    TinyCheckpoint.load(copy.path()).close();

    copy.config(config -> text(config).put("tie_word_embeddings", false));
    assertThatThrownBy(() -> TinyCheckpoint.load(copy.path()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("lm_head.weight")
        .hasMessageContaining("[1, 1]");
  }

  @Test
  void refusesATensorThatHasNoPlace() {
    TinyCheckpoint.copyTo(folder, WINDOWS).with("visual.blocks.0.norm1.bias", 32L);
    assertThatThrownBy(() -> TinyCheckpoint.load(folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1 of its tensors have no place in the model")
        .hasMessageContaining("visual.blocks.0.norm1.bias");
  }

  @Test
  void readsStopTokensFromConfigWhereGenerationConfigIsMissing() throws IOException {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, WINDOWS);
    assertThat(read().stopTokens()).containsExactlyInAnyOrder(370, 372);
    Files.delete(folder.resolve("generation_config.json"));
    assertThat(read().stopTokens()).containsExactly(372);
    copy.config(config -> config.remove("eos_token_id"));
    assertThat(read().stopTokens()).containsExactlyInAnyOrder(151643, 151645);
  }

  /** Against {@code get_rope_index}, for images of one row, one column and more. */
  @ParameterizedTest
  @ValueSource(strings = {"qwen2-vl", "qwen2-vl-tied", "qwen2.5-vl"})
  void placesTokensAsTransformersDoes(String checkpoint) throws IOException {
    Path file = TinyCheckpoint.golden(checkpoint).resolve("positions.json");
    int compared = 0;
    try (VisionLanguageModel model = TinyCheckpoint.load(checkpoint)) {
      for (JsonNode golden : new ObjectMapper().readTree(file.toFile()).get("positions")) {
        int rows = golden.get("image_rows").asInt();
        int columns = golden.get("image_columns").asInt();
        Shape pixels = new Shape(1, 3, rows * 28L, columns * 28L);
        RotaryPositions positions =
            model.positions(15, rows * columns, new ImageInput(new float[0], pixels, null));
        int[][] expected = {
          ints(golden.get("time")), ints(golden.get("height")), ints(golden.get("width"))
        };
        for (int axis = 0; axis < 3; axis++) {
          for (int token = 0; token < expected[axis].length; token++) {
            long actual =
                token < positions.tokens()
                    ? positions.at(axis, token)
                    : positions.next() + token - positions.tokens();
            assertThat(actual).isEqualTo(expected[axis][token]);
          }
        }
        assertThat(positions.next() - positions.tokens()).isEqualTo(golden.get("delta").asInt());
        compared++;
      }
    }
    assertThat(compared).isEqualTo(6);
  }

  /** Sizes that leave windows of every shape: whole, cut at the right, below, and at both. */
  @ParameterizedTest
  @ValueSource(strings = {"qwen2-vl", "qwen2.5-vl"})
  void encodesImagesInBfloat16NearlyAsInFloat32(String checkpoint) {
    for (int[] size : new int[][] {{1, 1}, {4, 4}, {4, 8}, {5, 7}, {9, 3}}) {
      Shape shape = new Shape(1, 3, size[0] * 28L, size[1] * 28L);
      float[] exact = encode(checkpoint, Dtype.FLOAT32, shape);
      float[] rounded = encode(checkpoint, Dtype.BFLOAT16, shape);
      assertThat(exact).hasSize(size[0] * size[1] * 64);
      assertThat(cosine(exact, rounded)).isCloseTo(1, within(1e-3));
    }
  }

  private static float[] encode(String checkpoint, Dtype dtype, Shape shape) {
    Random random = new Random(5);
    float[] pixels = new float[Math.toIntExact(shape.size())];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (float) random.nextGaussian();
    }
    Operators operators = Operators.load(TestDevice.get());
    operators.enterThread();
    CheckpointFolder opened = CheckpointFolder.open(TinyCheckpoint.golden(checkpoint));
    try (VisionLanguageModel model = Families.read(opened).load(operators, dtype);
        NDManager manager = operators.manager().newSubManager()) {
      NDArray tokens =
          model.encodeImage(manager, new ImageInput(pixels, shape, null), AttentionHook.NONE);
      return operators.to(tokens, Dtype.FLOAT32).toFloatArray();
    }
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

  private Blueprint read() {
    return Families.read(CheckpointFolder.open(folder));
  }

  private static ObjectNode text(ObjectNode config) {
    return (ObjectNode) config.get("text_config");
  }

  private static ObjectNode vision(ObjectNode config) {
    return (ObjectNode) config.get("vision_config");
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }

  private static Arguments refusal(String checkpoint, Consumer<ObjectNode> change, String message) {
    return Arguments.of(checkpoint, change, message);
  }
}
