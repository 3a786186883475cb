package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * One run of a batch through the layers: which tokens, after which prefix, with which cache.
 *
 * <p>Own positions count from the end of the prefix; a query sees all of the prefix and the own
 * keys up to its own position.
 */
public final class Pass {
  private final SharedPrefix prefix;
  private final KeyValueCache cache;
  private final NDArray positions;
  private final int ownKeys;
  private final int[] answerQueries;
  private final @Nullable RotaryPositions rotary;

  /**
   * Describes a pass over a prefix itself, of one row, which gives no answer token.
   *
   * @param noPrefix what an empty prefix is to the decoder
   * @param cache filled by the pass
   * @param rotary where the tokens stand
   * @param owner of what the pass needs
   */
  public Pass(SharedPrefix noPrefix, KeyValueCache cache, RotaryPositions rotary, NDManager owner) {
    this.prefix = noPrefix;
    this.cache = cache;
    this.positions = owner.arange(0, rotary.tokens(), 1, DataType.INT64).expandDims(0);
    this.ownKeys = rotary.tokens();
    this.answerQueries = new int[] {-1};
    this.rotary = rotary;
  }

  /**
   * Describes a pass.
   *
   * @param prefix what all rows have seen before their own tokens
   * @param cache keys and values of the rows' own tokens, extended by the pass
   * @param positions own position of every query, int64 {@code [row, query]}
   * @param ownKeys own keys after the pass, the largest position plus one
   * @param answerQueries for every row the query that gives its next answer token, or -1 where none
   *     does: the row is finished, or the pass only fills the cache
   */
  public Pass(
      SharedPrefix prefix,
      KeyValueCache cache,
      NDArray positions,
      int ownKeys,
      int[] answerQueries) {
    this.prefix = prefix;
    this.cache = cache;
    this.positions = positions;
    this.ownKeys = ownKeys;
    this.answerQueries = answerQueries.clone();
    this.rotary = null;
  }

  public SharedPrefix prefix() {
    return prefix;
  }

  KeyValueCache cache() {
    return cache;
  }

  /** Own positions of the queries, int64 {@code [row, query]}. */
  public NDArray positions() {
    return positions;
  }

  /** Where the queries stand for rotary embedding, where that is not one behind the other. */
  @Nullable RotaryPositions rotary() {
    return rotary;
  }

  /** Own keys a row can ever hold in this batch. */
  public int capacity() {
    return cache.capacity();
  }

  /** Rows of the batch. */
  public int rows() {
    return answerQueries.length;
  }

  /** Queries of a row, padding included. */
  public int queries() {
    return (int) positions.getShape().get(1);
  }

  /** Own keys a row holds after this pass, padding included. */
  public int ownKeys() {
    return ownKeys;
  }

  /** The query of a row that gives its next answer token, -1 where none does. */
  public int answerQuery(int row) {
    return answerQueries[row];
  }

  /**
   * The same as indices for {@code Operators.pickQueries}, some query where none does: int64 {@code
   * [row]}.
   */
  public NDArray answerQueries(NDManager owner) {
    return owner.create(
        Arrays.stream(answerQueries).mapToLong(query -> Math.max(query, 0)).toArray());
  }

  /** Whether any row takes an answer token from this pass. */
  public boolean answers() {
    return Arrays.stream(answerQueries).anyMatch(query -> query >= 0);
  }
}
