package io.sinklens.sink;

import ai.djl.ndarray.NDArray;

/**
 * How much attention each query of each head gives to three groups of keys, which do not overlap.
 *
 * <p>All {@code [row, heads, query]}, float32. Text that is no sink has the rest.
 */
public final class KeyGroupSums {
  private final NDArray visualSinks;
  private final NDArray visualNonsinks;
  private final NDArray textSinks;

  public KeyGroupSums(NDArray visualSinks, NDArray visualNonsinks, NDArray textSinks) {
    this.visualSinks = visualSinks;
    this.visualNonsinks = visualNonsinks;
    this.textSinks = textSinks;
  }

  /** Attention to sinks inside the image. */
  public NDArray visualSinks() {
    return visualSinks;
  }

  /** Attention to image tokens that are no sinks. */
  public NDArray visualNonsinks() {
    return visualNonsinks;
  }

  /** Attention to sinks outside the image, before or after it. */
  public NDArray textSinks() {
    return textSinks;
  }

  /** Attention to the whole image. */
  public NDArray image() {
    return visualSinks.add(visualNonsinks);
  }

  /** Attention to all sinks. */
  public NDArray sinks() {
    return visualSinks.add(textSinks);
  }
}
