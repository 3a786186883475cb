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
  public void onSegment(Segment segment) {
    first.onSegment(segment);
    second.onSegment(segment);
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
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    if (first.asks(Point.HIDDEN_STATES, layer)) {
      first.onHiddenStates(layer, segment, hiddenStates);
    }
    if (second.asks(Point.HIDDEN_STATES, layer)) {
      second.onHiddenStates(layer, segment, hiddenStates);
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
  public NDArray onScores(int layer, Segment segment, NDArray scores) {
    NDArray once =
        first.asks(Point.SCORES, layer) ? first.onScores(layer, segment, scores) : scores;
    return second.asks(Point.SCORES, layer) ? second.onScores(layer, segment, once) : once;
  }

  @Override
  public NDArray onWeights(int layer, Segment segment, NDArray weights) {
    NDArray once =
        first.asks(Point.WEIGHTS, layer) ? first.onWeights(layer, segment, weights) : weights;
    return second.asks(Point.WEIGHTS, layer) ? second.onWeights(layer, segment, once) : once;
  }

  @Override
  public NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
    NDArray once =
        first.asks(Point.HEAD_OUTPUTS, layer)
            ? first.onHeadOutputs(layer, segment, outputs)
            : outputs;
    return second.asks(Point.HEAD_OUTPUTS, layer)
        ? second.onHeadOutputs(layer, segment, once)
        : once;
  }
}
