package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.preprocessing.AnyResolution;
import io.sinklens.preprocessing.AnyResolution.Canvas;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Normalization;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What checkpoints of the families that cut tiles may say, and what is refused with a reason. */
class TilingCheckpointTest {
  private static final String NEXT = "llava-next";
  private static final String MISTRAL = "llava-next-mistral";
  private static final String ORIGINAL = "llava-next-original";
  private static final String ONE_VISION = "llava-onevision";
  private static final String HIGH_DEFINITION = "llava-hd";

  private static final String TOWER = "clip-vit-tiny-patch14-56";

  @TempDir Path folder;

  /** A golden checkpoint, a change of its {@code config.json}, and the refusal it must bring. */
  static Stream<Arguments> configs() {
    return Stream.of(
        refusal(
            NEXT,
            config -> config.put("vision_feature_select_strategy", "full"),
            "config.json: vision_feature_select_strategy must be default, not \"full\""),
        refusal(
            NEXT,
            config -> config.put("use_image_newline_parameter", false),
            "config.json: use_image_newline_parameter must be true, not false"),
        refusal(
            NEXT,
            config -> config.put("image_grid_pinpoints", "[(56, 112)]"),
            "config.json: image_grid_pinpoints must be a list of lists of integers, not"
                + " \"[(56, 112)]\""),
        refusal(
            NEXT,
            config -> config.remove("image_grid_pinpoints"),
            "Cannot use image processor setting image_grid_pinpoints ="
                + " [[56,112],[112,56],[112,112],[168,56],[56,168]]: supported is"
                + " [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]], as in"
                + " config.json"),
        refusal(
            NEXT,
            config -> ((ObjectNode) config.get("vision_config")).put("image_size", 112),
            "Cannot use image processor setting size = {\"shortest_edge\":56}: supported is 112,"
                + " as in config.json"),
        refusal(
            NEXT,
            config -> config.put("image_token_index", -1),
            "image_token_index must not be below 0, not -1"),
        refusal(
            NEXT,
            config -> config.put("vision_feature_layer", -5),
            "vision_feature_layer must be from -4 to 3, not -5"),
        refusal(
            NEXT,
            config -> text(config).put("model_type", "qwen2"),
            "config.json: text_config.model_type must be one of llama, mistral, not \"qwen2\""),
        refusal(
            ORIGINAL,
            config -> config.put("image_aspect_ratio", "anyres_max_9"),
            "config.json: image_aspect_ratio must be anyres, not \"anyres_max_9\""),
        refusal(
            ORIGINAL,
            config -> config.put("mm_patch_merge_type", "spatial"),
            "config.json: mm_patch_merge_type must be spatial_unpad, not \"spatial\""),
        refusal(
            ORIGINAL,
            config -> config.remove("mm_patch_merge_type"),
            "config.json: mm_patch_merge_type must be a string, but is missing"),
        refusal(
            ORIGINAL,
            config -> config.put("mm_projector_type", "linear"),
            "config.json: mm_projector_type must be mlp2x_gelu, not \"linear\""),
        refusal(
            ORIGINAL,
            config -> config.put("mm_hidden_size", 33),
            "config.json: mm_hidden_size must be 64, not 33"),
        refusal(
            ORIGINAL,
            config -> config.put("image_grid_pinpoints", "[(56, 112)]"),
            "config.json: image_grid_pinpoints must be a list of lists of integers, not"
                + " \"[(56, 112)]\""),
        refusal(
            ORIGINAL,
            config -> config.putArray("image_grid_pinpoints").addArray().add(56).add(100),
            "Canvas must be made of whole tiles of 56 pixels, not 56 wide and 100 high"),
        refusal(
            ORIGINAL,
            config -> config.put("mm_use_im_start_end", true),
            "config.json: mm_use_im_start_end must be false, not true"),
        refusal(
            ORIGINAL,
            config -> config.put("mm_vision_select_feature", "cls_patch"),
            "config.json: mm_vision_select_feature must be patch, not \"cls_patch\""),
        refusal(
            ORIGINAL,
            config -> config.put("mm_resampler_type", "perceiver"),
            "config.json: mm_resampler_type must be absent, not \"perceiver\": resamplers are not"
                + " supported"),
        refusal(
            ONE_VISION,
            config -> config.put("vision_feature_select_strategy", "default"),
            "config.json: vision_feature_select_strategy must be full, not \"default\""),
        refusal(
            ONE_VISION,
            config -> config.put("vision_aspect_ratio", "pad"),
            "config.json: vision_aspect_ratio must be anyres_max_ and a number, not \"pad\""),
        refusal(
            ONE_VISION,
            config -> config.put("image_token_index", -1),
            "image_token_index must not be below 0, not -1"),
        refusal(
            ONE_VISION,
            config -> text(config).put("model_type", "llama"),
            "config.json: text_config.model_type must be qwen2, not \"llama\""));
  }

