package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import org.jspecify.annotations.Nullable;

/**
 * Watches or changes the attention of some rows on one image, or of the prefix before them, from
 * inside the model.
 *
 * <p>A hook is made for its rows and thrown away with them. For every pass with tokens of them,
 * {@link #onSegment} comes first, then layer by layer, from 0: hidden states, normed input, scores,
 * weights, head outputs; at each layer the hidden states and normed input of a prefix come before
 * the attention of its rows. All calls come from one thread. A point is offered only where {@link
 * #asks} said yes, and what no hook asks for is not computed.
 *
 * <p>Hidden states and normed input of a prefix are those of all its tokens, even where its first
 * ones ran before another image and only the others run now, as the segment says.
 *
 * <p>In the last layer nothing is read but the queries that give answer tokens. A hook is shown
 * these alone, as the segment it is given says, unless some hook of the pass asks for the hidden
 * states after that layer.
 *
 * <p>Arrays belong to the layer's scope: attach or copy what shall outlive the call, and change
 * nothing in place.
 */
public interface AttentionHook {

  /** Leaves the model as its authors published it. */
  AttentionHook NONE =
      new AttentionHook() {
        private final HookKind kind = (hooks, segments) -> JoinedHook.NONE;

        @Override
        public HookKind kind() {
          return kind;
        }
      };

  /** Where a hook may look. */
  enum Point {
    /** Features out of the vision encoder; the layer is 0. */
    VISION_OUTPUT,
    /** The residual stream entering a layer; layer L is what enters the final norm. */
    HIDDEN_STATES,
    /** What the layer's projections read. */
    NORMED_INPUT,
    /** Attention before softmax. */
    SCORES,
    /** Attention after softmax. */
    WEIGHTS,
    /** Each head's sum of values, before the output projection. */
    HEAD_OUTPUTS
  }

  /**
   * Whether this hook wants to be called at that point of that layer, from 0. It may say something
   * else of each segment it has been announced.
   */
  default boolean asks(Point point, int layer) {
    return false;
  }

  /** Announces that tokens go through all layers. */
  default void onSegment(Segment segment) {}

  /** Shows what the vision encoder hands to the projector: {@code [view, patch, hidden]}. */
  default void onVisionOutput(NDArray features) {}

  /** Shows the residual stream as it enters a layer: {@code [query, hidden]}. */
  default void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {}

  /** Shows the normed input {@code [query, hidden]} and the projections that read it. */
  default void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {}

  /**
   * Returns the scores to use.
   *
   * @param scores {@code [heads, query, key]} in the model's dtype or float32, minus infinity where
   *     a query does not see a key; keys are the slots of the cache
   */
  default NDArray onScores(int layer, Segment segment, NDArray scores) {
    return scores;
  }

  /**
   * Returns the weights to use, whose rows have the same sums.
   *
   * @param weights {@code [heads, query, key]}, float32
   */
  default NDArray onWeights(int layer, Segment segment, NDArray weights) {
    return weights;
  }

  /** Returns the head outputs to use: {@code [query, heads · headSize]}. */
  default NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
    return outputs;
  }

  /**
   * With which others it can be joined on the segment of rows it has been announced: one that has a
   * kind is never called at the segment's hidden states, scores, weights and head outputs, but what
   * the kind makes of it is. Null where it works alone.
   */
  default @Nullable HookKind kind() {
    return null;
  }

  /** This hook, then another on what this one returned. */
  default AttentionHook andThen(AttentionHook next) {
    return new HookSequence(this, next);
  }
}
