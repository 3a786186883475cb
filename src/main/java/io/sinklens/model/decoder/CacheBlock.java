package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Memory for the keys and values of several images of about one size, so that one operator can read
 * those of all; and for a few more numbers of each, which hooks keep beside them.
 */
final class CacheBlock implements AutoCloseable {
  private final Operators operators;
  private final NDManager manager;
  private final Dtype dtype;
  private final long number;
  private final int places;
  private final int capacity;
  private final BitSet taken = new BitSet(); // by place
  private final List<NDArray> keys = new ArrayList<>(); // by layer, [place, K, slot, headSize]
  private final List<NDArray> values = new ArrayList<>();
  private final Map<String, NDArray> beside = new HashMap<>(); // by name, [place, ...]

  /**
   * Takes memory in a manager.
   *
   * @param number orders blocks
   * @param places images
   * @param capacity tokens of each
   */
  CacheBlock(
      Operators operators,
      LlamaConfig config,
      Dtype dtype,
      NDManager owner,
      long number,
      int places,
      int capacity) {
    this.operators = operators;
    this.dtype = dtype;
    this.number = number;
    this.places = places;
    this.capacity = capacity;
    manager = owner.newSubManager();
    try {
      Shape shape = new Shape(places, config.numKeyValueHeads(), capacity, config.headDim());
      for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
        keys.add(operators.empty(manager, shape, dtype));
        values.add(operators.empty(manager, shape, dtype));
      }
    } catch (RuntimeException | Error e) {
      manager.close();
      throw e;
    }
  }

  Operators operators() {
    return operators;
  }

  Dtype dtype() {
    return dtype;
  }

  /** Rises with every block of its kind. */
  long number() {
    return number;
  }

  int layers() {
    return keys.size();
  }

  /** Tokens of an image. */
  int capacity() {
    return capacity;
  }

  /** Tokens of all images it has room for. */
  long tokens() {
    return (long) places * capacity;
  }

  boolean hasPlace() {
    return taken.cardinality() < places;
  }

  boolean isEmpty() {
    return taken.isEmpty();
  }

  /** Takes the first place that is free. */
  int take() {
    int place = taken.nextClearBit(0);
    taken.set(place);
    return place;
  }

  /** Gives a place back. */
  void leave(int place) {
    taken.clear(place);
  }

  /** A layer's keys: {@code [place, key-value heads, slot, headSize]}. */
  NDArray keys(int layer) {
    return keys.get(layer);
  }

  /** A layer's values, shaped as its keys. */
  NDArray values(int layer) {
    return values.get(layer);
  }

  /** Float32 {@code [place, ...]} of that name, whatever is in it before it is first written. */
  NDArray beside(String name, Shape ofImage) {
    return beside.computeIfAbsent(
        name, key -> operators.empty(manager, new Shape(places).addAll(ofImage), Dtype.FLOAT32));
  }

  @Override
  public void close() {
    manager.close();
  }
}
