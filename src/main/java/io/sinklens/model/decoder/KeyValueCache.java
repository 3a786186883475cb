package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;

/** Keys and values of a batch's own tokens, one pair of arrays a layer, filled in place. */
public final class KeyValueCache {
  private final Operators operators;
  private final int capacity;
  private final List<NDArray> keys = new ArrayList<>();
  private final List<NDArray> values = new ArrayList<>();

  /** An empty cache of {@code [rows, key-value heads, capacity, headSize]} a layer. */
  KeyValueCache(
      Operators operators,
      LlamaConfig config,
      Dtype dtype,
      NDManager manager,
      int rows,
      int capacity) {
    this.operators = operators;
    this.capacity = capacity;
    Shape shape = new Shape(rows, config.numKeyValueHeads(), capacity, config.headDim());
    for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
      keys.add(operators.zeros(manager, shape, dtype));
      values.add(operators.zeros(manager, shape, dtype));
    }
  }

  int capacity() {
    return capacity;
  }

  /** Writes a layer's keys and values {@code [row, key-value heads, query, headSize]}. */
  void append(int layer, NDArray key, NDArray value, NDArray positions) {
    operators.cacheAppend(keys.get(layer), key, positions);
    operators.cacheAppend(values.get(layer), value, positions);
  }

  /** A view of the first keys: {@code [row, key-value heads, own key, headSize]}. */
  NDArray key(int layer, int ownKeys) {
    return first(keys.get(layer), ownKeys);
  }

  /** A view of the first values, shaped as the keys. */
  NDArray value(int layer, int ownKeys) {
    return first(values.get(layer), ownKeys);
  }

  /**
   * What one row holds, as a prefix for others; views that live as long as this cache's manager.
   *
   * @param row the row to share
   * @param positions where its tokens stand, and where text goes on
   */
  public SharedPrefix share(int row, RotaryPositions positions) {
    NDIndex index = new NDIndex("{}, :, :{}", row, positions.tokens());
    return new SharedPrefix(
        positions.tokens(),
        positions.next(),
        keys.stream().map(key -> key.get(index)).toList(),
        values.stream().map(value -> value.get(index)).toList());
  }

  private NDArray first(NDArray array, int ownKeys) {
    return ownKeys == capacity ? array : array.get(new NDIndex(":, :, :{}", ownKeys));
  }
}
