package io.sinklens.model.vision;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;
import java.util.List;

/**
 * The shape of Qwen2.5-VL's vision transformer, under the checkpoint's names.
 *
 * @param depth blocks
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width inside the MLP
 * @param numHeads heads, a divisor of the width
 * @param hiddenAct activation of the MLP's gate
 * @param outHiddenSize width of the embeddings that come out
 * @param patchSize side of a patch in pixels
 * @param spatialMergeSize patches along one side of an image token
 * @param temporalPatchSize frames in a patch; an image is repeated to fill them
 * @param windowSize side of an attention window in pixels, a multiple of an image token's
 * @param fullAttentionBlocks blocks whose attention goes over the whole image ({@code
 *     fullatt_block_indexes}), from 0
 */
public record Qwen25VisionConfig(
    int depth,
    int hiddenSize,
    int intermediateSize,
    int numHeads,
    Activation hiddenAct,
    int outHiddenSize,
    int patchSize,
    int spatialMergeSize,
    int temporalPatchSize,
    int windowSize,
    List<Integer> fullAttentionBlocks) {

  public Qwen25VisionConfig {
    fullAttentionBlocks = List.copyOf(fullAttentionBlocks);
    requirePositive("depth", depth);
    requirePositive("hidden_size", hiddenSize);
    requirePositive("intermediate_size", intermediateSize);
    requirePositive("num_heads", numHeads);
    requirePositive("out_hidden_size", outHiddenSize);
    requirePositive("patch_size", patchSize);
    requirePositive("spatial_merge_size", spatialMergeSize);
    requirePositive("temporal_patch_size", temporalPatchSize);
    requirePositive("window_size", windowSize);
    if (hiddenSize % numHeads != 0) {
      throw new IllegalArgumentException(
          "Cannot split hidden_size %d evenly over num_heads %d".formatted(hiddenSize, numHeads));
    }
    if (hiddenSize / numHeads % 4 != 0) {
      throw new IllegalArgumentException(
          "Cannot turn heads of size %d by row and column: hidden_size over num_heads must be a"
                  .formatted(hiddenSize / numHeads)
              + " multiple of 4");
    }
    if (windowSize % (patchSize * spatialMergeSize) != 0) {
      throw new IllegalArgumentException(
          "window_size must be a multiple of patch_size times spatial_merge_size, %d, not %d"
              .formatted(patchSize * spatialMergeSize, windowSize));
    }
    for (int block : fullAttentionBlocks) {
      if (block < 0 || block >= depth) {
        throw new IllegalArgumentException(
            "fullatt_block_indexes must be from 0 to depth %d minus 1, not %d"
                .formatted(depth, block));
      }
    }
  }

  /**
   * Reads a {@code vision_config} of model type qwen2_5_vl; absent keys have transformers'
   * defaults.
   *
   * @throws IllegalArgumentException for a value this encoder does not compute
   */
  public static Qwen25VisionConfig of(ConfigJson json) {
    json.requireOneOf("model_type", "qwen2_5_vl");
    json.requireOneOf("in_channels", "3");
    json.requireOneOf("in_chans", "3"); // The name in published files, which nothing reads.
    int patchSize = json.integer("patch_size", 14);
    json.requireOneOf("spatial_patch_size", String.valueOf(patchSize)); // As above.
    return new Qwen25VisionConfig(
        json.integer("depth", 32),
        json.integer("hidden_size", 3584),
        json.integer("intermediate_size", 3420),
        json.integer("num_heads", 16),
        Activation.named(json.text("hidden_act", "silu")),
        json.integer("out_hidden_size", 3584),
        patchSize,
        json.integer("spatial_merge_size", 2),
        json.integer("temporal_patch_size", 2),
        json.integer("window_size", 112),
        json.has("fullatt_block_indexes")
            ? json.integers("fullatt_block_indexes")
            : List.of(7, 15, 23, 31));
  }

  /** Width of one head. */
  public int headSize() {
    return hiddenSize / numHeads;
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
