package io.sinklens.model.vision;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;

/**
 * The shape of Qwen2-VL's vision transformer, under the checkpoint's names.
 *
 * @param depth blocks
 * @param embedDim width of the residual stream
 * @param numHeads heads, a divisor of the width
 * @param mlpRatio width inside the MLP over the width of the residual stream
 * @param hiddenAct activation of the MLP
 * @param hiddenSize width of the embeddings that come out
 * @param patchSize side of a patch in pixels
 * @param spatialMergeSize patches along one side of an image token
 * @param temporalPatchSize frames in a patch; an image is repeated to fill them
 */
public record Qwen2VisionConfig(
    int depth,
    int embedDim,
    int numHeads,
    double mlpRatio,
    Activation hiddenAct,
    int hiddenSize,
    int patchSize,
    int spatialMergeSize,
    int temporalPatchSize) {

  public Qwen2VisionConfig {
    requirePositive("depth", depth);
    requirePositive("embed_dim", embedDim);
    requirePositive("num_heads", numHeads);
    requirePositive("hidden_size", hiddenSize);
    requirePositive("patch_size", patchSize);
    requirePositive("spatial_merge_size", spatialMergeSize);
    requirePositive("temporal_patch_size", temporalPatchSize);
    if (!(mlpRatio * embedDim >= 1 && mlpRatio * embedDim <= Integer.MAX_VALUE)) {
      throw new IllegalArgumentException("mlp_ratio must be above 0, not " + mlpRatio);
    }
    if (embedDim % numHeads != 0) {
      throw new IllegalArgumentException(
          "Cannot split embed_dim %d evenly over num_heads %d".formatted(embedDim, numHeads));
    }
    if (embedDim / numHeads % 4 != 0) {
      throw new IllegalArgumentException(
          "Cannot turn heads of size %d by row and column: embed_dim over num_heads must be a"
                  .formatted(embedDim / numHeads)
              + " multiple of 4");
    }
  }

  /**
   * Reads a {@code vision_config} of model type qwen2_vl; absent keys have transformers' defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static Qwen2VisionConfig of(ConfigJson json) {
    json.requireOneOf("model_type", "qwen2_vl");
    json.requireOneOf("in_channels", "3");
    json.requireOneOf("in_chans", "3"); // The name in published files, which nothing reads.
    int patchSize = json.integer("patch_size", 14);
    json.requireOneOf("spatial_patch_size", String.valueOf(patchSize)); // As above.
    return new Qwen2VisionConfig(
        json.integer("depth", 32),
        json.integer("embed_dim", 1280),
        json.integer("num_heads", 16),
        json.number("mlp_ratio", 4),
        Activation.named(json.text("hidden_act", "quick_gelu")),
        json.integer("hidden_size", 3584),
        patchSize,
        json.integer("spatial_merge_size", 2),
        json.integer("temporal_patch_size", 2));
  }

  /** Width of one head. */
  public int headSize() {
    return embedDim / numHeads;
  }

  /** Width inside the MLP. */
  public int intermediateSize() {
    return (int) (embedDim * mlpRatio);
  }

  /** Pixels along one side of an image token. */
  public int tokenSize() {
    return patchSize * spatialMergeSize;
  }

  private static void requirePositive(String name, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(name + " must be above 0, not " + value);
    }
  }
}
