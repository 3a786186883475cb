package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.Pass;
import io.sinklens.sink.SinkRule.SinkTokens;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The sinks of one batch: which keys they are, layer by layer, and what attention they receive.
 *
 * <p>Rows share a prefix and its sink values, and each has a rule of its own. Made for one batch
 * and closed with it; shown every pass and every layer's hidden states in order.
 */
public final class SinkDetector implements AutoCloseable {
  private final Operators operators;
  private final NDManager manager;
  private final PrefixSinkValues prefix;
  private final int imageStart;
  private final List<SinkRule> rules;
  private final int[] promptLengths;
  private final NDArray smallest; // [row, 1]
  private final NDArray[] prefixGroups; // by layer, [row, prefix key, 3]
  private final NDArray[] ownSinks; // by layer, [row, 1, capacity, 1]
  private final NDArray[] promptValues; // by layer, [row, own prompt key]
  private @Nullable NDArray sinkable; // [row, query]: 1 where the rule looks at the token
  private @Nullable NDArray positions; // [row, query]
  private int ownKeys;

  /**
   * Prepares for one batch.
   *
   * @param prefix sink values of what all rows begin with
   * @param imageStart position of the first image token in the prefix; the image ends with it
   * @param rules one a row
   * @param promptLengths own prompt tokens of each row, after the prefix
   */
  public SinkDetector(
      Operators operators,
      PrefixSinkValues prefix,
      int imageStart,
      List<SinkRule> rules,
      int[] promptLengths) {
    this.operators = operators;
    this.prefix = prefix;
    this.imageStart = imageStart;
    this.rules = List.copyOf(rules);
    this.promptLengths = promptLengths.clone();
    manager = operators.manager().newSubManager();
    float[] thresholds = new float[rules.size()];
    for (int r = 0; r < thresholds.length; r++) {
      thresholds[r] = rules.get(r).smallest();
    }
    smallest = manager.create(thresholds, new Shape(thresholds.length, 1));
    prefixGroups = new NDArray[prefix.layers()];
    ownSinks = new NDArray[prefix.layers()];
    promptValues = new NDArray[prefix.layers()];
  }

  /** Whether this layer can have sinks at all. */
  public boolean covers(int layer) {
    return layer >= SinkRule.FIRST_LAYER && layer < prefix.layers();
  }

  /** Notes which of the pass's tokens can be sinks. */
  public void onPass(Pass pass) {
    long[] at = pass.positions().toLongArray();
    float[] allowed = new float[at.length];
    int queries = pass.queries();
    for (int i = 0; i < at.length; i++) {
      int row = i / queries;
      boolean prompt = at[i] < promptLengths[row];
      boolean generated = !prompt && queries == 1; // A longer pass holds padding there.
      boolean all = rules.get(row).tokens() == SinkTokens.ALL;
      allowed[i] = prompt || (all && generated) ? 1 : 0;
    }
    replace(sinkable);
    replace(positions);
    sinkable = manager.create(allowed, pass.positions().getShape());
    positions = manager.create(at, pass.positions().getShape());
    for (int layer = SinkRule.FIRST_LAYER; ownKeys == 0 && layer < ownSinks.length; layer++) {
      ownSinks[layer] = manager.zeros(new Shape(rules.size(), 1, pass.capacity(), 1));
    }
    ownKeys = pass.ownKeys();
  }

  /** Finds the sinks among the pass's own tokens, entering a layer it {@link #covers}. */
  public void onHiddenStates(int layer, NDArray hiddenStates) {
    try (NDManager scratch = manager.newSubManager()) {
      NDArray values = prefix.valuesOf(hiddenStates);
      values.attach(scratch);
      NDArray sinks = values.gte(smallest).toType(DataType.FLOAT32, false).mul(sinkable);
      operators.cacheAppend(
          ownSinks[layer], sinks.expandDims(1).expandDims(3), required(positions));
      if (promptValues[layer] == null) {
        promptValues[layer] = values;
        values.attach(manager);
      }
    }
  }

