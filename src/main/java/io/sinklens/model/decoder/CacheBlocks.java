package io.sinklens.model.decoder;

import ai.djl.engine.EngineException;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * Memory for the caches of images that come and go: those of about one size share blocks, in which
 * their rows run through attention together.
 *
 * <p>A block comes with the first image in it and goes with the last. Used by one thread.
 */
public final class CacheBlocks {
  /** Places of a block: on a CPU the keys of few images fill its caches as it is. */
  private static final int PLACES_ON_CPU = 4;

  /** On a GPU what a row adds to a pass costs little, and each operator of one more block much. */
  private static final int PLACES_ON_GPU = 64;

  private final Operators operators;
  private final LlamaConfig config;
  private final Dtype dtype;
  private final int mostPlaces;
  private final List<CacheBlock> blocks = new ArrayList<>();
  private long made;

  CacheBlocks(Operators operators, LlamaConfig config, Dtype dtype) {
    this.operators = operators;
    this.config = config;
    this.dtype = dtype;
    mostPlaces = operators.manager().getDevice().isGpu() ? PLACES_ON_GPU : PLACES_ON_CPU;
  }

  /** Tokens a cache has room for where so many are wanted: up to a sixteenth more. */
  public static int capacity(int tokens) {
    int grain = Math.max(1, Integer.highestOneBit(tokens) / 16);
    return (tokens + grain - 1) / grain * grain;
  }

  /** Tokens of all places, taken or not. */
  public long tokens() {
    return blocks.stream().mapToLong(CacheBlock::tokens).sum();
  }

  /** Whether a cache of so many tokens would need a new block. */
  public boolean isFull(int tokens) {
    return free(capacity(tokens)).isEmpty();
  }

  /**
   * An empty cache for the prompts on one image.
   *
   * @param prefix where the tokens stand that all of them begin with
   * @param ownCapacity tokens after the prefix that the cache can hold at least
   * @param places how many images a new block would best have room for
   */
  public KeyValueCache newCache(RotaryPositions prefix, int ownCapacity, int places) {
    int capacity = capacity(prefix.tokens() + ownCapacity);
    CacheBlock block =
        free(capacity).orElseGet(() -> add(Math.max(1, Math.min(places, mostPlaces)), capacity));
    int place = block.take();
    return new KeyValueCache(
        block,
        place,
        prefix,
        () -> {
          block.leave(place);
          if (block.isEmpty()) {
            blocks.remove(block);
            block.close();
          }
        });
  }

  /** Adds a block of so many places, or of fewer where memory does not suffice. */
  private CacheBlock add(int places, int capacity) {
    try {
      CacheBlock block =
          new CacheBlock(operators, config, dtype, operators.manager(), made++, places, capacity);
      blocks.add(block);
      return block;
    } catch (EngineException e) {
      if (places == 1) {
        throw e;
      }
      return add(places / 2, capacity);
    }
  }

  /** The largest with a free place, so that small ones empty. */
  private Optional<CacheBlock> free(int capacity) {
    return blocks.stream()
        .filter(block -> block.capacity() == capacity && block.hasPlace())
        .max(Comparator.comparingLong(CacheBlock::tokens));
  }
}