  @ParameterizedTest
  @MethodSource("configs")
  void refusesAConfigItWouldNotCompute(String golden, Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, golden).config(change);
    assertThatThrownBy(() -> read(folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @Test
  void readsLlavaNextOfVicuna() {
    Blueprint blueprint = read(TinyCheckpoint.golden(NEXT));
    assertThat(blueprint.family()).isEqualTo("llava-next");
    assertThat(blueprint.vision())
        .isEqualTo(
            "CLIP, 2 of 3 layers, hidden 32, tiles of 56 px in patches of 14, 16 image tokens a"
                + " tile");
    assertThat(blueprint.template().name()).isEqualTo("vicuna-v1");
    assertThat(blueprint.template("plain")).isPresent();
    assertThat(blueprint.template("qwen-1-5")).isEmpty();
    assertThat(blueprint.stopTokens()).containsExactly(2);
    assertThat(blueprint.prompts().encoding()).isEqualTo(Encoding.WHOLE);
    AnyResolution rule = (AnyResolution) blueprint.imageRule();
    assertThat(rule.packing())
        .isEqualTo(new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, Packing.UNLIMITED));
    assertThat(rule.canvases()).startsWith(new Canvas(112, 56), new Canvas(56, 112));
    assertThat(rule.exif()).isEqualTo(Exif.APPLY);
    assertThat(blueprint.imageRule("anyres")).contains(rule);
    assertThat(blueprint.imageRule("pad")).isEmpty();
  }

  @Test
  void readsLlavaNextOfMistral() {
    Blueprint blueprint = read(TinyCheckpoint.golden(MISTRAL));
    assertThat(blueprint.family()).isEqualTo("llava-next");
    assertThat(blueprint.template().name()).isEqualTo("mistral");
    assertThat(blueprint.template().pieces("What?"))
        .extracting(Object::toString)
        .containsExactly(
            "Text[text=[INST] ]",
            "Special[name=<image>]",
            "Text[text=\n]",
            "Text[text=What?]",
            "Text[text= [/INST]]");
    assertThat(blueprint.decoder().ropeTheta()).isEqualTo(1e6);
  }

  /** The same list of sizes as in the layout of llava-hf, in which it means height and width. */
  @Test
  void readsTheLayoutOfTheAuthors() {
    Blueprint blueprint = read(TinyCheckpoint.golden(ORIGINAL));
    assertThat(blueprint.family()).isEqualTo("llava-next");
    assertThat(blueprint.layout()).isEqualTo("original-with-tower");
    assertThat(blueprint.template().name()).isEqualTo("vicuna-v1");
    assertThat(blueprint.stopTokens()).containsExactly(2);
    assertThat(blueprint.prompts().encoding()).isEqualTo(Encoding.AROUND_IMAGE);
    AnyResolution rule = (AnyResolution) blueprint.imageRule();
    assertThat(rule.packing().convention()).isEqualTo(Convention.ORIGINAL);
    assertThat(rule.canvases()).startsWith(new Canvas(56, 112), new Canvas(112, 56));
    assertThat(rule.normalization()).isEqualTo(Normalization.CLIP);
    assertThat(rule.exif()).isEqualTo(Exif.IGNORE);
  }

  @Test
  void readsTheLayoutOfTheAuthorsOfMistral() {
    TinyCheckpoint.copyTo(folder, ORIGINAL)
        .config(config -> config.put("model_type", "llava_mistral").put("sliding_window", 100));
    Blueprint blueprint = read(folder);
    assertThat(blueprint.template().name()).isEqualTo("mistral");
    assertThat(blueprint.decoder().maxPositionEmbeddings()).isEqualTo(100);
  }

  @Test
  void takesAVisionTowerFromElsewhere() {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, ORIGINAL);
    copy.config(config -> config.put("mm_hidden_size", 32));
    CheckpointFolder.open(folder).tensors().keySet().stream()
        .filter(name -> name.contains("vision_tower"))
        .forEach(copy::without);
    Path tower = TinyCheckpoint.golden(TOWER);

    Blueprint blueprint = Families.read(Families.open(folder, tower));

    assertThat(blueprint.layout()).isEqualTo("original");
    assertThat(blueprint.vision()).endsWith("16 image tokens a tile, from " + tower);
    assertThat(blueprint.parameters()).isPositive();
    assertThatThrownBy(() -> read(folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "its vision tower openai/clip-vit-tiny-patch14-56 is a folder of its own");
  }

  @Test
  void readsOneVision() {
    Blueprint blueprint = read(TinyCheckpoint.golden(ONE_VISION));
    assertThat(blueprint.family()).isEqualTo("llava-onevision");
    assertThat(blueprint.vision())
        .isEqualTo(
            "SigLIP, 2 of 2 layers, hidden 32, tiles of 60 px in patches of 14, 16 image tokens a"
                + " tile");
    assertThat(blueprint.template().name()).isEqualTo("qwen-1-5");
    assertThat(blueprint.template("plain")).isPresent();
    assertThat(blueprint.template("vicuna-v1")).isEmpty();
    AnyResolution rule = (AnyResolution) blueprint.imageRule();
    assertThat(rule.packing()).isEqualTo(new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, 2));
    assertThat(rule.canvases()).hasSize(9);
  }

