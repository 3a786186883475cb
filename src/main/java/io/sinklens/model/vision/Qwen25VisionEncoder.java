package io.sinklens.model.vision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Qwen2.5-VL's vision transformer, for images of any size: most blocks look no further than a
 * square window of the image, a few over all of it.
 *
 * <p>Follows {@code models/qwen2_5_vl/modeling_qwen2_5_vl.py} of transformers 4.57: norms and
 * rotary positions in float32. Where transformers goes through the windows one by one, here those
 * of one size lie behind one another and run as a batch; the last row and the last column of
 * windows may be smaller, so there are at most four sizes. What joins patches to image tokens is
 * {@code PatchMerger}.
 */
public final class Qwen25VisionEncoder {
  private static final double NORM_EPS = 1e-6;
  private static final double ROPE_THETA = 10000;

  private final Qwen25VisionConfig config;
  private final Operators operators;
  private final Dtype dtype;
  private final NDArray patchEmbedding; // [hidden, channel · frame · patch size · patch size]
  private final List<Block> blocks;

  /** Takes {@code patch_embed} and {@code blocks}. */
  public Qwen25VisionEncoder(
      Qwen25VisionConfig config, Weights weights, Operators operators, Dtype dtype) {
    this.config = config;
    this.operators = operators;
    this.dtype = dtype;
    int patch = config.patchSize();
    patchEmbedding =
        weights
            .get(
                "patch_embed.proj.weight",
                config.hiddenSize(),
                3,
                config.temporalPatchSize(),
                patch,
                patch)
            .reshape(config.hiddenSize(), -1);
    blocks = new ArrayList<>();
    for (int i = 0; i < config.depth(); i++) {
      blocks.add(new Block(i, weights.under("blocks." + i)));
    }
  }

  /**
   * Encodes an image.
   *
   * @param pixels {@code [1, channel, height, width]} in the weights' dtype, both sides multiples
   *     of an image token's
   * @return {@code [1, patch, hidden]} in the manager of {@code pixels}, the patches of an image
   *     token behind one another
   */
  public NDArray encode(NDArray pixels) {
    NDManager manager = pixels.getManager();
    try (NDManager scope = manager.newSubManager()) {
      NDArray patches =
          operators.mergedPatches(
              pixels, config.patchSize(), config.spatialMergeSize(), config.temporalPatchSize());
      patches.attach(scope);
      Step step = new Step(pixels.getShape(), scope);
      NDArray hidden =
          operators
              .takeRows(operators.linear(patches, patchEmbedding).squeeze(0), step.order)
              .expandDims(0);
      for (Block block : blocks) {
        try (NDManager scratch = scope.newSubManager()) {
          hidden.attach(scratch);
          hidden = block.forward(hidden, step);
          hidden.attach(scope);
        }
      }
      NDArray features = operators.takeRows(hidden.squeeze(0), step.places).expandDims(0);
      features.attach(manager);
      return features;
    }
  }

  /**
   * Windows of one size, their patches behind one another.
   *
   * @param windows how many
   * @param patches of each
   */
  private record Group(int windows, int patches) {}

  /** What is the same for all blocks of an image. */
  private final class Step {
    private final List<Group> groups = new ArrayList<>();
    private final NDArray order; // the patch that stands at a place, int64 [place]
    private final NDArray places; // where a patch stands, int64 [patch]
    private final NDArray cos; // [place, headSize], float32
    private final NDArray sin;

    Step(Shape pixels, NDManager scope) {
      MergedGrid grid =
          new MergedGrid(
              (int) pixels.get(2) / config.tokenSize(),
              (int) pixels.get(3) / config.tokenSize(),
              config.spatialMergeSize());
      List<Integer> ordered = new ArrayList<>(grid.patches());
      for (List<List<Integer>> windows : windowsBySize(grid)) {
        groups.add(new Group(windows.size(), windows.get(0).size()));
        windows.forEach(ordered::addAll);
      }
      long[] patchAt = new long[grid.patches()];
      long[] placeOf = new long[grid.patches()];
      long[] rowAndColumn = new long[2 * grid.patches()]; // [place, row and column]
      for (int place = 0; place < patchAt.length; place++) {
        int patch = ordered.get(place);
        patchAt[place] = patch;
        placeOf[patch] = place;
        rowAndColumn[2 * place] = grid.row(patch);
        rowAndColumn[2 * place + 1] = grid.column(patch);
      }
      order = scope.create(patchAt);
      places = scope.create(placeOf);
      NDArray angles =
          operators.planeRopeAngles(
              scope.create(rowAndColumn, new Shape(grid.patches(), 2)),
              ROPE_THETA,
              config.headSize());
      cos = angles.cos();
      sin = operators.ropeSin(angles, Dtype.FLOAT32);
    }

