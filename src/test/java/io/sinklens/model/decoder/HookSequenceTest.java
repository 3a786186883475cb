package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.AttentionHook.Point;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class HookSequenceTest {
  private final NDManager manager = NDManager.newBaseManager("PyTorch");
  private final List<String> calls = new ArrayList<>();

  @AfterEach
  void free() {
    manager.close();
  }

  @Test
  void showsTheSecondHookWhatTheFirstReturned() {
    AttentionHook both =
        new Adding("a", 1, Set.of(Point.values()))
            .andThen(new Adding("b", 10, Set.of(Point.values())));
    AttentionParts parts = new AttentionParts(one(), one());

    AttentionParts weights = both.onWeights(3, parts);
    AttentionParts scores = both.onScores(4, parts);
    NDArray outputs = both.onHeadOutputs(5, one());

    assertThat(weights.own().getFloat(0)).isEqualTo(12);
    assertThat(scores.own().getFloat(0)).isEqualTo(12);
    assertThat(outputs.getFloat(0)).isEqualTo(12);
    assertThat(calls)
        .containsExactly(
            "a weights3 of 1.0",
            "b weights3 of 2.0",
            "a scores4 of 1.0",
            "b scores4 of 2.0",
            "a outputs5 of 1.0",
            "b outputs5 of 2.0");
  }

  @Test
  void callsOnlyTheOneThatAsks() {
    AttentionHook both =
        new Adding("a", 1, Set.of(Point.WEIGHTS))
            .andThen(new Adding("b", 10, Set.of(Point.SCORES)));
    AttentionParts parts = new AttentionParts(one(), one());
    assertThat(both.onWeights(0, parts).own().getFloat(0)).isEqualTo(2);
    assertThat(both.onScores(0, parts).own().getFloat(0)).isEqualTo(11);
    NDArray outputs = one();
    assertThat(both.onHeadOutputs(0, outputs)).isSameAs(outputs);
    both.onHiddenStates(0, outputs);
    both.onVisionOutput(outputs);
    assertThat(calls).containsExactly("a weights0 of 1.0", "b scores0 of 1.0");
  }

  @Test
  void asksForWhatEitherAsks() {
    AttentionHook both =
        new Adding("a", 1, Set.of(Point.WEIGHTS)).andThen(new Adding("b", 1, Set.of(Point.SCORES)));
    for (Point point : Point.values()) {
      assertThat(both.asks(point, 2))
          .as(point.name())
          .isEqualTo(point == Point.WEIGHTS || point == Point.SCORES);
      assertThat(AttentionHook.NONE.andThen(AttentionHook.NONE).asks(point, 2)).isFalse();
    }
  }

  private NDArray one() {
    return manager.create(new float[] {1});
  }

  /** Adds a number to all it is shown. */
  private final class Adding implements AttentionHook {
    private final String name;
    private final int number;
    private final Set<Point> asked;

    Adding(String name, int number, Set<Point> asked) {
      this.name = name;
      this.number = number;
      this.asked = asked;
    }

    @Override
    public boolean asks(Point point, int layer) {
      return asked.contains(point);
    }

    @Override
    public void onHiddenStates(int layer, NDArray hiddenStates) {
      note("hidden" + layer, hiddenStates);
    }

    @Override
    public void onVisionOutput(NDArray features) {
      note("vision", features);
    }

    @Override
    public AttentionParts onScores(int layer, AttentionParts scores) {
      note("scores" + layer, scores.own());
      return new AttentionParts(scores.prefix(), scores.own().add(number));
    }

    @Override
    public AttentionParts onWeights(int layer, AttentionParts weights) {
      note("weights" + layer, weights.own());
      return new AttentionParts(weights.prefix(), weights.own().add(number));
    }

    @Override
    public NDArray onHeadOutputs(int layer, NDArray outputs) {
      note("outputs" + layer, outputs);
      return outputs.add(number);
    }

    private void note(String call, NDArray array) {
      calls.add("%s %s of %s".formatted(name, call, array.getFloat(0)));
    }
  }
}
