package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import io.sinklens.model.decoder.AttentionHook.Point;

/**
 * What hooks do about the attention of segments that run together, for one pass.
 *
 * <p>As in an {@link AttentionHook}, but with the images in front. What is shown of places and
 * queries that are only there to fill the shape is without meaning, and what is returned for them
 * is not used.
 */
public interface JoinedHook {

  /** Changes nothing. */
  JoinedHook NONE = (point, layer) -> false;

  /** Whether it wants to be called at that point, one of those below, of that layer. */
  boolean asks(Point point, int layer);

  /**
   * Shows the residual stream as it enters a layer: {@code [token, hidden]}, segment by segment and
   * nothing in between.
   */
  default void onHiddenStates(int layer, NDArray hiddenStates) {}

  /** Returns the scores to use: {@code [image, heads, query, key]}. */
  default NDArray onScores(int layer, NDArray scores) {
    return scores;
  }

  /** Returns the weights to use: float32 {@code [image, heads, query, key]}. */
  default NDArray onWeights(int layer, NDArray weights) {
    return weights;
  }

  /** Returns the head outputs to use: {@code [image · query, heads · headSize]}. */
  default NDArray onHeadOutputs(int layer, NDArray outputs) {
    return outputs;
  }

  /** A hook alone with its segment. */
  static JoinedHook of(AttentionHook hook, Segment segment) {
    return new JoinedHook() {
      @Override
      public boolean asks(Point point, int layer) {
        return hook.asks(point, layer);
      }

      @Override
      public NDArray onScores(int layer, NDArray scores) {
        return hook.onScores(layer, segment, scores.squeeze(0)).expandDims(0);
      }

      @Override
      public NDArray onWeights(int layer, NDArray weights) {
        return hook.onWeights(layer, segment, weights.squeeze(0)).expandDims(0);
      }

      @Override
      public NDArray onHeadOutputs(int layer, NDArray outputs) {
        return hook.onHeadOutputs(layer, segment, outputs);
      }
    };
  }
}
