package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.Weights;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.LlamaConfig.Projection;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.Operators.AttentionInputs;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
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
  }

  public LlamaConfig config() {
    return config;
  }

  /** Memory for the caches of images that come and go. */
  public CacheBlocks newCaches() {
    return new CacheBlocks(operators, config, dtype);
  }

  /**
   * An empty cache for the prompts on one image, which is joined with no others, in the given
   * manager.
   *
   * @param prefix where the tokens stand that all of them begin with
   * @param ownCapacity tokens after the prefix that the cache can hold
   */
  public KeyValueCache newCache(NDManager manager, RotaryPositions prefix, int ownCapacity) {
    int capacity = prefix.tokens() + ownCapacity;
    CacheBlock block = new CacheBlock(operators, config, dtype, manager, 0, 1, capacity);
    return new KeyValueCache(block, block.take(), prefix, block::close);
  }

  /** What takes an opening of so many tokens from a prefix that runs. */
  public Opening.Recorder recordOpening(int tokens) {
    return new Opening.Recorder(operators, tokens, layers.size());
  }

  /** Embeddings of token ids: int64 {@code [token]} to {@code [token, hidden]}. */
  public NDArray embed(NDArray ids) {
    return operators.embedding(ids, embedding);
  }

  /**
   * Runs the layers over new tokens and extends their caches.
   *
   * <p>A number that is not finite, in any token of a row up to the last layer, makes the row's
   * answers such numbers, and nobody else's. From the last layer on only the tokens that answer are
   * computed, beside the keys and values of all, unless a hook asks for the hidden states after it.
   *
   * @param embeddings {@code [token, hidden]}, one behind the other as in the pass; taken over, use
   *     it no more
   * @return of the tokens that answer the residual stream that enters the final norm, {@code
   *     [answer token, hidden]}, in the manager of {@code embeddings}
   */
  public NDArray forward(NDArray embeddings, Pass pass) {
    NDManager manager = embeddings.getManager();
    NDArray hidden = embeddings;
    try (NDManager scope = manager.newSubManager()) {
      hidden.attach(scope);
      Notes notes = new Notes(scope);
      for (Segment segment : pass.segments()) {
        segment.enter(scope, notes);
        segment.hook().onSegment(segment);
      }
      NDArray answerTokens = pass.answerTokens(scope);
      boolean whole = asksAny(pass, Point.HIDDEN_STATES, layers.size());
      boolean narrows = !whole && !pass.isAnswering();
      int[] spoiled = new int[0];
      Step step = new Step(pass, scope);
      for (int i = 0; i < layers.size(); i++) {
        try (NDManager scratch = scope.newSubManager()) {
          hidden.attach(scratch);
          showHiddenStates(i, hidden, step);
          boolean last = i == layers.size() - 1;
          if (last) {
            spoiled = pass.spoiledAnswers(operators.finiteRows(hidden));
          }
          hidden = layers.get(i).forward(i, hidden, step, last && narrows ? answerTokens : null);
          hidden.attach(scope);
        }
      }
      if (whole) {
        showHiddenStates(layers.size(), hidden, step);
        hidden = operators.takeRows(hidden, answerTokens);
      }
      notes.read(operators);
      if (spoiled.length > 0) {
        hidden = operators.spoilRows(hidden, spoiled);
      }
      hidden.attach(manager);
    }
    return hidden;
  }

  private static boolean asksAny(Pass pass, Point point, int layer) {
    return pass.segments().stream().anyMatch(segment -> segment.hook().asks(point, layer));
  }

  private void showHiddenStates(int layer, NDArray hidden, Step step) {
    Pass pass = step.pass;
    for (int s = 0; s < pass.segments().size(); s++) {
      Segment segment = pass.segments().get(s);
      if (segment.kind() == null && segment.hook().asks(Point.HIDDEN_STATES, layer)) {
        segment.hook().onHiddenStates(layer, segment, whole(layer, hidden, pass, s));
      }
    }
    for (JoinedSegments segments : step.joined) {
      if (segments.kind() != null && segments.hook().asks(Point.HIDDEN_STATES, layer)) {
        segments
            .hook()
            .onHiddenStates(layer, operators.takeRows(hidden, segments.tokensOfSegments()));
      }
    }
  }

  /** What enters a layer of a segment's tokens and, in a prefix, of those that ran before them. */
  private NDArray whole(int layer, NDArray hidden, Pass pass, int s) {
    NDArray own = rows(hidden, pass, s);
    Segment segment = pass.segments().get(s);
    Opening opening = segment.isPrefix() ? segment.cache().opening() : null;
    return opening == null ? own : operators.prepend(own, opening.hidden(layer));
  }

  private NDArray rows(NDArray x, Pass pass, int segment) {
    return pass.segments().size() == 1
        ? x
        : operators.rows(x, pass.begin(segment), pass.end(segment));
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

  /**
   * Runs nothing of a pass but its products with weights, for measuring how far the rest is from
   * free.
   *
   * @param tokens of the pass
   * @param answers those that give answer tokens
   */
  public void multiply(int tokens, int answers) {
    try (NDManager scope = operators.manager().newSubManager()) {
      NDArray all = embed(scope.zeros(new Shape(tokens), DataType.INT64));
      NDArray answering = operators.rows(all, 0, answers);
      for (int i = 0; i < layers.size(); i++) {
        try (NDManager scratch = scope.newSubManager()) {
          boolean last = i == layers.size() - 1;
          layers.get(i).multiply(all, last ? answering : all, scratch);
        }
      }
      operators.await(operators.linear(answering, head));
    }
  }

  /** Floating-point operations of {@link #multiply}, two for every product. */
  public long multiplications(int tokens, int answers) {
    long hidden = config.hiddenSize();
    long keysAndValues = 2 * hidden * config.numKeyValueHeads() * config.headDim();
    long rest =
        2 * hidden * config.numAttentionHeads() * config.headDim()
            + 3 * hidden * config.intermediateSize();
    long fullLayers = layers.size() - 1L;
    return 2
        * (tokens * (fullLayers * (keysAndValues + rest) + keysAndValues)
            + answers * (rest + hidden * config.vocabSize()));
  }

  /** What is the same for all layers of a pass. */
  private final class Step {
    private final Pass pass;
    private final NDManager scope;
    private final NDArray cos; // [token, headSize]
    private final NDArray sin;
    private final List<JoinedSegments> joined;
    private final List<Arrival> arrivals;
    private final @Nullable NDArray order; // Of outputs, by token; null where they are in order.

    Step(Pass pass, NDManager scope) {
      this.pass = pass;
      this.scope = scope;
      joined = JoinedSegments.of(pass);
      arrivals = arrivals();
      order = order();
      NDArray angles = angles(); // Float32.
      cos = operators.to(angles.cos(), dtype);
      sin = operators.ropeSin(angles, dtype);
    }

    private Step(Step all) {
      pass = all.pass.answering();
      scope = all.scope;
      joined = JoinedSegments.of(pass);
      arrivals = List.of(); // All have been appended.
      order = order();
      cos = all.cos;
      sin = all.sin;
    }

    /** For the queries that answer; the keys stay. */
    Step answering() {
      return new Step(this);
    }

    private List<Arrival> arrivals() {
      Map<CacheBlock, List<Integer>> byBlock = new LinkedHashMap<>();
      for (int s = 0; s < pass.segments().size(); s++) {
        CacheBlock block = pass.segments().get(s).cache().block();
        byBlock.computeIfAbsent(block, absent -> new ArrayList<>()).add(s);
      }
      List<Arrival> arrivals = new ArrayList<>();
      byBlock.forEach(
          (block, segments) -> {
            LongStream.Builder tokens = LongStream.builder();
            LongStream.Builder places = LongStream.builder();
            LongStream.Builder slots = LongStream.builder();
            for (int s : segments) {
              Segment segment = pass.segments().get(s);
              for (int q = 0; q < segment.queries(); q++) {
                tokens.add((long) pass.begin(s) + q);
                places.add(segment.place());
                slots.add((long) segment.firstSlot() + q);
              }
            }
            arrivals.add(
                new Arrival(
                    block,
                    byBlock.size() == 1 ? null : scope.create(tokens.build().toArray()),
                    scope.create(places.build().toArray()),
                    scope.create(slots.build().toArray())));
          });
      return arrivals;
    }

    private @Nullable NDArray order() {
      long[] outputs = new long[pass.tokens()];
      int begin = 0;
      for (JoinedSegments segments : joined) {
        segments.place(outputs, begin);
        begin += segments.images() * segments.queries();
      }
      boolean inOrder = IntStream.range(0, outputs.length).allMatch(i -> outputs[i] == i);
      return inOrder && begin == outputs.length ? null : scope.create(outputs);
    }

    private NDArray angles() {
      List<Integer> sections = config.rope().sections();
      return sections.isEmpty()
          ? operators.ropeAngles(
              pass.positions(scope, 1).reshape(-1), config.ropeTheta(), config.headDim())
          : operators.sectionedRopeAngles(
              pass.positions(scope, sections.size()), config.ropeTheta(), sections);
    }
  }

  /**
   * Where the new tokens in a block of memory go.
   *
   * @param tokens which of the pass they are, int64 {@code [token]}, or null for all
   * @param places of their images, int64 {@code [token]}
   * @param slots in these, int64 {@code [token]}
   */
  private record Arrival(
      CacheBlock block, @Nullable NDArray tokens, NDArray places, NDArray slots) {}

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

    /**
     * Runs the layer.
     *
     * @param answerTokens the only tokens anything but keys and values is wanted of, or null
     */
    NDArray forward(int index, NDArray entering, Step step, @Nullable NDArray answerTokens) {
      showNormedInput(index, entering, step.pass);
      AttentionInputs inputs = attention.inputs(entering, inputNorm, step, answerTokens);
      append(index, inputs.key(), inputs.value(), step);
      NDArray hidden = answerTokens == null ? entering : operators.takeRows(entering, answerTokens);
      Step asking = answerTokens == null ? step : step.answering();
      if (asking.pass.tokens() == 0) {
        return hidden;
      }
      NDArray outputs = attend(index, inputs.query(), asking);
      return operators.addGatedMlp(
          operators.addLinear(hidden, outputs, attention.output),
          postAttentionNorm,
          config.rmsNormEps(),
          gate,
          up,
          down,
          config.hiddenAct());
    }

    /** Only the products with weights, of the numbers at hand. */
    void multiply(NDArray all, NDArray answering, NDManager scratch) {
      NDArray tokens = operators.rows(all, 0, (int) all.getShape().get(0));
      tokens.attach(scratch);
      NDArray asking = operators.rows(answering, 0, (int) answering.getShape().get(0));
      asking.attach(scratch);
      NDArray query = attention.multiply(tokens, asking);
      operators.linear(query, attention.output);
      operators.linear(asking, gate);
      operators.linear(operators.linear(asking, up), down);
    }

    private void showNormedInput(int index, NDArray entering, Pass pass) {
      for (int s = 0; s < pass.segments().size(); s++) {
        AttentionHook hook = pass.segments().get(s).hook();
        if (hook.asks(Point.NORMED_INPUT, index)) {
          NDArray whole = whole(index, entering, pass, s);
          hook.onNormedInput(
              index, operators.rmsNorm(whole, inputNorm, config.rmsNormEps()), attention);
        }
      }
    }

    private void append(int index, NDArray key, NDArray value, Step step) {
      for (Arrival arrival : step.arrivals) {
        operators.cacheAppend(
            arrival.block.keys(index),
            arrival.block.values(index),
            arrival.tokens == null ? key : operators.takeRows(key, arrival.tokens),
            arrival.tokens == null ? value : operators.takeRows(value, arrival.tokens),
            arrival.places,
            arrival.slots);
      }
    }

    /** Head outputs {@code [query, heads · headSize]} of all segments. */
    private NDArray attend(int index, NDArray query, Step step) {
      List<NDArray> outputs = new ArrayList<>();
      for (JoinedSegments segments : step.joined) {
        NDArray ofSegments = attend(index, query, segments);
        outputs.add(
            segments.hook().asks(Point.HEAD_OUTPUTS, index)
                ? segments.hook().onHeadOutputs(index, ofSegments)
                : ofSegments);
      }
      NDArray all = outputs.size() == 1 ? outputs.get(0) : operators.concat(outputs);
      return step.order == null ? all : operators.takeRows(all, step.order);
    }

    /** Head outputs {@code [image · query, heads · headSize]}. */
    private NDArray attend(int index, NDArray query, JoinedSegments segments) {
      NDArray keys = segments.block().keys(index);
      NDArray values = segments.block().values(index);
      int place = segments.firstPlace();
      int images = segments.images();
      double scale = config.attentionScale();
      JoinedHook hook = segments.hook();
      boolean wantsScores = hook.asks(Point.SCORES, index);
      boolean wantsWeights = hook.asks(Point.WEIGHTS, index);
      int begin = segments.begin();
      NDArray asking = query;
      if (begin < 0) {
        asking = operators.takeRows(query, segments.tokens());
        begin = 0;
      }
      int end = begin + images * segments.queries();
      if (!wantsScores && !wantsWeights && segments.isWholePrefix()) {
        int slot = segments.segments().get(0).firstSlot();
        return operators.causalAttend(asking, begin, end, keys, values, place, slot, scale);
      }
      NDArray mask = segments.mask();
      int slots = segments.keys();
      if (!wantsScores && !wantsWeights) {
        return operators.attend(
            asking, begin, end, keys, values, place, images, slots, mask, scale);
      }
      NDArray scores =
          operators.attentionScores(asking, begin, end, keys, place, images, slots, mask, scale);
      if (wantsScores) {
        scores = hook.onScores(index, scores);
      }
      NDArray weights = operators.softmax(scores);
      if (wantsWeights) {
        weights = hook.onWeights(index, weights);
      }
      return operators.weightedValues(weights, values, place);
    }
  }

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

    /** Of all tokens keys and values, and queries, or those of the tokens named. */
    private AttentionInputs inputs(
        NDArray entering, NDArray norm, Step step, @Nullable NDArray queryTokens) {
      return operators.attentionInputs(
          entering,
          norm,
          config.rmsNormEps(),
          inputs.stream().map(input -> input.weight).toList(),
          inputs.stream().flatMap(input -> Stream.ofNullable(input.bias)).toList(),
          config.numKeyValueHeads(),
          config.headDim(),
          step.cos,
          step.sin,
          queryTokens);
    }

    /** Only the products: of all tokens keys and values, of some queries, which are returned. */
    private NDArray multiply(NDArray tokens, NDArray asking) {
      if (config.projection() == Projection.GROUPED) {
        NDArray all = inputs.get(0).apply(tokens);
        long queries = (long) config.numAttentionHeads() * config.headDim();
        return all.get(new NDIndex(":{}, :{}", asking.getShape().get(0), queries));
      }
      inputs.get(1).apply(tokens);
      inputs.get(2).apply(tokens);
      return inputs.get(0).apply(asking);
    }

    /** The values of a normed input {@code [token, hidden]}: {@code [token, heads, headSize]}. */
    public NDArray values(NDArray normed) {
      return config.projection() == Projection.GROUPED
          ? heads(
              grouped(normed)
                  .get(
                      new NDIndex(
                          ":, :, {}", config.numAttentionHeads() / config.numKeyValueHeads() + 1)))
          : heads(inputs.get(2).apply(normed));
    }

    /** {@code [hidden, heads · headSize]}. */
    public NDArray output() {
      return output;
    }

    /** {@code [token, key-value heads, queries of the group + key + value, headSize]}. */
    private NDArray grouped(NDArray normed) {
      NDArray projected = inputs.get(0).apply(normed);
      return projected.reshape(
          projected.getShape().get(0), config.numKeyValueHeads(), -1, config.headDim());
    }

    /** Of no tokens, too, where a reshape cannot find out how many heads there are. */
    private NDArray heads(NDArray projected) {
      Shape shape = projected.getShape();
      long heads = shape.slice(1).size() / config.headDim();
      return projected.reshape(shape.get(0), heads, config.headDim());
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
