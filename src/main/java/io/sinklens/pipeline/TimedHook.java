package io.sinklens.pipeline;

import ai.djl.ndarray.NDArray;
import io.sinklens.generation.Phase;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Segment;
import java.util.function.Supplier;

/** A hook whose time is kept apart from the model's. */
final class TimedHook implements AttentionHook {
  private final AttentionHook hook;
  private final PhaseTimes times;

  TimedHook(AttentionHook hook, PhaseTimes times) {
    this.hook = hook;
    this.times = times;
  }

  @Override
  public boolean asks(Point point, int layer) {
    return hook.asks(point, layer);
  }

  @Override
  public void onSegment(Segment segment) {
    time(() -> hook.onSegment(segment));
  }

  @Override
  public void onVisionOutput(NDArray features) {
    time(() -> hook.onVisionOutput(features));
  }

  @Override
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    time(() -> hook.onHiddenStates(layer, segment, hiddenStates));
  }

  @Override
  public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
    time(() -> hook.onNormedInput(layer, normed, projections));
  }

  @Override
  public NDArray onScores(int layer, Segment segment, NDArray scores) {
    return timed(() -> hook.onScores(layer, segment, scores));
  }

  @Override
  public NDArray onWeights(int layer, Segment segment, NDArray weights) {
    return timed(() -> hook.onWeights(layer, segment, weights));
  }

  @Override
  public NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
    return timed(() -> hook.onHeadOutputs(layer, segment, outputs));
  }

  private void time(Runnable call) {
    long start = System.nanoTime();
    call.run();
    times.add(Phase.HOOK, System.nanoTime() - start);
  }

  private <T> T timed(Supplier<T> call) {
    long start = System.nanoTime();
    T result = call.get();
    times.add(Phase.HOOK, System.nanoTime() - start);
    return result;
  }
}
