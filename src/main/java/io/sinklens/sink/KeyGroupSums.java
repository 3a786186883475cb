package io.sinklens.sink;

import ai.djl.ndarray.NDArray;

/**
 * How much attention each query of each head gives to three groups of keys, which do not overlap.
 *
 * <p>Text that is no sink has the rest.
 *
 * @param byGroup float32 {@code [image, heads, query, group]}: visual sinks, visual non-sinks, text
 *     sinks
 */
public record KeyGroupSums(NDArray byGroup) {
  /** Groups of keys. */
  public static final int GROUPS = 3;
}
