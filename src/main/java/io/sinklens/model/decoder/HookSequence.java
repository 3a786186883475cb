package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;

/** Two hooks in order; the second sees what the first returned. */
final class HookSequence implements AttentionHook {
  private final AttentionHook first;
  private final AttentionHook second;

  HookSequence(AttentionHook first, AttentionHook second) {
    this.first = first;
    this.second = second;
  }

  @Override
  public boolean asks(Point point, int layer) {
    return first.asks(point, layer) || second.asks(point, layer);
  }

  @Override
  public void onPass(Pass pass) {
    first.onPass(pass);
    second.onPass(pass);
  }

  @Override
  public void onVisionOutput(NDArray features) {
    if (first.asks(Point.VISION_OUTPUT, 0)) {
      first.onVisionOutput(features);
    }
    if (second.asks(Point.VISION_OUTPUT, 0)) {
      second.onVisionOutput(features);
    }
  }

  @Override
  public void onHiddenStates(int layer, NDArray hiddenStates) {
    if (first.asks(Point.HIDDEN_STATES, layer)) {
      first.onHiddenStates(layer, hiddenStates);
    }
    if (second.asks(Point.HIDDEN_STATES, layer)) {
      second.onHiddenStates(layer, hiddenStates);
    }
  }

  @Override
  public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
    if (first.asks(Point.NORMED_INPUT, layer)) {
      first.onNormedInput(layer, normed, projections);
    }
    if (second.asks(Point.NORMED_INPUT, layer)) {
      second.onNormedInput(layer, normed, projections);
    }
  }

  @Override
  public AttentionParts onScores(int layer, AttentionParts scores) {
    AttentionParts once = first.asks(Point.SCORES, layer) ? first.onScores(layer, scores) : scores;
    return second.asks(Point.SCORES, layer) ? second.onScores(layer, once) : once;
  }

  @Override
  public AttentionParts onWeights(int layer, AttentionParts weights) {
    AttentionParts once =
        first.asks(Point.WEIGHTS, layer) ? first.onWeights(layer, weights) : weights;
    return second.asks(Point.WEIGHTS, layer) ? second.onWeights(layer, once) : once;
  }

  @Override
  public NDArray onHeadOutputs(int layer, NDArray outputs) {
    NDArray once =
        first.asks(Point.HEAD_OUTPUTS, layer) ? first.onHeadOutputs(layer, outputs) : outputs;
    return second.asks(Point.HEAD_OUTPUTS, layer) ? second.onHeadOutputs(layer, once) : once;
  }
}
