package io.sinklens.family.qwen25vl;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.vision.Qwen25VisionConfig;

/**
 * The {@code config.json} of a Qwen2.5-VL checkpoint: flat as published, or with the decoder in
 * {@code text_config} as transformers saves it since 4.52.
 *
 * @param vision the vision encoder
 * @param text the decoder
 * @param imageTokenId the token that stands for the image
 */
record Qwen25VlConfig(Qwen25VisionConfig vision, LlamaConfig text, int imageTokenId) {
  private static final String TEXT_TYPE = "qwen2_5_vl_text";

  Qwen25VlConfig {
    if (imageTokenId < 0 || imageTokenId >= text.vocabSize()) {
      throw new IllegalArgumentException(
          "image_token_id must be from 0 to vocab_size %d minus 1, not %d"
              .formatted(text.vocabSize(), imageTokenId));
    }
    if (vision.outHiddenSize() != text.hiddenSize()) {
      throw new IllegalArgumentException(
          "vision_config.out_hidden_size must be the decoder's hidden_size %d, not %d"
              .formatted(text.hiddenSize(), vision.outHiddenSize()));
    }
    if (text.rope().sections().isEmpty()) {
      throw new IllegalArgumentException("rope_scaling.mrope_section must not be missing");
    }
  }

  static Qwen25VlConfig of(ConfigJson json) {
    return new Qwen25VlConfig(
        Qwen25VisionConfig.of(json.child("vision_config")),
        decoder(json),
        json.integer("image_token_id", 151655));
  }

  private static LlamaConfig decoder(ConfigJson json) {
    ConfigJson nested = json.optionalChild("text_config").orElse(null);
    if (nested == null) {
      requireFullAttention(json);
      return LlamaConfig.as(TEXT_TYPE, json);
    }
    requireFullAttention(nested);
    LlamaConfig decoder = LlamaConfig.of(nested, TEXT_TYPE);
    // Versions differ in where they write it; where both say it, they must agree.
    if (nested.has("tie_word_embeddings")) {
      json.requireOneOf("tie_word_embeddings", String.valueOf(decoder.tieWordEmbeddings()));
      return decoder;
    }
    boolean tied = json.flag("tie_word_embeddings").orElse(false);
    return tied ? decoder.withTiedWordEmbeddings() : decoder;
  }

  /** Where a window is configured it must not slide. */
  private static void requireFullAttention(ConfigJson decoder) {
    decoder.requireOneOf("use_sliding_window", "false");
    if (decoder.has("layer_types")) {
      for (String type : decoder.texts("layer_types")) {
        if (!type.equals("full_attention")) {
          throw new IllegalArgumentException("layer_types must all be full_attention, not " + type);
        }
      }
    }
  }
}
