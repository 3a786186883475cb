package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;

/**
 * Attention of a batch as two parts: to the image prefix all rows share, and to each row's own
 * keys.
 *
 * <p>Scores before softmax or weights after it; the weights of a query sum to 1 over both parts.
 */
public final class AttentionParts {
  private final NDArray prefix;
  private final NDArray own;

  /**
   * Joins two parts.
   *
   * @param prefix {@code [row, heads, query, prefix key]}, no prefix key where there is no prefix
   * @param own {@code [row, heads, query, own key]}
   */
  public AttentionParts(NDArray prefix, NDArray own) {
    this.prefix = prefix;
    this.own = own;
  }

  /** {@code [row, heads, query, prefix key]}. */
  public NDArray prefix() {
    return prefix;
  }

  /** {@code [row, heads, query, own key]}. */
  public NDArray own() {
    return own;
  }
}
