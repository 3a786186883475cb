package io.sinklens.model.decoder;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;

/**
 * The shape of a LLaMA-type decoder, under the checkpoint's names.
 *
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width inside the MLP
 * @param numHiddenLayers decoder layers
 * @param numAttentionHeads query heads
 * @param numKeyValueHeads key-value heads, a divisor of the query heads
 * @param headDim width of one head, even
 * @param vocabSize rows of the embedding
 * @param maxPositionEmbeddings the longest prompt and answer together, in tokens
 * @param rmsNormEps added to the mean square
 * @param ropeTheta base of the rotary angles
 * @param hiddenAct activation of the MLP's gate
 * @param tieWordEmbeddings whether logits use the embedding's rows
 */
public record LlamaConfig(
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int numKeyValueHeads,
    int headDim,
    int vocabSize,
    int maxPositionEmbeddings,
    double rmsNormEps,
    double ropeTheta,
    Activation hiddenAct,
    boolean tieWordEmbeddings) {

  public LlamaConfig {
    requirePositive("hidden_size", hiddenSize);
    requirePositive("intermediate_size", intermediateSize);
    requirePositive("num_hidden_layers", numHiddenLayers);
    requirePositive("num_attention_heads", numAttentionHeads);
    requirePositive("num_key_value_heads", numKeyValueHeads);
    requirePositive("head_dim", headDim);
    requirePositive("vocab_size", vocabSize);
    requirePositive("max_position_embeddings", maxPositionEmbeddings);
    if (numAttentionHeads % numKeyValueHeads != 0) {
      throw new IllegalArgumentException(
          "Cannot share num_key_value_heads %d evenly among num_attention_heads %d"
              .formatted(numKeyValueHeads, numAttentionHeads));
    }
    if (headDim % 2 != 0) {
      throw new IllegalArgumentException("head_dim must be even, not " + headDim);
    }
    if (!(rmsNormEps > 0 && rmsNormEps < 1)) {
      throw new IllegalArgumentException(
          "rms_norm_eps must be above 0 and below 1, not " + rmsNormEps);
    }
    if (!(ropeTheta > 0 && ropeTheta < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException("rope_theta must be above 0, not " + ropeTheta);
    }
  }

  /**
   * Reads a {@code text_config} of model type llama; absent keys have transformers' defaults.
   *
   * @throws IllegalArgumentException for a value this decoder does not compute
   */
  public static LlamaConfig of(ConfigJson json) {
    json.requireOneOf("model_type", "llama");
    json.requireOneOf("attention_bias", "false");
    json.requireOneOf("mlp_bias", "false");
    json.requireAbsent("quantization_config", "quantised weights are not supported");
    int hiddenSize = json.integer("hidden_size", 4096);
    int heads = json.integer("num_attention_heads", 32);
    if (!json.has("head_dim") && (heads <= 0 || hiddenSize % heads != 0)) {
      throw new IllegalArgumentException(
          "Cannot split hidden_size %d evenly over num_attention_heads %d"
              .formatted(hiddenSize, heads));
    }
    return new LlamaConfig(
        hiddenSize,
        json.integer("intermediate_size", 11008),
        json.integer("num_hidden_layers", 32),
        heads,
        json.integer("num_key_value_heads", heads),
        json.has("head_dim") ? json.integer("head_dim") : hiddenSize / heads,
        json.integer("vocab_size", 32000),
        json.integer("max_position_embeddings", 2048),
        json.number("rms_norm_eps", 1e-6),
        ropeTheta(json),
        Activation.named(json.text("hidden_act", "silu")),
        json.flag("tie_word_embeddings").orElse(false));
  }

  /** Factor of the scores: one over the root of the head size. */
  public double attentionScale() {
    return Math.pow(headDim, -0.5);
  }

  /** Either spelling: {@code rope_theta}, or inside {@code rope_parameters} since version 5. */
  private static double ropeTheta(ConfigJson json) {
    for (String key : new String[] {"rope_scaling", "rope_parameters"}) {
      ConfigJson rope = json.optionalChild(key).orElse(null);
      if (rope != null) {
        rope.requireOneOf("rope_type", "default");
        rope.requireOneOf("type", "default");
        if (!rope.has("rope_type") && !rope.has("type")) {
          rope.requireAbsent("factor", "scaled rotary positions are not supported");
        }
        if (rope.has("rope_theta")) {
          return rope.number("rope_theta", 10000);
        }
      }
    }
    return json.number("rope_theta", 10000);
  }

  private static void requirePositive(String name, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(name + " must be above 0, not " + value);
    }
  }
}
