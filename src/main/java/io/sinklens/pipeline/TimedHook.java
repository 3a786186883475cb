package io.sinklens.pipeline;

import ai.djl.ndarray.NDArray;
import io.sinklens.generation.Phase;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.HookKind;
import io.sinklens.model.decoder.JoinedHook;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Segment;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

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
  public @Nullable HookKind kind() {
    HookKind kind = hook.kind();
    return kind == null ? null : new TimedKind(kind, times);
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
    timed(
        () -> {
          call.run();
          return hook;
        });
  }

  private <T> T timed(Supplier<T> call) {
    return timed(times, call);
  }

  private static <T> T timed(PhaseTimes times, Supplier<T> call) {
    long start = System.nanoTime();
    T result = call.get();
    times.add(Phase.HOOK, System.nanoTime() - start);
    return result;
  }

  /** Joins hooks inside such ones, and keeps the time of what comes of it apart too. */
  private record TimedKind(HookKind kind, PhaseTimes times) implements HookKind {
    @Override
    public JoinedHook join(List<AttentionHook> hooks, JoinedSegments segments) {
      List<AttentionHook> inner = hooks.stream().map(hook -> ((TimedHook) hook).hook).toList();
      JoinedHook joined = timed(times, () -> kind.join(inner, segments));
      return new JoinedHook() {
        @Override
        public boolean asks(Point point, int layer) {
          return joined.asks(point, layer);
        }

        @Override
        public void onHiddenStates(int layer, NDArray hiddenStates) {
          timed(
              times,
              () -> {
                joined.onHiddenStates(layer, hiddenStates);
                return joined;
              });
        }

        @Override
        public NDArray onScores(int layer, NDArray scores) {
          return timed(times, () -> joined.onScores(layer, scores));
        }

        @Override
        public NDArray onWeights(int layer, NDArray weights) {
          return timed(times, () -> joined.onWeights(layer, weights));
        }

        @Override
        public NDArray onHeadOutputs(int layer, NDArray outputs) {
          return timed(times, () -> joined.onHeadOutputs(layer, outputs));
        }
      };
    }
  }
}
