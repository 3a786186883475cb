package io.sinklens.family.onevision;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.AnyResolution;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.ImageRules.TilingProcessor;
import io.sinklens.tensor.Activation;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The {@code config.json} of a llava-hf checkpoint.
 *
 * @param vision the vision encoder
 * @param text the decoder
 * @param imageToken the token that stands for the image
 * @param featureLayer the hidden state the projector reads, from the end when negative
 * @param projector the projector
 * @param imageRule how images are cut
 */
record OneVisionConfig(
    VisionConfig vision,
    LlamaConfig text,
    int imageToken,
    int featureLayer,
    MlpProjector.Shape projector,
    AnyResolution imageRule) {

  private static final Pattern ASPECT_RATIO = Pattern.compile("anyres_max_([1-9][0-9]{0,3})");

  OneVisionConfig {
    vision.layersToRun(featureLayer);
    if (imageToken < 0) {
      throw new IllegalArgumentException(
          "image_token_index must not be below 0, not " + imageToken);
    }
  }

  static OneVisionConfig of(CheckpointFolder folder) {
    ConfigJson json = folder.config();
    json.requireOneOf("vision_feature_select_strategy", "full");
    json.requireOneOf("use_image_newline_parameter", "true");
    VisionConfig vision = VisionConfig.siglip(json.child("vision_config"));
    ImageRules.Tiles tiles =
        new ImageRules.Tiles(
            json.has("image_grid_pinpoints")
                ? json.integerLists("image_grid_pinpoints")
                : TilingProcessor.LLAVA_ONEVISION.defaultPinpoints(),
            vision.imageSize(),
            vision.patchSize(),
            new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, maxTiles(json)));
    return new OneVisionConfig(
        vision,
        LlamaConfig.of(json.child("text_config"), "qwen2"),
        json.has("image_token_id")
            ? json.integer("image_token_id") // The name since version 5.
            : json.integer("image_token_index", 151646),
        json.integer("vision_feature_layer", -1),
        new MlpProjector.Shape(
            2,
            Activation.named(json.text("projector_hidden_act", "gelu")),
            json.flag("multimodal_projector_bias").orElse(true)
                ? MlpProjector.Bias.PRESENT
                : MlpProjector.Bias.ABSENT),
        ImageRules.fromCheckpoint(folder.path(), TilingProcessor.LLAVA_ONEVISION, tiles));
  }

  /** More tokens than this number of tiles has are interpolated away. */
  private static int maxTiles(ConfigJson json) {
    String setting = json.text("vision_aspect_ratio", "anyres_max_9");
    Matcher ratio = ASPECT_RATIO.matcher(setting);
    if (!ratio.matches()) {
      throw new IllegalArgumentException(
          "config.json: vision_aspect_ratio must be anyres_max_ and a number, not \"%s\""
              .formatted(setting));
    }
    return Integer.parseInt(ratio.group(1));
  }

  /** Encoder layers that run. */
  int visionLayers() {
    return vision.layersToRun(featureLayer);
  }
}
