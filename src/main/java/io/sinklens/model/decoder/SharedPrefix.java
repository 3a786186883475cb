package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import java.util.List;

/**
 * Keys and values of the tokens every row of a batch begins with, read by all and copied by none.
 *
 * <p>Attention is causal, so they depend on nothing that comes after: not on the question, and not
 * on a hook that changes later queries.
 */
public final class SharedPrefix {
  private final int length;
  private final int nextPosition;
  private final List<NDArray> keys;
  private final List<NDArray> values;

  /** Takes one array a layer, each {@code [key-value heads, prefix key, headSize]}. */
  SharedPrefix(int length, int nextPosition, List<NDArray> keys, List<NDArray> values) {
    this.length = length;
    this.nextPosition = nextPosition;
    this.keys = List.copyOf(keys);
    this.values = List.copyOf(values);
  }

  /** Tokens of the prefix. */
  public int length() {
    return length;
  }

  /** Rotary position of the first token after the prefix. */
  int nextPosition() {
    return nextPosition;
  }

  NDArray key(int layer) {
    return keys.get(layer);
  }

  NDArray value(int layer) {
    return values.get(layer);
  }
}
