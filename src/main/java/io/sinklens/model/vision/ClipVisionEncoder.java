package io.sinklens.model.vision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;

/**
 * CLIP's vision transformer up to the layer whose features a language model reads.
 *
 * <p>Follows {@code models/clip/modeling_clip.py} of transformers 4.57. Hidden state 0 is the
 * embeddings after the first norm and hidden state n the output of layer n, so the usual feature
 * layer -2 leaves the last layer out: it is neither loaded nor run, nor is the last norm.
 */
public final class ClipVisionEncoder {
  private final ClipVisionConfig config;
  private final Operators operators;
  private final NDArray classEmbedding; // [hidden]
  private final NDArray patchEmbedding; // [hidden, channel, patch size, patch size]
  private final NDArray positions; // [1 + patch, hidden]
  private final Norm preNorm;
  private final List<Layer> layers;

  /**
   * Takes the weights of an encoder.
   *
   * @param featureLayer the hidden state to return, from the end when negative
   * @throws IllegalArgumentException for a layer the encoder does not have
   */
  public ClipVisionEncoder(
      ClipVisionConfig config, int featureLayer, Weights weights, Operators operators) {
    this.config = config;
    this.operators = operators;
    int hidden = config.hiddenSize();
    Weights embeddings = weights.under("embeddings");
    classEmbedding = embeddings.get("class_embedding", hidden);
    patchEmbedding =
        embeddings.get(
            "patch_embedding.weight",
            hidden,
            config.numChannels(),
            config.patchSize(),
            config.patchSize());
    positions = embeddings.get("position_embedding.weight", config.patches() + 1, hidden);
    preNorm = new Norm(weights.under("pre_layrnorm")); // Spelled like that in every checkpoint.
    layers = new ArrayList<>();
    for (int i = 0; i < layersToRun(config, featureLayer); i++) {
      layers.add(new Layer(weights.under("encoder.layers." + i)));
    }
  }

  /** Encoder layers up to a feature layer, which counts from the end when negative. */
  public static int layersToRun(ClipVisionConfig config, int featureLayer) {
    int layers = config.numHiddenLayers();
    int run = featureLayer < 0 ? layers + 1 + featureLayer : featureLayer;
    if (run < 0 || run > layers) {
      throw new IllegalArgumentException(
          "vision_feature_layer must be from %d to %d, not %d"
              .formatted(-layers - 1, layers, featureLayer));
    }
    return run;
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
      NDArray patches = operators.patches(pixels, patchEmbedding, config.patchSize());
      patches.attach(scope);
      NDArray hidden =
          preNorm.apply(operators.prependToken(patches, classEmbedding).add(positions));
      for (Layer layer : layers) {
        try (NDManager scratch = scope.newSubManager()) {
          hidden.attach(scratch);
          hidden = layer.forward(hidden);
          hidden.attach(scope);
        }
      }
      NDArray features = hidden.get(new NDIndex(":, 1:")); // Without the class token.
      features.attach(manager);
      return features;
    }
  }

  private final class Layer {
    private final Norm norm1;
    private final Linear query;
    private final Linear key;
    private final Linear value;
    private final Linear output;
    private final Norm norm2;
    private final Linear up;
    private final Linear down;

    Layer(Weights weights) {
      int hidden = config.hiddenSize();
      int intermediate = config.intermediateSize();
      norm1 = new Norm(weights.under("layer_norm1"));
      query = new Linear(weights.under("self_attn.q_proj"), hidden, hidden);
      key = new Linear(weights.under("self_attn.k_proj"), hidden, hidden);
      value = new Linear(weights.under("self_attn.v_proj"), hidden, hidden);
      output = new Linear(weights.under("self_attn.out_proj"), hidden, hidden);
      norm2 = new Norm(weights.under("layer_norm2"));
      up = new Linear(weights.under("mlp.fc1"), intermediate, hidden);
      down = new Linear(weights.under("mlp.fc2"), hidden, intermediate);
    }

    NDArray forward(NDArray hidden) {
      NDArray normed = norm1.apply(hidden);
      double scale = Math.pow((double) config.hiddenSize() / config.numAttentionHeads(), -0.5);
      NDArray heads =
          operators.attention(
              heads(query.apply(normed)),
              heads(key.apply(normed)),
              heads(value.apply(normed)),
              scale);
      NDArray joined =
          heads
              .transpose(0, 2, 1, 3) // [image, token, heads, headSize]
              .reshape(hidden.getShape());
      NDArray attended = hidden.add(output.apply(joined));
      NDArray between = config.hiddenAct().apply(operators, up.apply(norm2.apply(attended)));
      return attended.add(down.apply(between));
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

  private final class Norm {
    private final NDArray weight; // [hidden]
    private final NDArray bias; // [hidden]

    Norm(Weights weights) {
      weight = weights.get("weight", config.hiddenSize());
      bias = weights.get("bias", config.hiddenSize());
    }

    NDArray apply(NDArray x) {
      return operators.layerNorm(x, weight, bias, config.layerNormEps());
    }
  }

  private final class Linear {
    private final NDArray weight; // [out, in]
    private final NDArray bias; // [out]

    Linear(Weights weights, int out, int in) {
      weight = weights.get("weight", out, in);
      bias = weights.get("bias", out);
    }

    NDArray apply(NDArray x) {
      return operators.linear(x, weight, bias);
    }
  }
}
