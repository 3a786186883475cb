package io.sinklens.model.vision;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;

/**
 * The shape of a CLIP vision transformer, under the checkpoint's names.
 *
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width inside the MLP
 * @param numHiddenLayers encoder layers
 * @param numAttentionHeads heads, a divisor of the hidden size
 * @param numChannels colour channels
 * @param imageSize side of the square image in pixels, a multiple of the patch size
 * @param patchSize side of a patch in pixels
 * @param layerNormEps added to the variance
 * @param hiddenAct activation of the MLP
 */
public record ClipVisionConfig(
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int numChannels,
    int imageSize,
    int patchSize,
    double layerNormEps,
    Activation hiddenAct) {

  public ClipVisionConfig {
    requirePositive("hidden_size", hiddenSize);
    requirePositive("intermediate_size", intermediateSize);
    requirePositive("num_hidden_layers", numHiddenLayers);
    requirePositive("num_attention_heads", numAttentionHeads);
    requirePositive("patch_size", patchSize);
    requirePositive("image_size", imageSize);
    if (hiddenSize % numAttentionHeads != 0) {
      throw new IllegalArgumentException(
          "Cannot split hidden_size %d evenly over num_attention_heads %d"
              .formatted(hiddenSize, numAttentionHeads));
    }
    if (imageSize % patchSize != 0) {
      throw new IllegalArgumentException(
          "Cannot cut image_size %d into patches of patch_size %d".formatted(imageSize, patchSize));
    }
    if (numChannels != 3) {
      throw new IllegalArgumentException("num_channels must be 3, not " + numChannels);
    }
    if (!(layerNormEps > 0 && layerNormEps < 1)) {
      throw new IllegalArgumentException(
          "layer_norm_eps must be above 0 and below 1, not " + layerNormEps);
    }
  }

  /**
   * Reads a {@code vision_config} of model type clip_vision_model; absent keys have transformers'
   * defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static ClipVisionConfig of(ConfigJson json) {
    json.requireOneOf("model_type", "clip_vision_model");
    return new ClipVisionConfig(
        json.integer("hidden_size", 768),
        json.integer("intermediate_size", 3072),
        json.integer("num_hidden_layers", 12),
        json.integer("num_attention_heads", 12),
        json.integer("num_channels", 3),
        json.integer("image_size", 224),
        json.integer("patch_size", 32),
        json.number("layer_norm_eps", 1e-5),
        Activation.named(json.text("hidden_act", "quick_gelu")));
  }

  /** Patches along one side of the image. */
  public int patchesPerSide() {
    return imageSize / patchSize;
  }

  /** Patches of one image. */
  public int patches() {
    return patchesPerSide() * patchesPerSide();
  }

  private static void requirePositive(String name, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(name + " must be above 0, not " + value);
    }
  }
}
