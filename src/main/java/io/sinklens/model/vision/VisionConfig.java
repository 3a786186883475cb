package io.sinklens.model.vision;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;
import java.util.List;

/**
 * The shape of a vision transformer, under the checkpoint's names.
 *
 * @param kind what sets it apart from others
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width inside the MLP
 * @param numHiddenLayers encoder layers
 * @param numAttentionHeads heads, a divisor of the hidden size
 * @param numChannels colour channels
 * @param imageSize side of the square image in pixels
 * @param patchSize side of a patch in pixels; what is left of the image's side is not looked at
 * @param layerNormEps added to the variance
 * @param hiddenAct activation of the MLP
 */
public record VisionConfig(
    Kind kind,
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int numChannels,
    int imageSize,
    int patchSize,
    double layerNormEps,
    Activation hiddenAct) {

  /** Vision transformers that differ in few places. */
  public enum Kind {
    /** A class token, and a norm before the first layer. */
    CLIP,
    /** No class token, and a bias in the patch embedding. */
    SIGLIP,
    /** A class token, a bias in the patch embedding, and branches scaled channel by channel. */
    INTERN,
    /**
     * As {@link #INTERN} with RMS norms; queries and keys are normed, too, before they are split
     * into heads, and no bias is in what makes them and the values.
     */
    INTERN_6B;

    boolean hasClassToken() {
      return this != SIGLIP;
    }

    boolean isIntern() {
      return this == INTERN || this == INTERN_6B;
    }
  }

  public VisionConfig {
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
    if (imageSize < patchSize || (kind != Kind.SIGLIP && imageSize % patchSize != 0)) {
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
  public static VisionConfig clip(ConfigJson json) {
    json.requireOneOf("model_type", "clip_vision_model");
    return new VisionConfig(
        Kind.CLIP,
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

  /**
   * Reads a {@code vision_config} of model type siglip_vision_model; absent keys have transformers'
   * defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static VisionConfig siglip(ConfigJson json) {
    json.requireOneOf("model_type", "siglip_vision_model");
    return new VisionConfig(
        Kind.SIGLIP,
        json.integer("hidden_size", 768),
        json.integer("intermediate_size", 3072),
        json.integer("num_hidden_layers", 12),
        json.integer("num_attention_heads", 12),
        json.integer("num_channels", 3),
        json.integer("image_size", 224),
        json.integer("patch_size", 16),
        json.number("layer_norm_eps", 1e-6),
        Activation.named(json.text("hidden_act", "gelu_pytorch_tanh")));
  }

  /**
   * Reads a {@code vision_config} of model type internvl_vision; absent keys have transformers'
   * defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static VisionConfig internVl(ConfigJson json) {
    json.requireOneOf("model_type", "internvl_vision");
    json.requireOneOf("use_absolute_position_embeddings", "true");
    json.requireOneOf("use_mask_token", "false");
    json.requireOneOf("use_mean_pooling", "true"); // Else there is a last norm.
    return new VisionConfig(
        intern(
            json,
            json.text("norm_type", "layer_norm"),
            json.flag("use_qk_norm").orElse(false),
            json.flag("attention_bias").orElse(false)),
        json.integer("hidden_size", 1024),
        json.integer("intermediate_size", 4096),
        json.integer("num_hidden_layers", 24),
        json.integer("num_attention_heads", 16),
        json.integer("num_channels", 3),
        side(json, "image_size", 448),
        side(json, "patch_size", 14),
        json.number("layer_norm_eps", 1e-6),
        Activation.named(json.text("hidden_act", "gelu")));
  }

  /**
   * Reads a {@code vision_config} of model type intern_vit_6b, as the original code calls encoders
   * of any size; absent keys have that code's defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static VisionConfig internVit(ConfigJson json) {
    json.requireOneOf("model_type", "intern_vit_6b");
    return new VisionConfig(
        intern(
            json,
            json.text("norm_type", "rms_norm"),
            json.flag("qk_normalization").orElse(true),
            json.flag("qkv_bias").orElse(false)),
        json.integer("hidden_size", 3200),
        json.integer("intermediate_size", 12800),
        json.integer("num_hidden_layers", 48),
        json.integer("num_attention_heads", 25),
        json.integer("num_channels", 3),
        json.integer("image_size", 224),
        json.integer("patch_size", 14),
        json.number("layer_norm_eps", 1e-6),
        Activation.named(json.text("hidden_act", "gelu")));
  }

  private static Kind intern(
      ConfigJson json, String norm, boolean normedQueries, boolean biasedQueries) {
    if (norm.equals("layer_norm") && !normedQueries && biasedQueries) {
      return Kind.INTERN;
    }
    if (norm.equals("rms_norm") && normedQueries && !biasedQueries) {
      // In transformers, the norms of queries and keys have this one whatever the config says.
      json.requireOneOf("layer_norm_eps", "1.0E-6");
      return Kind.INTERN_6B;
    }
    throw new IllegalArgumentException(
        ("Cannot compute a vision encoder with norm_type %s, %s of queries and keys, and %s in their"
                + " projections: supported are InternViT-300M's (layer_norm, no norms, a bias) and"
                + " InternViT-6B's (rms_norm, norms, no bias)")
            .formatted(
                norm, normedQueries ? "norms" : "no norms", biasedQueries ? "a bias" : "no bias"));
  }

  /** A size, or height and width that must be the same. */
  private static int side(ConfigJson json, String key, int fallback) {
    if (!json.has(key)) {
      return fallback;
    }
    List<Integer> sides = json.integers(key);
    if (sides.isEmpty() || sides.size() > 2 || !sides.get(0).equals(sides.get(sides.size() - 1))) {
      throw new IllegalArgumentException(key + " must be one length or the same two, not " + sides);
    }
    return sides.get(0);
  }

  /** Encoder layers up to a feature layer, which counts from the end when negative. */
  public int layersToRun(int featureLayer) {
    int run = featureLayer < 0 ? numHiddenLayers + 1 + featureLayer : featureLayer;
    if (run < 0 || run > numHiddenLayers) {
      throw new IllegalArgumentException(
          "vision_feature_layer must be from %d to %d, not %d"
              .formatted(-numHiddenLayers - 1, numHiddenLayers, featureLayer));
    }
    return run;
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
