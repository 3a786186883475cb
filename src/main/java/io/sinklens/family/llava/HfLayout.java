package io.sinklens.family.llava;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Activation;
import java.nio.file.Path;

/** The layout of llava-hf: {@code vision_config} and {@code text_config}, for transformers. */
final class HfLayout implements CheckpointLayout {
  private final CheckpointFolder folder;
  private final LlavaConfig config;
  private final ImageRule imageRule;

  HfLayout(CheckpointFolder folder) {
    this.folder = folder;
    config = config(folder.config());
    imageRule = ImageRules.fromCheckpoint(folder.path(), config.vision().patchSize());
  }

  static boolean claims(ConfigJson json) {
    return json.text("model_type", "").equals("llava") && json.has("vision_config");
  }

  private static LlavaConfig config(ConfigJson json) {
    json.requireOneOf("vision_feature_select_strategy", "default");
    LlavaConfig config =
        new LlavaConfig(
            VisionConfig.clip(json.child("vision_config")),
            LlamaConfig.of(json.child("text_config"), "llama"),
            json.has("image_token_id")
                ? json.integer("image_token_id") // The name since version 5.
                : json.integer("image_token_index", 32000),
            json.integer("vision_feature_layer", -2),
            new MlpProjector.Shape(
                2,
                Activation.named(json.text("projector_hidden_act", "gelu")),
                json.flag("multimodal_projector_bias").orElse(true)
                    ? MlpProjector.Bias.PRESENT
                    : MlpProjector.Bias.ABSENT));
    if (config.imageToken() < 0) {
      throw new IllegalArgumentException(
          "image_token_index must not be below 0, not " + config.imageToken());
    }
    if (json.has("image_seq_length")) {
      json.requireOneOf("image_seq_length", String.valueOf(config.imageTokens()));
    }
    return config;
  }

  @Override
  public String name() {
    return "transformers";
  }

  @Override
  public LlavaConfig config() {
    return config;
  }

  @Override
  public ConfigJson decoder() {
    return folder.config().child("text_config");
  }

  @Override
  public Path visionPath() {
    return folder.path();
  }

  @Override
  public ImageRule imageRule() {
    return imageRule;
  }

  @Override
  public ImageRule adopted(ImageRule rule) {
    return rule;
  }

  @Override
  public Convention tiling() {
    return Convention.TRANSFORMERS;
  }

  @Override
  public PromptEncoder.Encoding encoding() {
    return PromptEncoder.Encoding.WHOLE;
  }

  @Override
  public Tokenizer openTokenizer() {
    return Tokenizer.open(folder.path());
  }
}