  /** The grids of LLaVA-1.5-HD in place of the checkpoint's own. */
  @ParameterizedTest
  @MethodSource("goldens")
  void takesUpToSixTilesWhenAskedTo(String golden) throws RowFailedException {
    ImageRule rule = read(TinyCheckpoint.golden(golden)).imageRule("hd").orElseThrow();
    assertThat(rule.name()).isEqualTo("hd");
    int size = ((AnyResolution) rule).tileSize();
    // Three tiles by two, and the whole image.
    RgbImage image = new RgbImage(3 * size, 2 * size, new byte[18 * size * size]);
    assertThat(rule.apply(image).views()).isEqualTo(7);
  }

  static Stream<String> goldens() {
    return Stream.of(NEXT, MISTRAL, ORIGINAL, ONE_VISION, HIGH_DEFINITION, "llava-mha");
  }

  @Test
  void endsRowsOfLlava15OnlyWhereTheCheckpointHasATokenForIt() {
    assertThat(packing("llava-mha").rowEnd()).isEqualTo(RowEnd.ABSENT);
    assertThat(packing(HIGH_DEFINITION).rowEnd()).isEqualTo(RowEnd.PRESENT);
    assertThat(packing("llava-original").rowEnd()).isEqualTo(RowEnd.ABSENT);
    assertThat(packing("llava-mha").convention()).isEqualTo(Convention.TRANSFORMERS);
    assertThat(packing("llava-original").convention()).isEqualTo(Convention.ORIGINAL);
  }

  private static Packing packing(String golden) {
    Path tower = golden.equals("llava-original") ? TinyCheckpoint.golden(TOWER) : null;
    Blueprint blueprint = Families.read(Families.open(TinyCheckpoint.golden(golden), tower));
    return ((AnyResolution) blueprint.imageRule("hd").orElseThrow()).packing();
  }

