package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;

/**
 * Watches or changes the attention of one batch, from inside the model.
 *
 * <p>A hook is made for one batch and thrown away with it. For every pass, {@link #onPass} comes
 * first, then layer by layer, from 0: hidden states, normed input, scores, weights, head outputs.
 * All calls come from one thread. A point is offered only where {@link #asks} said yes, and what no
 * hook asks for is not computed: without scores and weights, attention stays fused.
 *
 * <p>Arrays belong to the layer's scope: attach or copy what shall outlive the call, and change
 * nothing in place.
 */
public interface AttentionHook {

  /** Leaves the model as its authors published it. */
  AttentionHook NONE = new AttentionHook() {};

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

  /** Whether this hook wants to be called at that point of that layer, from 0. */
  default boolean asks(Point point, int layer) {
    return false;
  }

  /** Announces a pass through all layers. */
  default void onPass(Pass pass) {}

  /** Shows what the vision encoder hands to the projector: {@code [view, patch, hidden]}. */
  default void onVisionOutput(NDArray features) {}

  /** Shows the residual stream as it enters a layer: {@code [row, query, hidden]}. */
  default void onHiddenStates(int layer, NDArray hiddenStates) {}

  /** Shows the normed input {@code [row, query, hidden]} and the projections that read it. */
  default void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {}

  /** Returns the scores to use, in the model's dtype, masked entries at minus infinity. */
  default AttentionParts onScores(int layer, AttentionParts scores) {
    return scores;
  }

  /** Returns the weights to use, float32, whose rows have the same sums. */
  default AttentionParts onWeights(int layer, AttentionParts weights) {
    return weights;
  }

  /** Returns the head outputs to use: {@code [row, heads, query, headSize]}. */
  default NDArray onHeadOutputs(int layer, NDArray outputs) {
    return outputs;
  }

  /** This hook, then another on what this one returned. */
  default AttentionHook andThen(AttentionHook next) {
    return new HookSequence(this, next);
  }
}
