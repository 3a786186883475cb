package io.sinklens.model.decoder;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.tensor.Activation;
import java.util.List;
import java.util.Map;

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
 * @param rope rotary positions
 * @param hiddenAct activation of the MLP's gate
 * @param tieWordEmbeddings whether logits use the embedding's rows
 * @param projection how queries, keys and values are projected
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
    Rope rope,
    Activation hiddenAct,
    boolean tieWordEmbeddings,
    Projection projection) {

  /** How a layer makes queries, keys and values of its input. */
  public enum Projection {
    /** Three maps without bias: LLaMA, Mistral. */
    PLAIN,
    /** Three maps with bias: Qwen2. */
    BIASED,
    /**
     * One map whose rows go key-value head by key-value head: its queries, key, value: InternLM2.
     */
    GROUPED
  }

  /**
   * Rotary positions.
   *
   * @param theta base of the angles
   * @param sections how many of a head's frequencies turn by a token's place in time, height and
   *     width; empty where a token has one position
   */
  public record Rope(double theta, List<Integer> sections) {
    public Rope {
      sections = List.copyOf(sections);
      if (!(theta > 0 && theta < Double.POSITIVE_INFINITY)) {
        throw new IllegalArgumentException("rope_theta must be above 0, not " + theta);
      }
      if (!sections.isEmpty()
          && (sections.size() != 3 || sections.stream().anyMatch(section -> section < 1))) {
        throw new IllegalArgumentException(
            "mrope_section must be 3 numbers above 0, not " + sections);
      }
    }
  }

  /** What transformers 4.57 takes for absent keys; 0 key-value heads stand for as many as heads. */
  private record Defaults(
      int vocabSize,
      int hiddenSize,
      int intermediateSize,
      int layers,
      int heads,
      int keyValueHeads,
      int maxPositions,
      double rmsNormEps,
      double ropeTheta,
      Projection projection) {}

  private static final Defaults QWEN2_VL =
      new Defaults(152064, 8192, 29568, 80, 64, 8, 32768, 1e-5, 1e6, Projection.BIASED);

  private static final Map<String, Defaults> DEFAULTS =
      Map.of(
          "llama",
          new Defaults(32000, 4096, 11008, 32, 32, 0, 2048, 1e-6, 1e4, Projection.PLAIN),
          "mistral",
          new Defaults(32000, 4096, 14336, 32, 32, 8, 131072, 1e-6, 1e4, Projection.PLAIN),
          "qwen2",
          new Defaults(151936, 4096, 22016, 32, 32, 32, 32768, 1e-6, 1e4, Projection.BIASED),
          "qwen2_vl_text",
          QWEN2_VL,
          "qwen2_5_vl_text",
          QWEN2_VL,
          "internlm2", // Of its own code, which transformers does not hold.
          new Defaults(103168, 4096, 11008, 32, 32, 0, 2048, 1e-6, 1e4, Projection.GROUPED));

  /** A window as wide as Mistral's where its config does not mention one. */
  private static final int MISTRAL_WINDOW = 4096;

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
    int turned = rope.sections().stream().mapToInt(Integer::intValue).sum();
    if (turned != 0 && 2 * turned != headDim) {
      throw new IllegalArgumentException(
          "mrope_section %s must add up to half the head_dim %d"
              .formatted(rope.sections(), headDim));
    }
  }

  /**
   * Reads the config of a decoder; absent keys have transformers' defaults.
   *
   * @param modelTypes those the caller takes: llama, mistral, qwen2, qwen2_vl_text, qwen2_5_vl_text
   *     or internlm2; the first where the config does not say
   * @throws IllegalArgumentException for a value this decoder does not compute
   */
  public static LlamaConfig of(ConfigJson json, String... modelTypes) {
    json.requireOneOf("model_type", modelTypes);
    return as(json.text("model_type", modelTypes[0]), json);
  }

  /**
   * Reads a decoder's config out of an object whose {@code model_type} is not the decoder's.
   *
   * @param modelType as in {@link #of}
   */
  public static LlamaConfig as(String modelType, ConfigJson json) {
    Defaults defaults = DEFAULTS.get(modelType);
    if (defaults == null) {
      throw new IllegalArgumentException("Cannot compute a decoder of model_type " + modelType);
    }
    if (modelType.equals("internlm2")) {
      json.requireOneOf("bias", "false");
    } else {
      json.requireOneOf("attention_bias", "false");
      json.requireOneOf("mlp_bias", "false");
    }
    json.requireAbsent("quantization_config", "quantised weights are not supported");
    int hiddenSize = json.integer("hidden_size", defaults.hiddenSize);
    int heads = json.integer("num_attention_heads", defaults.heads);
    if (!json.has("head_dim") && (heads <= 0 || hiddenSize % heads != 0)) {
      throw new IllegalArgumentException(
          "Cannot split hidden_size %d evenly over num_attention_heads %d"
              .formatted(hiddenSize, heads));
    }
    return new LlamaConfig(
        hiddenSize,
        json.integer("intermediate_size", defaults.intermediateSize),
        json.integer("num_hidden_layers", defaults.layers),
        heads,
        json.integer(
            "num_key_value_heads", defaults.keyValueHeads == 0 ? heads : defaults.keyValueHeads),
        json.has("head_dim") ? json.integer("head_dim") : hiddenSize / heads,
        json.integer("vocab_size", defaults.vocabSize),
        context(json, modelType, defaults),
        json.number("rms_norm_eps", defaults.rmsNormEps),
        rope(json, modelType, defaults),
        Activation.named(json.text("hidden_act", "silu")),
        json.flag("tie_word_embeddings").orElse(false),
        defaults.projection);
  }

  /** The same, with logits from the embedding's rows. */
  public LlamaConfig withTiedWordEmbeddings() {
    return new LlamaConfig(
        hiddenSize,
        intermediateSize,
        numHiddenLayers,
        numAttentionHeads,
        numKeyValueHeads,
        headDim,
        vocabSize,
        maxPositionEmbeddings,
        rmsNormEps,
        rope,
        hiddenAct,
        true,
        projection);
  }

  /** Base of the rotary angles. */
  public double ropeTheta() {
    return rope.theta();
  }

  /** Factor of the scores: one over the root of the head size. */
  public double attentionScale() {
    return Math.pow(headDim, -0.5);
  }

  /** Within a sliding window, attention is what it is without one; so contexts end there. */
  private static int context(ConfigJson json, String modelType, Defaults defaults) {
    int positions = json.integer("max_position_embeddings", defaults.maxPositions);
    boolean slides = modelType.equals("mistral") || json.flag("use_sliding_window").orElse(false);
    if (!slides || (json.keys().contains("sliding_window") && !json.has("sliding_window"))) {
      return positions;
    }
    return Math.min(positions, json.integer("sliding_window", MISTRAL_WINDOW));
  }

  /** Either spelling: {@code rope_theta}, or inside {@code rope_parameters} since version 5. */
  private static Rope rope(ConfigJson json, String modelType, Defaults defaults) {
    for (String key : new String[] {"rope_scaling", "rope_parameters"}) {
      ConfigJson rope = json.optionalChild(key).orElse(null);
      if (rope != null) {
        // Dynamic scaling begins beyond max_position_embeddings, where no prompt gets.
        String other = modelType.contains("_vl") ? "mrope" : "dynamic";
        rope.requireOneOf("rope_type", "default", other);
        rope.requireOneOf("type", "default", other);
        if (!rope.has("rope_type") && !rope.has("type")) {
          rope.requireAbsent("factor", "scaled rotary positions are not supported");
        }
        if (!modelType.contains("_vl")) {
          rope.requireAbsent("mrope_section", "model_type " + modelType + " has one position");
        }
        return new Rope(
            rope.number("rope_theta", json.number("rope_theta", defaults.ropeTheta)),
            rope.has("mrope_section") ? rope.integers("mrope_section") : List.of());
      }
    }
    return new Rope(json.number("rope_theta", defaults.ropeTheta), List.of());
  }

  private static void requirePositive(String name, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(name + " must be above 0, not " + value);
    }
  }
}
