package io.sinklens.model.vision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;

/**
 * Qwen2-VL's vision transformer, for images of any size: heads are turned by a patch's row and
 * column instead of adding learned positions, and every patch sees all of the image.
 *
 * <p>Follows {@code models/qwen2_vl/modeling_qwen2_vl.py} of transformers 4.57: norms in the
 * weights' dtype, rotary positions in float32. What joins patches to image tokens is {@code
 * PatchMerger}.
 */
public final class Qwen2VisionEncoder {
  private static final double NORM_EPS = 1e-6;
  private static final double ROPE_THETA = 10000;

  private final Qwen2VisionConfig config;
  private final Operators operators;
  private final Dtype dtype;
  private final NDArray patchEmbedding; // [embed, channel · frame · patch size · patch size]
  private final List<Block> blocks;

  /** Takes {@code patch_embed} and {@code blocks}. */
  public Qwen2VisionEncoder(
      Qwen2VisionConfig config, Weights weights, Operators operators, Dtype dtype) {
    this.config = config;
    this.operators = operators;
    this.dtype = dtype;
    int patch = config.patchSize();
    patchEmbedding =
        weights
            .get(
                "patch_embed.proj.weight",
                config.embedDim(),
                3,
                config.temporalPatchSize(),
                patch,
                patch)
            .reshape(config.embedDim(), -1);
    blocks = new ArrayList<>();
    for (int i = 0; i < config.depth(); i++) {
      blocks.add(new Block(weights.under("blocks." + i)));
    }
  }

  /**
   * Encodes an image.
   *
   * @param pixels {@code [1, channel, height, width]} in the weights' dtype, both sides multiples
   *     of an image token's
   * @return {@code [1, patch, embed]} in the manager of {@code pixels}, the patches of an image
   *     token behind one another
   */
  public NDArray encode(NDArray pixels) {
    NDManager manager = pixels.getManager();
    try (NDManager scope = manager.newSubManager()) {
      NDArray patches =
          operators.mergedPatches(
              pixels, config.patchSize(), config.spatialMergeSize(), config.temporalPatchSize());
      patches.attach(scope);
      NDArray hidden = operators.linear(patches, patchEmbedding);
      Step step = new Step(pixels.getShape(), scope);
      for (Block block : blocks) {
        try (NDManager scratch = scope.newSubManager()) {
          hidden.attach(scratch);
          hidden = block.forward(hidden, step);
          hidden.attach(scope);
        }
      }
      hidden.attach(manager);
      return hidden;
    }
  }

  /** What is the same for all blocks of an image. */
  private final class Step {
    private final NDArray cos; // [patch, headSize], float32
    private final NDArray sin;

    Step(Shape pixels, NDManager scope) {
      MergedGrid grid =
          new MergedGrid(
              (int) pixels.get(2) / config.tokenSize(),
              (int) pixels.get(3) / config.tokenSize(),
              config.spatialMergeSize());
      long[] places = new long[2 * grid.patches()]; // [patch, row and column]
      for (int patch = 0; patch < grid.patches(); patch++) {
        places[2 * patch] = grid.row(patch);
        places[2 * patch + 1] = grid.column(patch);
      }
      NDArray angles =
          operators.planeRopeAngles(
              scope.create(places, new Shape(grid.patches(), 2)), ROPE_THETA, config.headSize());
      cos = angles.cos();
      sin = operators.ropeSin(angles, Dtype.FLOAT32);
    }
  }

  private final class Block {
    private final Norm norm1;
    private final Linear projection; // Queries, keys, values.
    private final Linear output;
    private final Norm norm2;
    private final Linear up;
    private final Linear down;

    Block(Weights weights) {
      int width = config.embedDim();
      int intermediate = config.intermediateSize();
      norm1 = new Norm(weights.under("norm1"));
      projection = new Linear(weights.under("attn.qkv"), 3L * width, width);
      output = new Linear(weights.under("attn.proj"), width, width);
      norm2 = new Norm(weights.under("norm2"));
      up = new Linear(weights.under("mlp.fc1"), intermediate, width);
      down = new Linear(weights.under("mlp.fc2"), width, intermediate);
    }

    NDArray forward(NDArray hidden, Step step) {
      NDArray projected =
          projection
              .apply(norm1.apply(hidden))
              .reshape(-1, 3, config.numHeads(), config.headSize())
              .transpose(1, 0, 2, 3); // [query, key, value; patch, heads, headSize]
      NDArray heads =
          operators.attention(
              byHead(turned(projected.get(0), step)),
              byHead(turned(projected.get(1), step)),
              byHead(projected.get(2)),
              Math.pow(config.headSize(), -0.5));
      NDArray joined =
          heads
              .transpose(0, 2, 1, 3) // [1, patch, heads, headSize]
              .reshape(hidden.getShape());
      NDArray attended = hidden.add(output.apply(joined));
      NDArray between = config.hiddenAct().apply(operators, up.apply(norm2.apply(attended)));
      return attended.add(down.apply(between));
    }

    private NDArray turned(NDArray heads, Step step) {
      return operators.to(operators.rope(heads, step.cos, step.sin), dtype);
    }

    /** {@code [patch, heads, headSize]} to {@code [1, heads, patch, headSize]}. */
    private NDArray byHead(NDArray heads) {
      return heads.transpose(1, 0, 2).expandDims(0);
    }
  }

  private final class Norm {
    private final NDArray weight; // [embed]
    private final NDArray bias; // [embed]

    Norm(Weights weights) {
      weight = weights.get("weight", config.embedDim());
      bias = weights.get("bias", config.embedDim());
    }

    NDArray apply(NDArray x) {
      return operators.layerNorm(x, weight, bias, NORM_EPS);
    }
  }

  private final class Linear {
    private final NDArray weight; // [out, in]
    private final NDArray bias; // [out]

    Linear(Weights weights, long out, long in) {
      weight = weights.get("weight", out, in);
      bias = weights.get("bias", out);
    }

    NDArray apply(NDArray x) {
      return operators.linear(x, weight, bias);
    }
  }
}
