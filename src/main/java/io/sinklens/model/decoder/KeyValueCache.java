package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values of all prompts on one image, one pair of arrays a layer, filled in place: first
 * the prefix that all rows share, then the rows' own tokens as they come.
 *
 * <p>Attention is causal, so the prefix depends on nothing that comes after it: neither on the
 * questions nor on a hook that changes later queries. Nothing is copied for a row: the mask of a
 * {@link Segment} says which slots it sees.
 */
public final class KeyValueCache {
  private static final int PREFIX = -1;

  private final RotaryPositions prefix;
  private final Dtype dtype;
  private final int[] rows; // by slot
  private final int[] ownIndices; // by slot
  private final List<NDArray> keys = new ArrayList<>(); // by layer, [key-value heads, slot, size]
  private final List<NDArray> values = new ArrayList<>();
  private final Set<Integer> spoiled = new HashSet<>(); // Rows; the prefix spoils them all.
  private final Operators operators;
  private @Nullable Opening opening;
  private int filled;

  KeyValueCache(
      Operators operators,
      LlamaConfig config,
      Dtype dtype,
      NDManager manager,
      RotaryPositions prefix,
      int ownCapacity) {
    this.operators = operators;
    this.prefix = prefix;
    this.dtype = dtype;
    rows = new int[prefix.tokens() + ownCapacity];
    ownIndices = new int[rows.length];
    Shape shape = new Shape(config.numKeyValueHeads(), rows.length, config.headDim());
    for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
      keys.add(operators.empty(manager, shape, dtype));
      values.add(operators.empty(manager, shape, dtype));
    }
  }

  /** Tokens it can hold. */
  public int capacity() {
    return rows.length;
  }

  /** Tokens it holds. */
  public int filled() {
    return filled;
  }

  /** Where the tokens of the prefix stand, and where text goes on after it. */
  public RotaryPositions prefix() {
    return prefix;
  }

  /** Fills an empty one with the first tokens of its prefix, as they ran before another image. */
  public void beginWith(Opening opening) {
    this.opening = opening;
    for (int layer = 0; layer < keys.size(); layer++) {
      operators.putSlots(keys.get(layer), opening.keys(layer));
      operators.putSlots(values.get(layer), opening.values(layer));
    }
    for (int token = 0; token < opening.tokens(); token++) {
      takeForPrefix();
    }
  }

  /** What it began with; null where all of the prefix runs. */
  @Nullable Opening opening() {
    return opening;
  }

  /** Forgets the own tokens of all rows, to make room for other rows. */
  public void forgetRows() {
    filled = prefix.tokens();
    spoiled.removeIf(row -> row != PREFIX);
  }

  /** Takes the next slot for a token of the prefix. */
  void takeForPrefix() {
    take(PREFIX, filled);
  }

  /** Takes the next slot for a row's token. */
  void take(int row, int ownIndex) {
    if (filled == rows.length) {
      throw new IllegalStateException("Cannot hold more than %d tokens".formatted(filled));
    }
    rows[filled] = row;
    ownIndices[filled] = ownIndex;
    filled++;
  }

  /** Whether a row's token sees what is in a slot. */
  boolean sees(int row, int ownIndex, int slot) {
    return rows[slot] == PREFIX || (rows[slot] == row && ownIndices[slot] <= ownIndex);
  }

  /** Notes that a slot's token was not computed in finite numbers. */
  void spoil(int slot) {
    spoiled.add(rows[slot]);
  }

  /** Whether a row has a token that was not computed in finite numbers. */
  boolean isSpoiled(int row) {
    return spoiled.contains(row) || isPrefixSpoiled();
  }

  /** Whether a token of the prefix was not computed in finite numbers. */
  boolean isPrefixSpoiled() {
    return spoiled.contains(PREFIX);
  }

  Dtype dtype() {
    return dtype;
  }

  /** A layer's keys: {@code [key-value heads, slot, headSize]}. */
  NDArray keys(int layer) {
    return keys.get(layer);
  }

  /** A layer's values, shaped as its keys. */
  NDArray values(int layer) {
    return values.get(layer);
  }
}