    /** Patches of every window, windows of as many rows and columns of tokens together. */
    private List<List<List<Integer>>> windowsBySize(MergedGrid grid) {
      int side = config.windowSize() / config.tokenSize();
      Map<List<Integer>, List<List<Integer>>> bySize = new LinkedHashMap<>();
      for (int top = 0; top < grid.tokenRows(); top += side) {
        for (int left = 0; left < grid.tokenColumns(); left += side) {
          int bottom = Math.min(grid.tokenRows(), top + side);
          int right = Math.min(grid.tokenColumns(), left + side);
          List<Integer> window = new ArrayList<>();
          for (int row = top; row < bottom; row++) {
            for (int column = left; column < right; column++) {
              int first = (row * grid.tokenColumns() + column) * grid.patchesPerToken();
              for (int patch = first; patch < first + grid.patchesPerToken(); patch++) {
                window.add(patch);
              }
            }
          }
          bySize
              .computeIfAbsent(List.of(bottom - top, right - left), size -> new ArrayList<>())
              .add(window);
        }
      }
      return List.copyOf(bySize.values());
    }
  }

  private final class Block {
    private final boolean seesAll;
    private final NDArray norm1; // [hidden]
    private final Linear projection; // Queries, keys, values.
    private final Linear output;
    private final NDArray norm2; // [hidden]
    private final Linear gate;
    private final Linear up;
    private final Linear down;

    Block(int index, Weights weights) {
      int hidden = config.hiddenSize();
      int intermediate = config.intermediateSize();
      seesAll = config.fullAttentionBlocks().contains(index);
      norm1 = weights.get("norm1.weight", hidden);
      projection = new Linear(weights.under("attn.qkv"), 3L * hidden, hidden);
      output = new Linear(weights.under("attn.proj"), hidden, hidden);
      norm2 = weights.get("norm2.weight", hidden);
      gate = new Linear(weights.under("mlp.gate_proj"), intermediate, hidden);
      up = new Linear(weights.under("mlp.up_proj"), intermediate, hidden);
      down = new Linear(weights.under("mlp.down_proj"), hidden, intermediate);
    }

    NDArray forward(NDArray hidden, Step step) {
      NDArray projected =
          projection
              .apply(operators.rmsNorm(hidden, norm1, NORM_EPS))
              .reshape(-1, 3, config.numHeads(), config.headSize())
              .transpose(1, 0, 2, 3); // [query, key, value; patch, heads, headSize]
      NDArray query = turned(projected.get(0), step);
      NDArray key = turned(projected.get(1), step);
      NDArray value = projected.get(2);
      List<Group> groups =
          seesAll ? List.of(new Group(1, (int) query.getShape().get(0))) : step.groups;
      NDArray joined = attend(query, key, value, groups).expandDims(0);
      NDArray attended = hidden.add(output.apply(joined));
      NDArray between = operators.rmsNorm(attended, norm2, NORM_EPS);
      NDArray gated =
          config.hiddenAct().apply(operators, gate.apply(between)).mul(up.apply(between));
      return attended.add(down.apply(gated));
    }

    private NDArray turned(NDArray heads, Step step) {
      return operators.to(operators.rope(heads, step.cos, step.sin), dtype);
    }

    /** All {@code [patch, heads, headSize]}, window after window, to {@code [patch, hidden]}. */
    private NDArray attend(NDArray query, NDArray key, NDArray value, List<Group> groups) {
      List<NDArray> attended = new ArrayList<>();
      int from = 0;
      for (Group group : groups) {
        int to = from + group.windows * group.patches;
        attended.add(
            operators
                .attention(
                    windows(query, from, to, group),
                    windows(key, from, to, group),
                    windows(value, from, to, group),
                    Math.pow(config.headSize(), -0.5))
                .transpose(0, 2, 1, 3) // [window, patch, heads, headSize]
                .reshape(-1, config.hiddenSize()));
        from = to;
      }
      return operators.concat(attended);
    }

    /** {@code [patch, heads, headSize]} to {@code [window, heads, patch, headSize]}. */
    private NDArray windows(NDArray heads, int from, int to, Group group) {
      return operators
          .rows(heads, from, to)
          .reshape(group.windows, group.patches, config.numHeads(), config.headSize())
          .transpose(0, 2, 1, 3);
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
