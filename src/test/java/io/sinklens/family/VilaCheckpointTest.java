package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageGrid;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.preprocessing.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What a VILA1.5 checkpoint may say, and what is refused with a reason. */
class VilaCheckpointTest {
  private static final String ROOT = "config.json";
  private static final String DECODER = "llm/config.json";
  private static final String TOWER = "vision_tower/config.json";
  private static final String PROCESSOR = "vision_tower/preprocessor_config.json";
  private static final String PROJECTOR = "mm_projector/config.json";

  @TempDir Path folder;

  /** A file, a change of it, and the refusal it must bring. */
  static Stream<Arguments> changes() {
    return Stream.of(
        refusal(
            ROOT,
            json -> json.put("mm_use_im_start_end", true),
            "config.json: mm_use_im_start_end must be false, not true"),
        refusal(ROOT, json -> json.put("s2", true), "config.json: s2 must be false, not true"),
        refusal(
            ROOT,
            json -> json.put("dynamic_s2", true),
            "config.json: dynamic_s2 must be false, not true"),
        refusal(
            ROOT,
            json -> json.remove("mm_vision_select_feature"),
            "config.json: mm_vision_select_feature must be cls_patch, not patch"),
        refusal(
            ROOT,
            json -> json.put("mm_vision_select_layer", 5),
            "vision_feature_layer must be from -5 to 4, not 5"),
        refusal(
            ROOT,
            json -> json.put("image_aspect_ratio", "dynamic"),
            "config.json: image_aspect_ratio must be one of resize, pad, square, not \"dynamic\""),
        refusal(
            ROOT,
            json -> json.put("mm_hidden_size", 1152),
            "config.json: mm_hidden_size must be 32, not 1152"),
        refusal(
            ROOT,
            json -> json.put("hidden_size", 2560),
            "config.json: hidden_size must be 64, not 2560"),
        refusal(
            ROOT,
            json -> json.put("vision_resolution", 448),
            "config.json: vision_resolution must be one of -1, 100, not 448"),
        refusal(
            DECODER,
            json -> json.put("model_type", "qwen2"),
            "config.json: model_type must be llama, not \"qwen2\""),
        refusal(
            DECODER,
            json -> json.put("bos_token_id", 128000),
            "config.json: bos_token_id must be 1, not 128000"),
        refusal(
            DECODER,
            json -> json.putObject("rope_scaling").put("type", "linear").put("factor", 2),
            "config.json: rope_scaling.type must be one of default, dynamic, not \"linear\""),
        refusal(
            TOWER,
            json -> json.put("model_type", "intern_vit_6b"),
            "config.json: model_type must be siglip_vision_model, not \"intern_vit_6b\""),
        refusal(
            PROCESSOR,
            json -> json.putObject("size").put("height", 98).put("width", 98),
            "Cannot use the image processor of %s/vision_tower: it does not stretch images to the"
                + " 100 pixels of its encoder"),
        refusal(
            PROJECTOR,
            json -> json.put("mm_projector_type", "mlp2x_gelu"),
            "config.json: mm_projector_type must be mlp_downsample, not \"mlp2x_gelu\""),
        refusal(
            PROJECTOR,
            json -> json.remove("mm_projector_type"),
            "Cannot load %s: config.json of mm_projector has no mm_projector_type"));
  }

