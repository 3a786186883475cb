package io.sinklens.model.vision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import io.sinklens.checkpoint.Weights;
import io.sinklens.model.vision.VisionConfig.Kind;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A vision transformer up to the layer whose features a language model reads.
 *
 * <p>Follows {@code modeling_clip.py}, {@code modeling_siglip.py} and {@code modeling_internvl.py}
 * of transformers 4.57. Hidden state 0 is the embeddings (CLIP's after the first norm) and hidden
 * state n the output of layer n, so the usual feature layer -2 leaves the last layer out: it is
 * neither loaded nor run, nor is the last norm.
 *
 * <p>Tensors have CLIP's names: {@code embeddings.patch_embedding}, {@code
 * encoder.layers.N.self_attn.q_proj} and so on; queries, keys and values may be one {@code
 * qkv_proj}, and a scaled branch has {@code layer_scale1} or {@code layer_scale2}.
 */
public final class VisionTransformer {
  private final VisionConfig config;
  private final Operators operators;
  private final @Nullable NDArray classEmbedding; // [hidden], or with ones before
  private final NDArray patchEmbedding; // [hidden, channel, patch size, patch size]
  private final @Nullable NDArray patchBias; // [hidden]
  private final NDArray positions; // [1 + patch, hidden], or without the 1, or with a one before
  private final @Nullable Norm preNorm;
  private final List<Layer> layers;

  /**
   * Takes the weights of an encoder.
   *
   * @param featureLayer the hidden state to return, from the end when negative
   * @throws IllegalArgumentException for a layer the encoder does not have
   */
  public VisionTransformer(
      VisionConfig config, int featureLayer, Weights weights, Operators operators) {
    this.config = config;
    this.operators = operators;
    int hidden = config.hiddenSize();
    Weights embeddings = weights.under("embeddings");
    Kind kind = config.kind();
    classEmbedding = kind.hasClassToken() ? embeddings.get("class_embedding", classShape()) : null;
    patchEmbedding =
        embeddings.get(
            "patch_embedding.weight",
            hidden,
            config.numChannels(),
            config.patchSize(),
            config.patchSize());
    patchBias = kind == Kind.CLIP ? null : embeddings.get("patch_embedding.bias", hidden);
    positions = embeddings.get("position_embedding.weight", positionShape());
    preNorm = // Spelled like that in every checkpoint.
        kind == Kind.CLIP ? new Norm(weights.under("pre_layrnorm")) : null;
    layers = new ArrayList<>();
    for (int i = 0; i < config.layersToRun(featureLayer); i++) {
      layers.add(new Layer(weights.under("encoder.layers." + i)));
    }
  }

  private long[] classShape() {
    int hidden = config.hiddenSize();
    return config.kind().isIntern() ? new long[] {1, 1, hidden} : new long[] {hidden};
  }

  private long[] positionShape() {
    int hidden = config.hiddenSize();
    int positions = config.patches() + (config.kind().hasClassToken() ? 1 : 0);
    return config.kind().isIntern()
        ? new long[] {1, positions, hidden}
        : new long[] {positions, hidden};
  }

  /**
   * Encodes images.
   *
   * @param pixels {@code [image, channel, height, width]} in the weights' dtype
   * @return {@code [image, patch, hidden]} in the manager of {@code pixels}
   */
  public NDArray encode(NDArray pixels) {
    NDManager manager = pixels.getManager();
    try (NDManager scope = manager.newSubManager()) {
      NDArray hidden = embed(pixels, scope);
      for (Layer layer : layers) {
        try (NDManager scratch = scope.newSubManager()) {
          hidden.attach(scratch);
          hidden = layer.forward(hidden);
          hidden.attach(scope);
        }
      }
      NDArray features = classEmbedding == null ? hidden : hidden.get(new NDIndex(":, 1:"));
      features.attach(manager);
      return features;
    }
  }

  private NDArray embed(NDArray pixels, NDManager scope) {
    NDArray patches =
        patchBias == null
            ? operators.patches(pixels, patchEmbedding, config.patchSize())
            : operators.patches(pixels, patchEmbedding, patchBias, config.patchSize());
    patches.attach(scope);
    NDArray tokens =
        classEmbedding == null ? patches : operators.prependToken(patches, classEmbedding);
    NDArray hidden = tokens.add(positions);
    return preNorm == null ? hidden : preNorm.apply(hidden);
  }

  private final class Layer {
    private final Norm norm1;
    private final List<Linear> inputs; // Queries, keys, values; or one for all.
    private final @Nullable Norm queryNorm;
    private final @Nullable Norm keyNorm;
    private final Linear output;
    private final @Nullable NDArray scale1; // [hidden]
    private final Norm norm2;
    private final Linear up;
    private final Linear down;
    private final @Nullable NDArray scale2; // [hidden]

