package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values of all prompts on one image, filled in place: first the prefix that all rows
 * share, then the rows' own tokens as they come. It is a place in a block of memory, where other
 * images have theirs.
 *
 * <p>Attention is causal, so the prefix depends on nothing that comes after it: neither on the
 * questions nor on a hook that changes later queries. Nothing is copied for a row: the mask of a
 * {@link JoinedSegments} says which slots it sees.
 */
public final class KeyValueCache implements AutoCloseable, Comparable<KeyValueCache> {
  private static final int PREFIX = -1;

  private final CacheBlock block;
  private final int place;
  private final RotaryPositions prefix;
  private final Runnable leave;
  private final int[] rows; // by slot
  private final int[] ownIndices; // by slot
  private final Set<Integer> spoiled = new HashSet<>(); // Rows; the prefix spoils them all.
  private final List<Object> guests = new ArrayList<>();
  private @Nullable Opening opening;
  private int filled;
  private boolean closed;

  /**
   * Takes a place in a block.
   *
   * @param leave gives it back
   */
  KeyValueCache(CacheBlock block, int place, RotaryPositions prefix, Runnable leave) {
    this.block = block;
    this.place = place;
    this.prefix = prefix;
    this.leave = leave;
    rows = new int[block.capacity()];
    ownIndices = new int[rows.length];
    for (int layer = 0; layer < layers(); layer++) {
      // Slots nothing has come to are read beside those of fuller images, under weights of 0.
      block.operators().clearSlots(block.keys(layer), place, prefix.tokens());
      block.operators().clearSlots(block.values(layer), place, prefix.tokens());
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
    for (int layer = 0; layer < layers(); layer++) {
      block.operators().putSlots(block.keys(layer), place, opening.keys(layer));
      block.operators().putSlots(block.values(layer), place, opening.values(layer));
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

  CacheBlock block() {
    return block;
  }

  /** Which of the block's places it has. */
  int place() {
    return place;
  }

  /** Which of those it is that keep numbers beside the keys: the first that asks is 0. */
  int ordinal(Object guest) {
    if (!guests.contains(guest)) {
      guests.add(guest);
    }
    return guests.indexOf(guest);
  }

  /** A copy of a layer's first keys: {@code [key-value heads, slot, headSize]}. */
  NDArray copyKeys(int layer, int slots) {
    return block.operators().copySlots(block.keys(layer), place, slots);
  }

  /** A copy of a layer's first values, shaped as its keys. */
  NDArray copyValues(int layer, int slots) {
    return block.operators().copySlots(block.values(layer), place, slots);
  }

  /** Orders caches as they lie in memory. */
  @Override
  public int compareTo(KeyValueCache other) {
    int blocks = Long.compare(block.number(), other.block.number());
    return blocks == 0 ? Integer.compare(place, other.place) : blocks;
  }

  private int layers() {
    return block.layers();
  }

  /** Gives the place back, and the block with the last of them. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      leave.run();
    }
  }
}