  @ParameterizedTest
  @MethodSource("changes")
  void refusesAConfigItWouldNotCompute(String file, Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, "vila1.5").document(file, change);
    assertThatThrownBy(this::read)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message.formatted(folder));
  }

  @Test
  void namesAPartThatIsMissing() throws IOException {
    TinyCheckpoint.copyTo(folder, "vila1.5");
    Files.delete(folder.resolve("mm_projector/model.safetensors"));
    assertThatThrownBy(this::read)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot load %s: it has no folder mm_projector with config.json and weights", folder);
  }

  @Test
  void saysWhatItIs() {
    Blueprint blueprint = Families.read(CheckpointFolder.open(TinyCheckpoint.golden("vila1.5")));
    assertThat(blueprint.family()).isEqualTo("vila");
    assertThat(blueprint.layout()).isEqualTo("original-in-parts");
    assertThat(blueprint.vision())
        .isEqualTo("SigLIP, 3 of 4 layers, hidden 32, 100 px in patches of 14, 16 image tokens");
    assertThat(blueprint.stopTokens()).containsExactly(2);
    assertThat(blueprint.prompts().encoding()).isEqualTo(Encoding.AROUND_IMAGE);
    assertThat(blueprint.prompts().contextLength()).isEqualTo(512);
    assertThat(blueprint.template().name()).isEqualTo("vicuna-v1");
    assertThat(blueprint.template("llama-3")).isEmpty();
    // Embeddings, layers, last norm and head; the projector; three layers of SigLIP and its
    // embeddings. Its pooling head is not loaded.
    long decoder = 2 * 470 * 64 + 5 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64;
    long projector = 2 * 128 + 64 * 128 + 64 + 64 * 64 + 64;
    long tower =
        32 * 3 * 14 * 14 + 32 + 49 * 32 + 3 * (4 * (32 * 32 + 32) + 2 * 64 * 32 + 96 + 128);
    assertThat(blueprint.parameters()).isEqualTo(decoder + projector + tower);
  }

  /** The code of VILA opens its tokenizers with {@code legacy=False}. */
  @Test
  void putsNoSpaceBehindASpecialTokenWhateverTheFolderSays() {
    TinyCheckpoint.copyTo(folder, "vila1.5")
        .document("llm/tokenizer_config.json", json -> json.put("legacy", true));
    try (Tokenizer vila = read().openTokenizer();
        Tokenizer published = Tokenizer.open(TinyCheckpoint.golden("vila1.5").resolve("llm"));
        Tokenizer legacy = Tokenizer.open(folder.resolve("llm"))) {
      String text = "is</s>the";
      assertThat(vila.encodeRaw(text)).isEqualTo(published.encodeRaw(text));
      assertThat(vila.encodeRaw(text)).isNotEqualTo(legacy.encodeRaw(text));
    }
  }

  @Test
  void makesImagesSquareAsTheConfigSays() {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, "vila1.5");
    assertThat(read().imageRule().name()).isEqualTo("stretch");
    copy.config(root -> root.put("image_aspect_ratio", "pad"));
    assertThat(read().imageRule().name()).isEqualTo("pad");
    copy.config(root -> root.remove("image_aspect_ratio"));
    assertThat(read().imageRule().name()).isEqualTo("stretch");
    assertThat(read().imageRule().exif()).isEqualTo(Exif.IGNORE);
    assertThat(read().imageRule("pad").orElseThrow().name()).isEqualTo("pad");
    assertThat(read().imageRule("crop")).isEmpty();
  }

  /** With the published sizes: 27 patches of 14 pixels along 384, so 14 tokens of 28. */
  @Test
  void knowsWhereItsTokensLieColumnByColumn() throws RowFailedException {
    TinyCheckpoint.copyTo(folder, "vila1.5")
        .document(TOWER, json -> json.put("image_size", 384))
        .document(PROCESSOR, json -> json.putObject("size").put("height", 384).put("width", 384));
    Blueprint blueprint = read();
    assertThat(blueprint.vision()).endsWith("384 px in patches of 14, 196 image tokens");
    RgbImage image = new RgbImage(768, 192, new byte[3 * 768 * 192]);

    PixelValues values = blueprint.imageRule().apply(image);

    assertThat(values.views()).isEqualTo(1);
    ImageGrid grid = values.grid();
    assertThat(grid.views()).hasSize(14).allSatisfy(view -> assertThat(view.rows()).isEqualTo(14));
    assertThat(grid.tokens()).isEqualTo(196);
    requireRegion(grid.token(0), 0, 0);
    requireRegion(grid.token(1), 0, 14);
    requireRegion(grid.token(14), 56, 0);
    requireRegion(grid.token(15), 56, 14);
    requireRegion(grid.token(195), 728, 182); // Ends at 784 and 196, beyond the image.
  }

  private static void requireRegion(ImageGrid.Region region, double x, double y) {
    assertThat(region.x()).isCloseTo(x, within(1e-9));
    assertThat(region.y()).isCloseTo(y, within(1e-9));
    assertThat(region.width()).isCloseTo(56, within(1e-9));
    assertThat(region.height()).isCloseTo(14, within(1e-9));
  }

  private Blueprint read() {
    return Families.read(CheckpointFolder.open(folder));
  }

  private static Arguments refusal(String file, Consumer<ObjectNode> change, String message) {
    return Arguments.of(file, change, message);
  }
}