    Layer(Weights weights) {
      int hidden = config.hiddenSize();
      int intermediate = config.intermediateSize();
      norm1 = new Norm(weights.under("layer_norm1"));
      Weights attention = weights.under("self_attn");
      boolean normed = config.kind() == Kind.INTERN_6B;
      Bias bias = normed ? Bias.ABSENT : Bias.PRESENT;
      inputs =
          attention.has("qkv_proj.weight")
              ? List.of(new Linear(attention.under("qkv_proj"), 3 * hidden, hidden, bias))
              : List.of(
                  new Linear(attention.under("q_proj"), hidden, hidden, bias),
                  new Linear(attention.under("k_proj"), hidden, hidden, bias),
                  new Linear(attention.under("v_proj"), hidden, hidden, bias));
      queryNorm = normed ? new Norm(attention.under("q_norm")) : null;
      keyNorm = normed ? new Norm(attention.under("k_norm")) : null;
      output = new Linear(attention.under("out_proj"), hidden, hidden, Bias.PRESENT);
      norm2 = new Norm(weights.under("layer_norm2"));
      up = new Linear(weights.under("mlp.fc1"), intermediate, hidden, Bias.PRESENT);
      down = new Linear(weights.under("mlp.fc2"), hidden, intermediate, Bias.PRESENT);
      boolean scaled = config.kind().isIntern();
      scale1 = scaled ? weights.get("layer_scale1", hidden) : null;
      scale2 = scaled ? weights.get("layer_scale2", hidden) : null;
    }

    NDArray forward(NDArray hidden) {
      NDArray normed = norm1.apply(hidden);
      List<NDArray> projected =
          inputs.size() == 1
              ? thirds(inputs.get(0).apply(normed))
              : inputs.stream().map(input -> input.apply(normed)).toList();
      double scale = Math.pow(headSize(), -0.5);
      NDArray heads =
          operators.attention(
              heads(normed(projected.get(0), queryNorm)),
              heads(normed(projected.get(1), keyNorm)),
              heads(projected.get(2)),
              scale);
      NDArray joined =
          heads
              .transpose(0, 2, 1, 3) // [image, token, heads, headSize]
              .reshape(hidden.getShape());
      NDArray attended = hidden.add(scaled(output.apply(joined), scale1));
      NDArray between = config.hiddenAct().apply(operators, up.apply(norm2.apply(attended)));
      return attended.add(scaled(down.apply(between), scale2));
    }

    private NDArray scaled(NDArray branch, @Nullable NDArray scale) {
      return scale == null ? branch : branch.mul(scale);
    }

    private NDArray normed(NDArray projected, @Nullable Norm norm) {
      return norm == null ? projected : norm.apply(projected);
    }

    private List<NDArray> thirds(NDArray projected) {
      int hidden = config.hiddenSize();
      return IntStream.range(0, 3)
          .mapToObj(i -> projected.get(new NDIndex("..., {}:{}", i * hidden, (i + 1) * hidden)))
          .toList();
    }

    private NDArray heads(NDArray projected) {
      return projected
          .reshape(projected.getShape().get(0), -1, config.numAttentionHeads(), headSize())
          .transpose(0, 2, 1, 3); // [image, heads, token, headSize]
    }

    private int headSize() {
      return config.hiddenSize() / config.numAttentionHeads();
    }
  }

  /** A layer norm, or InternViT-6B's RMS norm. */
  private final class Norm {
    private final NDArray weight; // [hidden]
    private final @Nullable NDArray bias; // [hidden]

    Norm(Weights weights) {
      weight = weights.get("weight", config.hiddenSize());
      bias = config.kind() == Kind.INTERN_6B ? null : weights.get("bias", config.hiddenSize());
    }

    NDArray apply(NDArray x) {
      return bias == null
          ? operators.rmsNorm(x, weight, config.layerNormEps())
          : operators.layerNorm(x, weight, bias, config.layerNormEps());
    }
  }

  private enum Bias {
    PRESENT,
    ABSENT
  }

  private final class Linear {
    private final NDArray weight; // [out, in]
    private final @Nullable NDArray bias; // [out]

    Linear(Weights weights, int out, int in, Bias bias) {
      weight = weights.get("weight", out, in);
      this.bias = bias == Bias.PRESENT ? weights.get("bias", out) : null;
    }

    NDArray apply(NDArray x) {
      return bias == null ? operators.linear(x, weight) : operators.linear(x, weight, bias);
    }
  }
}
