package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.LlamaConfig.Projection;
import io.sinklens.model.decoder.LlamaConfig.Rope;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class HookSequenceTest {
  private static final LlamaConfig CONFIG =
      new LlamaConfig(
          8,
          8,
          1,
          2,
          2,
          4,
          8,
          8,
          1e-5,
          new Rope(10000, List.of()),
          Activation.SILU,
          false,
          Projection.PLAIN);

  private final Operators operators = Operators.load(TestDevice.get());
  private final NDManager manager = operators.manager();
  private final Segment segment = segment();
  private final List<String> calls = new ArrayList<>();

  @AfterEach
  void free() {
    operators.close();
  }

  @Test
  void showsTheSecondHookWhatTheFirstReturned() {
    AttentionHook both =
        new Adding("a", 1, Set.of(Point.values()))
            .andThen(new Adding("b", 10, Set.of(Point.values())));

    NDArray weights = both.onWeights(3, segment, one());
    NDArray scores = both.onScores(4, segment, one());
    NDArray outputs = both.onHeadOutputs(5, segment, one());

    assertThat(weights.getFloat(0)).isEqualTo(12);
    assertThat(scores.getFloat(0)).isEqualTo(12);
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
    assertThat(both.onWeights(0, segment, one()).getFloat(0)).isEqualTo(2);
    assertThat(both.onScores(0, segment, one()).getFloat(0)).isEqualTo(11);
    NDArray outputs = one();
    assertThat(both.onHeadOutputs(0, segment, outputs)).isSameAs(outputs);
    both.onHiddenStates(0, segment, outputs);
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

  @Test
  void showsBothWhatNoneCanChange() {
    AttentionHook both =
        new Adding("a", 1, Set.of(Point.values()))
            .andThen(new Adding("b", 10, Set.of(Point.values())));

    both.onSegment(segment);
    both.onHiddenStates(2, segment, one());
    both.onVisionOutput(one());

    assertThat(calls)
        .containsExactly(
            "a segment",
            "b segment",
            "a hidden2 of 1.0",
            "b hidden2 of 1.0",
            "a vision of 1.0",
            "b vision of 1.0");
  }

  @Test
  void announcesSegmentsToHooksThatAskForNothing() {
    new Adding("a", 1, Set.of()).andThen(new Adding("b", 10, Set.of())).onSegment(segment);

    assertThat(calls).containsExactly("a segment", "b segment");
  }

  private Segment segment() {
    CacheBlock block = new CacheBlock(operators, CONFIG, Dtype.FLOAT32, manager, 0, 1, 1);
    KeyValueCache cache =
        new KeyValueCache(block, block.take(), RotaryPositions.sequential(0), block::close);
    return Segment.ofRows(cache, AttentionHook.NONE, 0, List.of(new Segment.Token(0, 0, true)));
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
    public void onSegment(Segment shown) {
      assertThat(shown).isSameAs(segment);
      calls.add(name + " segment");
    }

    @Override
    public void onHiddenStates(int layer, Segment shown, NDArray hiddenStates) {
      note("hidden" + layer, shown, hiddenStates);
    }

    @Override
    public void onVisionOutput(NDArray features) {
      note("vision", segment, features);
    }

    @Override
    public NDArray onScores(int layer, Segment shown, NDArray scores) {
      note("scores" + layer, shown, scores);
      return scores.add(number);
    }

    @Override
    public NDArray onWeights(int layer, Segment shown, NDArray weights) {
      note("weights" + layer, shown, weights);
      return weights.add(number);
    }

    @Override
    public NDArray onHeadOutputs(int layer, Segment shown, NDArray outputs) {
      note("outputs" + layer, shown, outputs);
      return outputs.add(number);
    }

    private void note(String call, Segment shown, NDArray array) {
      assertThat(shown).isSameAs(segment);
      calls.add("%s %s of %s".formatted(name, call, array.getFloat(0)));
    }
  }
}
