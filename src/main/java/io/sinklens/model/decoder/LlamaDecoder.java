package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.Weights;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.LlamaConfig.Projection;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The LLaMA decoder, which Vicuna shares: grouped-query attention, rotary positions, gated MLP. So
 * do Mistral, Qwen2 (with biases, in Qwen2-VL with three rotary positions a token) and InternLM2
 * (with its projections in one map).
 *
 * <p>Follows {@code models/llama/modeling_llama.py} of transformers 4.57: norms, softmax and rotary
 * angles in float32, everything else in the weights' dtype. Immutable: the changing part is the
 * {@link KeyValueCache} each pass is given.
 */
public final class LlamaDecoder {
  private final LlamaConfig config;
  private final Operators operators;
  private final Dtype dtype;
  private final NDArray embedding; // [vocabulary, hidden]
  private final List<Layer> layers;
  private final NDArray norm; // [hidden]
  private final NDArray head; // [vocabulary, hidden]
  private final SharedPrefix noPrefix;

  /**
   * Takes the weights of a decoder.
   *
   * @param weights the decoder's own: {@code embed_tokens}, {@code layers.N}, {@code norm}
   * @param headWeights where {@code lm_head.weight} is, unless embeddings are tied
   */
  public LlamaDecoder(
      LlamaConfig config, Weights weights, Weights headWeights, Operators operators, Dtype dtype) {
    this.config = config;
    this.operators = operators;
    this.dtype = dtype;
    embedding = weights.get("embed_tokens.weight", config.vocabSize(), config.hiddenSize());
    layers = new ArrayList<>();
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      layers.add(new Layer(weights.under("layers." + i)));
    }
    norm = weights.get("norm.weight", config.hiddenSize());
    head =
        config.tieWordEmbeddings() // Logits from the rows the embedding reads.
            ? embedding
            : headWeights.get("lm_head.weight", config.vocabSize(), config.hiddenSize());
    NDArray nothing =
        operators.zeros(
            operators.manager(), new Shape(config.numKeyValueHeads(), 0, config.headDim()), dtype);
    noPrefix =
        new SharedPrefix(
            0,
            0,
            layers.stream().map(layer -> nothing).toList(),
            layers.stream().map(layer -> nothing).toList());
  }

  public LlamaConfig config() {
    return config;
  }

  /** What passes without a shared prefix begin with. */
  public SharedPrefix noPrefix() {
    return noPrefix;
  }

  /** An empty cache for own tokens, in the given manager. */
  public KeyValueCache newCache(NDManager manager, int rows, int capacity) {
    return new KeyValueCache(operators, config, dtype, manager, rows, capacity);
  }

  /** Embeddings of token ids: int64 {@code [row, token]} to {@code [row, token, hidden]}. */
  public NDArray embed(NDArray ids) {
    return operators.embedding(ids, embedding);
  }

  /**
   * Runs the layers over new tokens and extends the pass's cache.
   *
   * <p>Where the pass gives no answer token and the hook does not ask for what follows, the last
   * layer stops after its keys and values: nothing would read the rest.
   *
   * @param embeddings {@code [row, query, hidden]}; taken over, use it no more
   * @return the residual stream that enters the final norm {@code [row, query, hidden]}, in the
   *     manager of {@code embeddings}; meaningless where the last layer stopped early
   */
  public NDArray forward(NDArray embeddings, Pass pass, AttentionHook hook) {
    NDManager manager = embeddings.getManager();
    hook.onPass(pass);
    NDArray hidden = embeddings;
    try (NDManager scope = manager.newSubManager()) {
      Step step = new Step(pass, hook, scope);
      for (int i = 0; i < layers.size(); i++) {
        try (NDManager scratch = manager.newSubManager()) {
          hidden.attach(scratch);
          if (hook.asks(Point.HIDDEN_STATES, i)) {
            hook.onHiddenStates(i, hidden);
          }
          hidden = layers.get(i).forward(i, hidden, step);
          hidden.attach(manager);
        }
      }
    }
    if (hook.asks(Point.HIDDEN_STATES, layers.size())) {
      hook.onHiddenStates(layers.size(), hidden);
    }
    return hidden;
  }

  /** Logits of residual streams: {@code [..., hidden]} to float32 {@code [..., vocabulary]}. */
  public NDArray logits(NDArray hidden) {
    try (NDManager scratch = hidden.getManager().newSubManager()) {
      NDArray normed = operators.rmsNorm(hidden, norm, config.rmsNormEps());
      normed.attach(scratch);
      NDArray logits = operators.to(operators.linear(normed, head), Dtype.FLOAT32);
      logits.attach(hidden.getManager());
      return logits;
    }
  }

  /** What is the same for all layers of a pass. */
  private final class Step {
    private final Pass pass;
    private final AttentionHook hook;
    private final NDArray cos; // [row, query, headSize]
    private final NDArray sin;
    private final NDArray mask; // [row, 1, query, own key]

    Step(Pass pass, AttentionHook hook, NDManager scope) {
      this.pass = pass;
      this.hook = hook;
      NDArray own = pass.positions().duplicate();
      own.attach(scope);
      NDArray angles = angles(own, scope);
      cos = operators.to(angles.cos(), dtype);
      sin = operators.to(angles.sin(), dtype);
      mask = operators.causalMask(own, pass.ownKeys(), dtype);
    }

    /** Float32 {@code [row, query, headSize]}. */
    private NDArray angles(NDArray own, NDManager scope) {
      RotaryPositions rotary = pass.rotary();
      if (rotary == null || config.rope().sections().isEmpty()) {
        NDArray positions = own.add(pass.prefix().nextPosition());
        return operators.ropeAngles(positions, config.ropeTheta(), config.headDim());
      }
      return operators.sectionedRopeAngles(
          rotary.axes(scope), config.ropeTheta(), config.rope().sections());
    }
  }

  private final class Layer {
    private final NDArray inputNorm; // [hidden]
    private final Projections attention;
    private final NDArray postAttentionNorm; // [hidden]
    private final NDArray gate; // [intermediate, hidden]
    private final NDArray up; // [intermediate, hidden]
    private final NDArray down; // [hidden, intermediate]

    Layer(Weights weights) {
      int hidden = config.hiddenSize();
      int intermediate = config.intermediateSize();
      inputNorm = weights.get("input_layernorm.weight", hidden);
      attention = new Projections(weights.under("self_attn"));
      postAttentionNorm = weights.get("post_attention_layernorm.weight", hidden);
      gate = weights.get("mlp.gate_proj.weight", intermediate, hidden);
      up = weights.get("mlp.up_proj.weight", intermediate, hidden);
      down = weights.get("mlp.down_proj.weight", hidden, intermediate);
    }

    NDArray forward(int index, NDArray hidden, Step step) {
      NDArray normed = operators.rmsNorm(hidden, inputNorm, config.rmsNormEps());
      if (step.hook.asks(Point.NORMED_INPUT, index)) {
        step.hook.onNormedInput(index, normed, attention);
      }
      Heads heads = attention.project(normed);
      NDArray query = operators.rope(heads.query, step.cos, step.sin);
      NDArray key = operators.rope(heads.key, step.cos, step.sin);
      step.pass.cache().append(index, key, heads.value, step.pass.positions());
      boolean last = index == config.numHiddenLayers() - 1;
      if (last && !step.pass.answers() && !asksBeyondKeys(step.hook, index)) {
        return hidden;
      }
      NDArray outputs = attend(index, query, step);
      if (step.hook.asks(Point.HEAD_OUTPUTS, index)) {
        outputs = step.hook.onHeadOutputs(index, outputs);
      }
      NDArray joined =
          outputs
              .transpose(0, 2, 1, 3) // [row, query, heads, headSize]
              .reshape(step.pass.rows(), step.pass.queries(), -1);
      NDArray attended = hidden.add(operators.linear(joined, attention.output));
      NDArray between = operators.rmsNorm(attended, postAttentionNorm, config.rmsNormEps());
      NDArray gated =
          config
              .hiddenAct()
              .apply(operators, operators.linear(between, gate))
              .mul(operators.linear(between, up));
      return attended.add(operators.linear(gated, down));
    }

    /**
     * Head outputs {@code [row, heads, query, headSize]}, fused unless the hook wants to see in.
     */
    private NDArray attend(int index, NDArray query, Step step) {
      Pass pass = step.pass;
      SharedPrefix prefix = pass.prefix();
      double scale = config.attentionScale();
      NDArray ownKey = pass.cache().key(index, pass.ownKeys());
      NDArray ownValue = pass.cache().value(index, pass.ownKeys());
      boolean wantsScores = step.hook.asks(Point.SCORES, index);
      boolean wantsWeights = step.hook.asks(Point.WEIGHTS, index);
      if (!wantsScores && !wantsWeights) {
        return prefix.length() == 0 && pass.queries() == pass.ownKeys() // From the start.
            ? operators.causalAttention(query, ownKey, ownValue, scale)
            : operators.sharedAttention(
                query, prefix.key(index), prefix.value(index), ownKey, ownValue, step.mask, scale);
      }
      NDArray scores =
          operators.attentionScores(query, prefix.key(index), ownKey, step.mask, scale);
      if (wantsScores) {
        AttentionParts changed = step.hook.onScores(index, parts(scores, prefix.length()));
        scores = operators.concatKeys(changed.prefix(), changed.own());
      }
      AttentionParts weights = parts(operators.softmax(scores), prefix.length());
      if (wantsWeights) {
        weights = step.hook.onWeights(index, weights);
      }
      return operators.attend(weights.prefix(), weights.own(), prefix.value(index), ownValue);
    }
  }

  private static boolean asksBeyondKeys(AttentionHook hook, int layer) {
    return hook.asks(Point.SCORES, layer)
        || hook.asks(Point.WEIGHTS, layer)
        || hook.asks(Point.HEAD_OUTPUTS, layer)
        || hook.asks(Point.HIDDEN_STATES, layer + 1);
  }

  private static AttentionParts parts(NDArray both, int prefixLength) {
    return new AttentionParts(
        both.get(new NDIndex("..., :{}", prefixLength)),
        both.get(new NDIndex("..., {}:", prefixLength)));
  }

  /** Each {@code [row, heads, query, headSize]}, keys and values with key-value heads. */
  private record Heads(NDArray query, NDArray key, NDArray value) {}

  /** The projections of one layer's attention. */
  public final class Projections {
    private final List<Linear> inputs; // Queries, keys, values; or one for all.
    private final NDArray output; // [hidden, heads · headSize]

    Projections(Weights weights) {
      int queries = config.numAttentionHeads() * config.headDim();
      int keys = config.numKeyValueHeads() * config.headDim();
      inputs =
          config.projection() == Projection.GROUPED
              ? List.of(new Linear(weights, "qkv_proj", queries + 2 * keys))
              : List.of(
                  new Linear(weights, "q_proj", queries),
                  new Linear(weights, "k_proj", keys),
                  new Linear(weights, "v_proj", keys));
      output = weights.get("o_proj.weight", config.hiddenSize(), queries);
    }

    private Heads project(NDArray normed) {
      if (config.projection() != Projection.GROUPED) {
        return new Heads(
            heads(inputs.get(0).apply(normed)),
            heads(inputs.get(1).apply(normed)),
            heads(inputs.get(2).apply(normed)));
      }
      NDArray grouped = grouped(normed);
      int group = config.numAttentionHeads() / config.numKeyValueHeads();
      NDArray queries = grouped.get(new NDIndex(":, :, :, :{}", group));
      return new Heads(
          heads(queries),
          heads(grouped.get(new NDIndex(":, :, :, {}", group))),
          heads(grouped.get(new NDIndex(":, :, :, {}", group + 1))));
    }

    /**
     * The values of a normed input {@code [row, query, hidden]}: {@code [row, key-value heads,
     * query, headSize]}.
     */
    public NDArray values(NDArray normed) {
      return config.projection() == Projection.GROUPED
          ? heads(
              grouped(normed)
                  .get(
                      new NDIndex(
                          ":, :, :, {}",
                          config.numAttentionHeads() / config.numKeyValueHeads() + 1)))
          : heads(inputs.get(2).apply(normed));
    }

    /** {@code [hidden, heads · headSize]}. */
    public NDArray output() {
      return output;
    }

    /** {@code [row, query, key-value heads, queries of the group + key + value, headSize]}. */
    private NDArray grouped(NDArray normed) {
      NDArray projected = inputs.get(0).apply(normed);
      Shape shape = projected.getShape();
      return projected.reshape(
          shape.get(0), shape.get(1), config.numKeyValueHeads(), -1, config.headDim());
    }

    private NDArray heads(NDArray projected) {
      Shape shape = projected.getShape();
      return projected
          .reshape(shape.get(0), shape.get(1), -1, config.headDim())
          .transpose(0, 2, 1, 3); // [row, heads, query, headSize]
    }
  }

  /** A linear map of the residual stream, with bias where the projections have one. */
  private final class Linear {
    private final NDArray weight; // [out, hidden]
    private final @Nullable NDArray bias; // [out]

    Linear(Weights weights, String name, int width) {
      weight = weights.get(name + ".weight", width, config.hiddenSize());
      bias = config.projection() == Projection.BIASED ? weights.get(name + ".bias", width) : null;
    }

    NDArray apply(NDArray x) {
      return bias == null ? operators.linear(x, weight) : operators.linear(x, weight, bias);
    }
  }
}