  /** Tiles are encoded apart from each other, so what is packed can be made view by view. */
  @ParameterizedTest
  @CsvSource({
    "llava-mha, hd, FLOAT32",
    "llava-hd, hd, FLOAT32",
    "llava-next, anyres, FLOAT32",
    "llava-next, anyres, BFLOAT16",
    "llava-onevision, anyres, BFLOAT16"
  })
  void packsWhatTheNetworkMakesOfEachView(String golden, String ruleName, Dtype dtype)
      throws RowFailedException {
    Operators operators = Operators.load(TestDevice.get());
    operators.enterThread();
    Blueprint blueprint = read(TinyCheckpoint.golden(golden));
    AnyResolution rule = (AnyResolution) blueprint.imageRule(ruleName).orElseThrow();
    int size = rule.tileSize();
    // Two tiles wide and one high, and narrower than that by two tokens: 8 - 2 columns are kept.
    RgbImage image = picture(2 * size - 28, size);
    PixelValues pixels = rule.apply(image);
    assertThat(pixels.views()).isEqualTo(3);
    try (VisionLanguageModel model = blueprint.load(operators, dtype);
        NDManager manager = operators.manager().newSubManager()) {
      TileWindow window = new TileWindow(1, 2, 0, 1, 4, 6, 4, 6);
      float[][] packed = encode(model, manager, pixels.data(), 3, size, window);

      List<float[]> expected = new ArrayList<>();
      List<float[][]> views = new ArrayList<>();
      for (int view = 0; view < 3; view++) {
        int length = 3 * size * size;
        float[] data = Arrays.copyOfRange(pixels.data(), view * length, (view + 1) * length);
        views.add(encode(model, manager, data, 1, size, null));
      }
      expected.addAll(Arrays.asList(views.get(0)));
      boolean endsRows = rule.packing().rowEnd() == RowEnd.PRESENT;
      for (int row = 0; row < 4; row++) {
        for (int column = 1; column < 7; column++) {
          expected.add(views.get(1 + column / 4)[4 * row + column % 4]);
        }
        if (endsRows) {
          expected.add(packed[16 + 6]); // The same after each row.
        }
      }
      assertThat(packed.length).isEqualTo(pixels.grid().tokens()).isEqualTo(expected.size());
      float tolerance = dtype == Dtype.FLOAT32 ? 1e-5f : 0.1f; // Values reach 5; 8 bits of them.
      for (int token = 0; token < packed.length; token++) {
        assertThat(packed[token]).containsExactly(expected.get(token), within(tolerance));
      }
    }
  }

  private static float[][] encode(
      VisionLanguageModel model,
      NDManager manager,
      float[] pixels,
      int views,
      int size,
      @Nullable TileWindow window) {
    ImageInput input = new ImageInput(pixels, new Shape(views, 3, size, size), window);
    NDArray packed = model.encodeImage(manager, input, AttentionHook.NONE);
    int tokens = Math.toIntExact(packed.getShape().get(0));
    float[] values = model.operators().to(packed, Dtype.FLOAT32).toFloatArray();
    int hidden = values.length / tokens;
    return IntStream.range(0, tokens)
        .mapToObj(token -> Arrays.copyOfRange(values, token * hidden, (token + 1) * hidden))
        .toArray(float[][]::new);
  }

  private static RgbImage picture(int width, int height) {
    byte[] samples = new byte[width * height * RgbImage.CHANNELS];
    new Random(7).nextBytes(samples);
    return new RgbImage(width, height, samples);
  }

  @Test
  void namesAMissingRowEnd() {
    TinyCheckpoint.copyTo(folder, NEXT).without("image_newline");
    assertThatThrownBy(() -> TinyCheckpoint.load(folder).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot find tensor image_newline in checkpoint " + folder);
  }

  @Test
  void refusesATensorThatHasNoPlaceInTheModel() {
    TinyCheckpoint.copyTo(folder, ONE_VISION)
        .with("vision_tower.vision_model.pre_layrnorm.bias", 32L);
    assertThatThrownBy(() -> TinyCheckpoint.load(folder).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use checkpoint %s: 1 of its tensors have no place in the model:"
                + " [vision_tower.vision_model.pre_layrnorm.bias]",
            folder);
  }

  private static Blueprint read(Path path) {
    return Families.read(CheckpointFolder.open(path));
  }

  private static Arguments refusal(String golden, Consumer<ObjectNode> change, String message) {
    return Arguments.of(golden, change, message);
  }

  private static ObjectNode text(ObjectNode config) {
    return (ObjectNode) config.get("text_config");
  }
}
