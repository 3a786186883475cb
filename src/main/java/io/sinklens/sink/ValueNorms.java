package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.tensor.Operators;

/**
 * How far each token of a shared prefix moves the residual stream for each unit of attention a head
 * gives it: {@code ‖x_j · W_V · W_O‖}, kept while the prefix's keys and values are.
 *
 * <p>The hook of one prefix pass; x_j is the token's normed input, W_V belongs to the head's
 * key-value head, and W_O is the head's part of the output projection.
 */
public final class ValueNorms implements AttentionHook, AutoCloseable {
  private final Operators operators;
  private final NDManager manager;
  private final NDArray[] norms; // by layer, [heads, prefix key]

  /**
   * Prepares for one prefix pass.
   *
   * @param layers layers of the decoder
   */
  public ValueNorms(Operators operators, int layers) {
    this.operators = operators;
    manager = operators.manager().newSubManager();
    norms = new NDArray[layers];
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.NORMED_INPUT && layer >= SinkRule.FIRST_LAYER && layer < norms.length;
  }

  @Override
  public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
    norms[layer] = operators.valueNorms(projections.values(normed), projections.output());
    norms[layer].attach(manager);
  }

  /** Norms at a layer from the first layer with sinks on: float32 {@code [heads, prefix key]}. */
  NDArray at(int layer) {
    return norms[layer];
  }

  @Override
  public void close() {
    manager.close();
  }
}
