package io.sinklens.family.llavanext;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.ClipTower;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.AnyResolution;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.ImageRules.TilingProcessor;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.tensor.Activation;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * What a checkpoint's {@code config.json} says, whichever layout it has.
 *
 * @param layout how the checkpoint's files are laid out, for people and presets
 * @param visionPath the folder the vision encoder comes from
 * @param vision the vision encoder
 * @param text the decoder
 * @param decoderJson where the decoder's own settings stand
 * @param imageToken the id that stands for the image in prompts
 * @param featureLayer the hidden state the projector reads, from the end when negative
 * @param projector the projector
 * @param imageRule how images are cut
 * @param encoding how prompts are taken apart
 * @param template for questions unless another is chosen
 */
record LlavaNextConfig(
    String layout,
    Path visionPath,
    VisionConfig vision,
    LlamaConfig text,
    ConfigJson decoderJson,
    int imageToken,
    int featureLayer,
    MlpProjector.Shape projector,
    AnyResolution imageRule,
    Encoding encoding,
    PromptTemplate template) {

  private static final Set<String> ORIGINAL_TYPES = Set.of("llava", "llava_llama", "llava_mistral");

  /** What the original code puts between the texts of a prompt for an image. */
  private static final int IMAGE_TOKEN_INDEX = -200;

  LlavaNextConfig {
    vision.layersToRun(featureLayer);
  }

  /** The layout of llava-hf. */
  static LlavaNextConfig transformers(CheckpointFolder folder) {
    ConfigJson json = folder.config();
    json.requireOneOf("vision_feature_select_strategy", "default");
    json.requireOneOf("use_image_newline_parameter", "true");
    VisionConfig vision = VisionConfig.clip(json.child("vision_config"));
    ConfigJson decoderJson = json.child("text_config");
    int imageToken =
        json.has("image_token_id")
            ? json.integer("image_token_id") // The name since version 5.
            : json.integer("image_token_index", 32000);
    if (imageToken < 0) {
      throw new IllegalArgumentException(
          "image_token_index must not be below 0, not " + imageToken);
    }
    return new LlavaNextConfig(
        "transformers",
        folder.path(),
        vision,
        LlamaConfig.of(decoderJson, "llama", "mistral"),
        decoderJson,
        imageToken,
        json.integer("vision_feature_layer", -2),
        new MlpProjector.Shape(
            2,
            Activation.named(json.text("projector_hidden_act", "gelu")),
            json.flag("multimodal_projector_bias").orElse(true)
                ? MlpProjector.Bias.PRESENT
                : MlpProjector.Bias.ABSENT),
        ImageRules.fromCheckpoint(
            folder.path(),
            TilingProcessor.LLAVA_NEXT,
            tiles(
                json.has("image_grid_pinpoints")
                    ? json.integerLists("image_grid_pinpoints")
                    : TilingProcessor.LLAVA_NEXT.defaultPinpoints(),
                vision,
                Convention.TRANSFORMERS)),
        Encoding.WHOLE,
        template(decoderJson.text("model_type", "llama").equals("mistral")));
  }

  /**
   * The layout of the original code: a decoder's config with {@code mm_} keys.
   *
   * <p>After {@code llava/model/builder.py}, {@code llava/model/llava_arch.py} and {@code
   * llava/mm_utils.py} of haotian-liu/LLaVA (c121f04).
   */
  static LlavaNextConfig original(CheckpointFolder folder) {
    ConfigJson json = folder.config();
    json.requireOneOf("image_aspect_ratio", "anyres");
    require(json, "mm_patch_merge_type", "spatial_unpad");
    require(json, "mm_projector_type", "mlp2x_gelu");
    json.requireOneOf("mm_use_im_start_end", "false");
    json.requireOneOf("mm_vision_select_feature", "patch");
    json.requireAbsent("mm_resampler_type", "resamplers are not supported");
    boolean isMistral = json.text("model_type", "").equals("llava_mistral");
    ClipTower tower = ClipTower.of(folder);
    VisionConfig vision = tower.config();
    json.requireOneOf("mm_hidden_size", String.valueOf(vision.hiddenSize()));
    ResizeAndCrop processor = tower.processor();
    if (processor.shortestEdge() != vision.imageSize()) {
      throw new IllegalArgumentException(
          "Cannot cut tiles of %d pixels: the image processor of %s resizes the whole image to %d"
              .formatted(vision.imageSize(), tower.path(), processor.shortestEdge()));
    }
    return new LlavaNextConfig(
        tower.inside() ? "original-with-tower" : "original",
        tower.path(),
        vision,
        LlamaConfig.as(isMistral ? "mistral" : "llama", json),
        json,
        IMAGE_TOKEN_INDEX,
        json.integer("mm_vision_select_layer", -2),
        new MlpProjector.Shape(2, Activation.GELU, MlpProjector.Bias.PRESENT),
        tiles(json.integerLists("image_grid_pinpoints"), vision, Convention.ORIGINAL)
            .rule(processor.normalization()),
        Encoding.AROUND_IMAGE,
        template(isMistral));
  }

  /** For a key the code gives another default than the one value that is supported. */
  private static void require(ConfigJson json, String key, String value) {
    json.text(key);
    json.requireOneOf(key, value);
  }

  /** Whether a config is of the original code and asks for tiles. */
  static boolean isOriginal(ConfigJson json) {
    return ORIGINAL_TYPES.contains(json.text("model_type", ""))
        && !json.has("vision_config")
        && json.has("mm_vision_tower")
        && json.text("image_aspect_ratio", "").startsWith("anyres");
  }

  private static ImageRules.Tiles tiles(
      List<List<Integer>> gridPinpoints, VisionConfig vision, Convention convention) {
    return new ImageRules.Tiles(
        gridPinpoints,
        vision.imageSize(),
        vision.patchSize(),
        new Packing(convention, RowEnd.PRESENT, Packing.UNLIMITED));
  }

  private static PromptTemplate template(boolean isMistral) {
    return isMistral ? LlavaNextTemplates.MISTRAL : PromptTemplate.VICUNA_V1;
  }

  /** Encoder layers that run. */
  int visionLayers() {
    return vision.layersToRun(featureLayer);
  }
}
