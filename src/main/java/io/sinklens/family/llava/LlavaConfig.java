package io.sinklens.family.llava;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.tensor.Activation;

/**
 * The {@code config.json} of a llava-hf checkpoint.
 *
 * @param vision the vision encoder
 * @param text the decoder
 * @param imageTokenIndex the token that stands for the image
 * @param visionFeatureLayer the hidden state the projector reads, from the end when negative
 * @param projectorHiddenAct between the projector's linear maps
 * @param projectorBias whether those have a bias
 */
record LlavaConfig(
    VisionConfig vision,
    LlamaConfig text,
    int imageTokenIndex,
    int visionFeatureLayer,
    Activation projectorHiddenAct,
    MlpProjector.Bias projectorBias) {

  LlavaConfig {
    vision.layersToRun(visionFeatureLayer);
    if (imageTokenIndex < 0) {
      throw new IllegalArgumentException(
          "image_token_index must not be below 0, not " + imageTokenIndex);
    }
  }

  static LlavaConfig of(ConfigJson json) {
    json.requireOneOf("vision_feature_select_strategy", "default");
    LlavaConfig config =
        new LlavaConfig(
            VisionConfig.clip(json.child("vision_config")),
            LlamaConfig.of(json.child("text_config"), "llama"),
            json.has("image_token_id")
                ? json.integer("image_token_id") // The name since version 5.
                : json.integer("image_token_index", 32000),
            json.integer("vision_feature_layer", -2),
            Activation.named(json.text("projector_hidden_act", "gelu")),
            json.flag("multimodal_projector_bias").orElse(true)
                ? MlpProjector.Bias.PRESENT
                : MlpProjector.Bias.ABSENT);
    if (json.has("image_seq_length")) {
      json.requireOneOf("image_seq_length", String.valueOf(config.imageTokens()));
    }
    return config;
  }

  /** Embeddings of one image: its patches, without the class token. */
  int imageTokens() {
    return vision.patches();
  }

  /** Encoder layers that run. */
  int visionLayers() {
    return vision.layersToRun(visionFeatureLayer);
  }
}
