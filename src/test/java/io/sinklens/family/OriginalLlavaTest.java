package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.preprocessing.AsStored;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.Normalization;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Activation;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What a checkpoint in the original LLaVA layout may say, and what is refused with a reason. */
class OriginalLlavaTest {
  private static final Path TOWER = TinyCheckpoint.golden("clip-vit-tiny-patch14-56");
  private static final String OWN_TOWER = "model.vision_tower.vision_tower.vision_model.";

  @TempDir Path folder;

  /** A change of {@code config.json} and the refusal it must bring. */
  static Stream<Arguments> configs() {
    return Stream.of(
        refusal(
            config -> config.put("mm_use_im_start_end", true),
            "config.json: mm_use_im_start_end must be false, not true"),
        refusal(
            config -> config.put("mm_vision_select_feature", "cls_patch"),
            "config.json: mm_vision_select_feature must be patch, not \"cls_patch\""),
        refusal(
            config -> config.put("mm_vision_select_layer", -7),
            "vision_feature_layer must be from -5 to 4, not -7"),
        refusal(
            config -> config.put("mm_patch_merge_type", "spatial_unpad"),
            "config.json: mm_patch_merge_type must be flat, not \"spatial_unpad\""),
        refusal(config -> config.put("s2", true), "config.json: s2 must be false, not true"),
        refusal(
            config -> config.put("mm_resampler_type", "perceiver"),
            "config.json: mm_resampler_type must be absent, not \"perceiver\": resamplers are not"
                + " supported"),
        refusal(
            config -> config.put("mm_projector_type", "identity"),
            "config.json: mm_projector_type must be one of linear, mlp2x_gelu, not \"identity\""),
        refusal(
            config -> config.put("mm_projector_type", "mlp0x_gelu"),
            "config.json: mm_projector_type must be one of linear, mlp2x_gelu, not \"mlp0x_gelu\""),
        refusal(
            config -> config.put("mm_hidden_size", 33),
            "config.json: mm_hidden_size must be 32, not 33"),
        refusal(
            config -> config.put("vision_resolution", 448),
            "config.json: vision_resolution must be one of -1, 56, not 448"),
        refusal(
            config -> config.put("image_aspect_ratio", "resize"),
            "config.json: image_aspect_ratio must be one of pad, square, not \"resize\""),
        refusal(
            config -> config.putObject("rope_scaling").put("type", "linear").put("factor", 2),
            "config.json: rope_scaling.type must be one of default, dynamic, not \"linear\""),
        refusal(
            config -> config.put("mm_vision_tower", "openai/clip-vit-large-patch14-336"),
            "Cannot use the vision tower in "
                + TOWER
                + ": it takes 56 pixels in patches of 14, but mm_vision_tower is"
                + " openai/clip-vit-large-patch14-336"),
        refusal(
            config -> config.put("mm_vision_tower", "openai/clip-vit-large-patch14"),
            "Cannot use the vision tower in "
                + TOWER
                + ": it takes 56 pixels in patches of 14, but mm_vision_tower is"
                + " openai/clip-vit-large-patch14"));
  }

  /** A change of the tower's folder and the refusal it must bring. */
  static Stream<Arguments> towers() {
    return Stream.of(
        Arguments.of(
            "config.json",
            change(config -> config.put("model_type", "siglip_vision_model")),
            "config.json: model_type must be one of clip, clip_vision_model, not"
                + " \"siglip_vision_model\""),
        Arguments.of(
            "preprocessor_config.json",
            change(config -> config.put("crop_size", 42)),
            "Cannot use the image processor of %s: it does not crop to the 56 pixels of its"
                + " encoder"),
        Arguments.of(
            "preprocessor_config.json",
            change(config -> config.put("size", 70)),
            "Cannot pad images as image_aspect_ratio asks: the image processor of %s would cut 70"
                + " pixels to 56"));
  }

  @ParameterizedTest
  @MethodSource("configs")
  void refusesAConfigItWouldNotCompute(Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, "llava-original").config(change);
    assertThatThrownBy(() -> read(folder, TOWER))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @ParameterizedTest
  @MethodSource("towers")
  void refusesATowerItWouldNotCompute(String file, Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, "clip-vit-tiny-patch14-56").document(file, change);
    assertThatThrownBy(() -> read(TinyCheckpoint.golden("llava-original"), folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message, folder);
  }