  /**
   * Adds up attention by group of keys.
   *
   * @param weights of a layer it {@link #covers}, float32
   */
  public KeyGroupSums sums(int layer, AttentionParts weights) {
    Shape shape = weights.prefix().getShape(); // [row, heads, query, prefix key]
    NDArray groups =
        weights
            .prefix()
            .reshape(shape.get(0), -1, shape.get(3))
            .matMul(prefixGroups(layer)) // [row, heads · query, 3]
            .reshape(shape.get(0), shape.get(1), shape.get(2), 3);
    NDArray own =
        weights
            .own()
            .reshape(shape.get(0), -1, ownKeys)
            .matMul(ownSinks(layer).reshape(shape.get(0), ownKeys, 1))
            .reshape(shape.get(0), shape.get(1), shape.get(2));
    return new KeyGroupSums(
        groups.get(new NDIndex("..., 0")),
        groups.get(new NDIndex("..., 1")),
        groups.get(new NDIndex("..., 2")).add(own));
  }

  /**
   * Where the keys of each group are in the prefix, as 0 and 1: {@code [row, prefix key, group]},
   * groups visual sinks, visual non-sinks, text sinks.
   */
  public NDArray prefixGroups(int layer) {
    if (prefixGroups[layer] == null) {
      try (NDManager scratch = manager.newSubManager()) {
        NDArray values = prefix.at(layer).duplicate();
        values.attach(scratch);
        NDArray sinks = values.gte(smallest).toType(DataType.FLOAT32, false); // [row, prefix key]
        NDArray image =
            scratch
                .arange((int) values.getShape().get(1))
                .gte(imageStart)
                .toType(DataType.FLOAT32, false)
                .expandDims(0);
        NDArray visual = sinks.mul(image);
        NDArray nonsinks = image.sub(visual);
        NDArray text = sinks.sub(visual);
        prefixGroups[layer] = NDArrays.stack(new NDList(visual, nonsinks, text), 2);
        prefixGroups[layer].attach(manager);
      }
    }
    return prefixGroups[layer];
  }

  /** Which own keys are sinks, as 0 and 1: {@code [row, 1, 1, own key]}. */
  public NDArray ownSinks(int layer) {
    return ownSinks[layer]
        .get(new NDIndex(":, :, :{}", ownKeys))
        .reshape(rules.size(), 1, 1, ownKeys);
  }

  /** Where a row's sinks inside the image are in the prefix, rising. */
  public int[] visualSinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.at(layer).toFloatArray();
    return IntStream.range(imageStart, values.length).filter(i -> values[i] >= threshold).toArray();
  }

  /** Where a row's image tokens that are no sinks are in the prefix, rising. */
  public int[] visualNonsinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.at(layer).toFloatArray();
    return IntStream.range(imageStart, values.length).filter(i -> values[i] < threshold).toArray();
  }

  /** Number of image tokens. */
  public int imageTokens() {
    return (int) prefix.at(SinkRule.FIRST_LAYER).getShape().get(1) - imageStart;
  }

  /** The sinks of one row's prompt at every layer that can have some. */
  public List<LayerSinks> promptSinks(int row) {
    List<LayerSinks> layers = new ArrayList<>();
    float threshold = rules.get(row).smallest();
    for (int layer = SinkRule.FIRST_LAYER; layer < prefix.layers(); layer++) {
      float[] shared = prefix.at(layer).toFloatArray();
      float[] own = promptValues[layer].get(row).toFloatArray();
      List<Integer> image = new ArrayList<>();
      List<Integer> text = new ArrayList<>();
      float maxValue = 0;
      for (int i = 0; i < shared.length; i++) {
        if (i >= imageStart) {
          maxValue = Math.max(maxValue, shared[i]);
        }
        if (shared[i] >= threshold) {
          (i >= imageStart ? image : text).add(i >= imageStart ? i - imageStart : i);
        }
      }
      for (int i = 0; i < promptLengths[row]; i++) {
        if (own[i] >= threshold) {
          text.add(shared.length + i);
        }
      }
      layers.add(new LayerSinks(layer, image, text, maxValue));
    }
    return layers;
  }

  @Override
  public void close() {
    manager.close();
  }

  private static void replace(@Nullable NDArray array) {
    if (array != null) {
      array.close();
    }
  }

  private static NDArray required(@Nullable NDArray array) {
    if (array == null) {
      throw new IllegalStateException("Cannot see hidden states before a pass");
    }
    return array;
  }
}