  @Test
  void saysHowToGiveATowerThatLiesElsewhere() {
    Path checkpoint = TinyCheckpoint.golden("llava-original");
    assertThatThrownBy(() -> read(checkpoint, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot load %s: its vision tower openai/clip-vit-tiny-patch14-56 is a folder of its"
                + " own; get it and give its path (model.vision-path, or --vision-path)",
            checkpoint);
  }

  @Test
  void refusesASecondTower() {
    Path checkpoint = TinyCheckpoint.golden("vila");
    assertThatThrownBy(() -> read(checkpoint, TOWER))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use vision path %s: checkpoint %s holds its own vision tower; leave it out",
            TOWER, checkpoint);
  }

  @ParameterizedTest
  @MethodSource("withoutTowerElsewhere")
  void refusesATowerNobodyAskedFor(Path checkpoint) {
    assertThatThrownBy(() -> read(checkpoint, TOWER))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use vision path %s: checkpoint %s needs no vision encoder from elsewhere;"
                + " leave it out",
            TOWER, checkpoint);
  }

  static Stream<Path> withoutTowerElsewhere() {
    return Stream.of("llava-mha", "vila1.5").map(TinyCheckpoint::golden);
  }

  @Test
  void takesTheTowerFromItsFolder() {
    Blueprint blueprint = read(TinyCheckpoint.golden("llava-original"), TOWER);
    assertThat(blueprint.family()).isEqualTo("llava");
    assertThat(blueprint.layout()).isEqualTo("original");
    assertThat(blueprint.vision())
        .isEqualTo(
            "CLIP, 3 of 4 layers, hidden 32, 56 px in patches of 14, 16 image tokens, from "
                + TOWER);
    assertThat(blueprint.stopTokens()).containsExactly(2);
    assertThat(blueprint.prompts().encoding()).isEqualTo(Encoding.AROUND_IMAGE);
    assertThat(blueprint.prompts().contextLength()).isEqualTo(512);
    // Embeddings, layers, last norm and head; the projector; three layers of CLIP and its
    // embeddings.
    long decoder = 2 * 470 * 64 + 5 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64;
    long projector = 64 * 32 + 64 + 64 * 64 + 64;
    long tower =
        32 + 32 * 3 * 14 * 14 + 17 * 32 + 64 + 3 * (4 * (32 * 32 + 32) + 2 * 64 * 32 + 96 + 128);
    assertThat(blueprint.parameters()).isEqualTo(decoder + projector + tower);
  }

  @Test
  void takesATowerThatIsOnlyTheVisionModel() throws IOException {
    TinyCheckpoint.copyTo(folder, "clip-vit-tiny-patch14-56")
        .document(
            "config.json",
            config -> {
              ObjectNode vision = (ObjectNode) config.get("vision_config");
              config.removeAll();
              config.setAll(vision);
            });
    Files.delete(folder.resolve("preprocessor_config.json"));
    Path checkpoint = TinyCheckpoint.golden("llava-original");

    Blueprint blueprint = read(checkpoint, folder);

    assertThat(blueprint.parameters()).isEqualTo(read(checkpoint, TOWER).parameters());
    assertThat(blueprint.imageRule()).isEqualTo(new PadToSquare(56, 14, Normalization.CLIP));
  }

  @Test
  void readsTheShapeOfATowerInsideOffItsTensors() {
    Blueprint blueprint = read(TinyCheckpoint.golden("vila"), null);
    assertThat(blueprint.layout()).isEqualTo("original-with-tower");
    assertThat(blueprint.vision())
        .isEqualTo("CLIP, 2 of 3 layers, hidden 128, 56 px in patches of 14, 16 image tokens");
  }

  /** VILA's code opens its tokenizers with {@code legacy=False}, LLaVA's as the folder says. */
  @Test
  void putsASpaceBehindASpecialTokenOnlyWhereTheCodeDoes() {
    String text = "is</s>the";
    TinyCheckpoint.copyTo(folder, "vila")
        .document("tokenizer_config.json", json -> json.put("legacy", true));
    try (Tokenizer vila = read(folder, null).openTokenizer();
        Tokenizer legacy = Tokenizer.open(folder);
        Tokenizer published =
            read(TinyCheckpoint.golden("llava-original"), TOWER).openTokenizer()) {
      assertThat(vila.encodeRaw(text)).isNotEqualTo(legacy.encodeRaw(text));
      assertThat(vila.encodeRaw(text)).isEqualTo(published.encodeRaw(text));
    }
  }

  @Test
  void refusesATowerInsideWhoseHeadsItCannotKnow() {
    TinyCheckpoint.copyTo(folder, "vila")
        .config(config -> config.put("mm_vision_tower", "google/siglip-base-patch14-56"));
    assertThatThrownBy(() -> read(folder, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use the vision tower in %s: mm_vision_tower must name a CLIP of OpenAI, not"
                + " google/siglip-base-patch14-56",
            folder);
  }

  @Test
  void namesATensorThatATowerInsideLacks() {
    TinyCheckpoint.copyTo(folder, "vila")
        .without(OWN_TOWER + "embeddings.position_embedding.weight");
    assertThatThrownBy(() -> read(folder, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot find tensor %sembeddings.position_embedding.weight in checkpoint %s",
            OWN_TOWER, folder);
  }

  @Test
  void refusesPositionsThatAreNoSquareOfPatches() {
    TinyCheckpoint.copyTo(folder, "vila")
        .with(OWN_TOWER + "embeddings.position_embedding.weight", 16L, 128L);
    assertThatThrownBy(() -> TinyCheckpoint.load(folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use tensor %sembeddings.position_embedding.weight of checkpoint %s: its shape"
                + " is [16, 128], but the configuration makes it [17, 128]",
            OWN_TOWER, folder);
  }

  @Test
  void makesImagesSquareAsTheConfigSays() {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, "vila");
    assertThat(read(folder, null).imageRule())
        .isEqualTo(new PadToSquare(56, 14, Normalization.CLIP));

    copy.config(config -> config.remove("image_aspect_ratio"));

    Blueprint cropping = read(folder, null);
    assertThat(cropping.imageRule())
        .isEqualTo(new AsStored(new ResizeAndCrop(56, 56, 14, Normalization.CLIP)));
    for (String rule : new String[] {"crop", "pad", "stretch"}) {
      assertThat(cropping.imageRule(rule).orElseThrow().exif()).isEqualTo(Exif.IGNORE);
      assertThat(cropping.imageRule(rule).orElseThrow().name()).isEqualTo(rule);
    }
  }

  @Test
  void projectsThroughAsManyMapsAsTheTypeSays() {
    float[] identity = new float[64 * 64];
    for (int i = 0; i < 64; i++) {
      identity[i * 64 + i] = 1;
    }
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, "vila");
    float[] two = encode();
    copy.with("model.mm_projector.4.weight", identity, 64L, 64L)
        .with("model.mm_projector.4.bias", 64L)
        .config(config -> config.put("mm_projector_type", "mlp3x_gelu"));
    assertThat(encode()).containsExactly(gelu(two), within(1e-5f));
  }

  @Test
  void projectsThroughASingleMap() {
    float[] firstOfPatch = new float[64 * 128];
    for (int i = 0; i < 64; i++) {
      firstOfPatch[i * 128] = i; // Row i of the weight takes i times the first feature.
    }
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, "vila");
    for (String name : new String[] {"0.weight", "0.bias", "2.weight", "2.bias"}) {
      copy.without("model.mm_projector." + name);
    }
    copy.with("model.mm_projector.weight", firstOfPatch, 64L, 128L)
        .with("model.mm_projector.bias", 64L)
        .config(config -> config.remove("mm_projector_type"));
    float[] embeddings = encode();
    for (int token = 0; token < 16; token++) {
      for (int i = 0; i < 64; i++) {
        assertThat(embeddings[token * 64 + i])
            .isCloseTo(i * embeddings[token * 64 + 1], within(1e-4f));
      }
    }
    assertThat(embeddings[1]).isNotZero();
  }

  private static Blueprint read(Path checkpoint, @Nullable Path visionPath) {
    CheckpointFolder opened = Families.open(checkpoint, visionPath);
    return Families.read(opened);
  }

  /** Embeddings of a grey image. */
  private float[] encode() {
    try (VisionLanguageModel model = TinyCheckpoint.load(folder);
        NDManager manager = model.operators().manager().newSubManager()) {
      float[] pixels = new float[3 * 56 * 56];
      Arrays.fill(pixels, 0.25f);
      ImageInput image = new ImageInput(pixels, new Shape(1, 3, 56, 56), null);
      return model.encodeImage(manager, image, AttentionHook.NONE).toFloatArray();
    }
  }

  private float[] gelu(float[] values) {
    try (VisionLanguageModel model = TinyCheckpoint.load(folder);
        NDManager manager = model.operators().manager().newSubManager()) {
      NDArray array = manager.create(values);
      return Activation.GELU.apply(model.operators(), array).toFloatArray();
    }
  }

  private static Arguments refusal(Consumer<ObjectNode> change, String message) {
    return Arguments.of(change, message);
  }

  private static Consumer<ObjectNode> change(Consumer<ObjectNode> change) {
    return change;
  }
}
