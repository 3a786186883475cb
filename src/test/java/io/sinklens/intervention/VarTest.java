package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Notes;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.sink.LayerSinks;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * Shows the hook a network of four layers and one head: a prompt of text, a visual sink and two
 * other image tokens, then one token of each row's own.
 */
class VarTest {
  private static final int HIDDEN = 4;
  private static final int LAYERS = 4;
  private static final float[] PLAIN = {1, 1, 1, 1};
  private static final float[] SINK = {1, 1, 1, 100}; // Its sink value is 1.9997.

  @RegisterExtension
  static final TinyModel tiny = TinyModel.of("llava-gqa"); // For its operators and caches alone.

  @Test
  void leavesTheLastLayerAloneInThePaperButNotInTheReleasedCode() {
    for (Mode mode : Mode.values()) {
      try (Batch batch = new Batch(settings(mode, 0.5))) {
        batch.prompt();
        float[] third = batch.weights(2, 0.2f, 0.3f, 0.3f, 0.1f, 0.1f);
        float[] last = batch.weights(3, 0.2f, 0.3f, 0.3f, 0.1f, 0.1f);
        assertThat(third)
            .containsExactly(
                new float[] {0.2f, 0.15f, 0.4125f, 0.1375f, 0.1f}, withPrecision(1e-6f));
        assertThat(last)
            .containsExactly(
                mode == Mode.PAPER ? new float[] {0.2f, 0.3f, 0.3f, 0.1f, 0.1f} : third,
                withPrecision(1e-6f));
        assertThat(batch.hook.selectedHeads(0).get(0))
            .isDeepEqualTo(new boolean[][] {{false}, {false}, {true}, {mode == Mode.REFERENCE}});
      }
    }
  }

  @Test
  void measuresWhatItWouldCorrectAndReturnsTheVeryWeightsItSaw() {
    try (Batch batch = new Batch(settings(Mode.PAPER, 0.5).measuring())) {
      batch.prompt();
      NDArray weights = batch.array(0.2f, 0.3f, 0.3f, 0.1f, 0.1f);
      assertThat(batch.hook.onWeights(2, batch.segment, weights).toFloatArray())
          .isEqualTo(weights.toFloatArray());
      batch.segment.notes().read(tiny.operators());
      assertThat(batch.hook.selectedHeads(0).get(0)[2]).containsExactly(true);
      assertThat(batch.hook.totals(0).imageAttention(2))
          .containsExactly(new float[] {0.7f}, withPrecision(1e-6f));
      assertThat(batch.hook.totals(0).nonsinkRatio(2))
          .containsExactly(new float[] {4f / 7}, withPrecision(1e-6f));
      assertThat(batch.hook.totals(0).sinkAttention(2))
          .containsExactly(new float[] {0.3f}, withPrecision(1e-6f));
    }
  }

  @Test
  void averagesOverTheQueriesThatGaveAnswerTokens() {
    try (Batch batch = new Batch(settings(Mode.PAPER, 0.5))) {
      batch.prompt();
      batch.weights(2, 0.2f, 0.3f, 0.3f, 0.1f, 0.1f);
      batch.generated(1, PLAIN, true);
      batch.weights(2, 0.2f, 0.1f, 0.1f, 0f, 0.3f, 0.3f);
      batch.generated(2, PLAIN, false);
      batch.weights(2, 0f, 1f, 0f, 0f, 0f, 0f, 0f);
      assertThat(batch.hook.selectedHeads(0)).hasSize(2);
      assertThat(batch.hook.totals(0).imageAttention(2))
          .containsExactly(new float[] {(0.7f + 0.2f) / 2}, withPrecision(1e-6f));
      assertThat(batch.hook.totals(0).nonsinkRatio(2))
          .containsExactly(new float[] {(4f / 7 + 0.5f) / 2}, withPrecision(1e-6f));
      assertThat(batch.hook.totals(0).sinkAttention(2))
          .containsExactly(new float[] {0.2f}, withPrecision(1e-6f));
    }
  }

  @Test
  void countsARatioWithoutImageAttentionAsNone() {
    try (Batch batch = new Batch(settings(Mode.PAPER, 0.5))) {
      batch.prompt();
      assertThat(batch.weights(2, 0.7f, 0f, 0f, 0f, 0.3f))
          .containsExactly(new float[] {0.7f, 0f, 0f, 0f, 0.3f}, withPrecision(0f));
      assertThat(batch.hook.totals(0).nonsinkRatio(2))
          .containsExactly(new float[] {0f}, withPrecision(0f));
    }
  }

  @Test
  void takesFromGeneratedSinksOnlyWhenAllTokensCanBeSinks() {
    for (SinkTokens tokens : SinkTokens.values()) {
      VarSettings settings =
          new VarSettings(Mode.PAPER, 1.9, tokens, 0.5, 0.2, 0.5, VisualSink.REQUIRED);
      try (Batch batch = new Batch(settings)) {
        batch.prompt();
        batch.generated(1, SINK, true);
        float[] moved = batch.weights(2, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.3f);
        float generated = tokens == SinkTokens.ALL ? 0.15f : 0.3f;
        assertThat(moved[5]).isEqualTo(generated, withPrecision(1e-6f));
        assertThat(batch.hook.promptSinks(0).get(0).textPositions()).isEmpty();
      }
    }
  }

  @Test
  void leavesALayerWithoutVisualSinksAloneUnlessToldOtherwise() {
    for (VisualSink visualSink : VisualSink.values()) {
      VarSettings settings =
          new VarSettings(Mode.PAPER, 1.9, SinkTokens.PROMPT, 0.5, 0.2, 0.5, visualSink);
      try (Batch batch = new Batch(settings, SINK, PLAIN, PLAIN, PLAIN)) { // A sink in the text.
        batch.prompt();
        float[] moved = batch.weights(2, 0.4f, 0.2f, 0.2f, 0.1f, 0.1f);
        assertThat(moved)
            .containsExactly(
                visualSink == VisualSink.REQUIRED
                    ? new float[] {0.4f, 0.2f, 0.2f, 0.1f, 0.1f}
                    : new float[] {0.2f, 0.28f, 0.28f, 0.14f, 0.1f},
                withPrecision(1e-6f));
      }
    }
  }

  @Test
  void reportsTheSinksOfThePromptFromTheThirdLayerOn() {
    try (Batch batch = new Batch(settings(Mode.PAPER, 0.5))) {
      batch.prompt();
      assertThat(batch.hook.promptSinks(0)).extracting(LayerSinks::layer).containsExactly(2, 3);
      assertThat(batch.hook.promptSinks(0))
          .allSatisfy(
              layer -> {
                assertThat(layer.imagePositions()).containsExactly(0);
                assertThat(layer.textPositions()).isEmpty();
                assertThat(layer.maxValue()).isEqualTo(1.9997f, withPrecision(1e-4f));
              });
    }
  }

  @Test
  void asksForHiddenStatesAndWeightsFromTheThirdLayerOnAndForNothingElse() {
    try (Batch batch = new Batch(settings(Mode.PAPER, 0.5))) {
      batch.prompt();
      for (Point point : Point.values()) {
        for (int layer = 0; layer <= LAYERS; layer++) {
          boolean covered = layer == 2 || layer == 3;
          assertThat(batch.hook.asks(point, layer))
              .as("%s of layer %d", point, layer)
              .isEqualTo(covered && (point == Point.HIDDEN_STATES || point == Point.WEIGHTS));
        }
      }
    }
  }

  @Test
  void correctsAndMeasuresEveryRowByItsOwnSettings() {
    float[] seen = {0.2f, 0.3f, 0.3f, 0.1f, 0.1f};
    List<VarSettings> rows =
        List.of(
            settings(Mode.REFERENCE, 1),
            settings(Mode.PAPER, 0.5).measuring(),
            settings(Mode.PAPER, 0.5),
            settings(Mode.REFERENCE, 0.5),
            new VarSettings( // No token reaches it.
                Mode.PAPER, 2.1, SinkTokens.PROMPT, 0.5, 0.2, 0.5, VisualSink.REQUIRED));
    try (Batch together = new Batch(rows, PLAIN, SINK, PLAIN, PLAIN)) {
      together.prompt();
      float[][] third = together.weightsOfRows(2, seen);
      float[][] last = together.weightsOfRows(3, seen);
      for (int r = 0; r < rows.size(); r++) {
        try (Batch alone = new Batch(rows.get(r))) {
          alone.prompt();
          assertThat(third[r]).containsExactly(alone.weights(2, seen), withPrecision(1e-7f));
          assertThat(last[r]).containsExactly(alone.weights(3, seen), withPrecision(1e-7f));
          assertThat(together.hook.selectedHeads(r).get(0))
              .isDeepEqualTo(alone.hook.selectedHeads(0).get(0));
          assertThat(together.hook.totals(r).nonsinkRatio(2))
              .containsExactly(alone.hook.totals(0).nonsinkRatio(2), withPrecision(1e-7f));
          assertThat(together.hook.totals(r).sinkAttention(3))
              .containsExactly(alone.hook.totals(0).sinkAttention(3), withPrecision(1e-7f));
          assertThat(together.hook.promptSinks(r)).isEqualTo(alone.hook.promptSinks(0));
        }
      }
      assertThat(third[0])
          .containsExactly(new float[] {0.2f, 0, 0.525f, 0.175f, 0.1f}, withPrecision(1e-6f));
      assertThat(third[1]).isEqualTo(seen); // Bit for bit, though others are moved.
      assertThat(third[4]).isEqualTo(seen);
      assertThat(last[2]).isEqualTo(seen);
    }
  }

  private static VarSettings settings(Mode mode, double movedShare) {
    return new VarSettings(mode, 1.9, SinkTokens.PROMPT, 0.5, 0.2, movedShare, VisualSink.REQUIRED);
  }

  /** Rows and their hook; the prefix is a text token and three image tokens. */
  private static final class Batch implements AutoCloseable {
    private static final int PREFIX_KEYS = 4;

    private final PrefixSinkValues values;
    private final Var hook;
    private final KeyValueCache cache;
    private final int rows;
    private Segment segment;

    Batch(VarSettings settings) {
      this(settings, PLAIN, SINK, PLAIN, PLAIN);
    }

    Batch(VarSettings settings, float[]... prefixStates) {
      this(List.of(settings), prefixStates);
    }

    Batch(List<VarSettings> settings, float[]... prefixStates) {
      rows = settings.size();
      values = new PrefixSinkValues(tiny.operators(), List.of(3), HIDDEN, LAYERS);
      cache =
          tiny.decoder()
              .newCache(tiny.manager(), RotaryPositions.sequential(PREFIX_KEYS), 3 * rows);
      segment = Segment.ofPrefix(cache, values);
      segment.enter(tiny.manager(), new Notes(tiny.manager()));
      for (int layer = 2; layer < LAYERS; layer++) {
        values.onHiddenStates(layer, segment, states(prefixStates));
      }
      int[] promptLengths = new int[rows];
      Arrays.fill(promptLengths, 1);
      hook = new Var(tiny.operators(), values, 1, settings, promptLengths, LAYERS, 1);
    }

    /** The pass over each row's one own prompt token. */
    void prompt() {
      generated(0, PLAIN, true);
    }

    /** A pass over each row's token at an own position. */
    void generated(int position, float[] state, boolean answers) {
      List<Token> tokens =
          IntStream.range(0, rows).mapToObj(row -> new Token(row, position, answers)).toList();
      segment = Segment.ofRows(cache, AttentionHook.NONE, 0, tokens);
      segment.enter(tiny.manager(), new Notes(tiny.manager()));
      hook.onSegment(segment);
      float[][] states = new float[rows][];
      Arrays.fill(states, state);
      for (int layer = 2; layer < LAYERS; layer++) {
        hook.onHiddenStates(layer, segment, states(states));
      }
      segment.notes().read(tiny.operators());
    }

    /** Weights of the only row. */
    NDArray array(float... weights) {
      return tiny.manager().create(weights, new Shape(1, 1, weights.length));
    }

    float[] weights(int layer, float... weights) {
      float[] moved = hook.onWeights(layer, segment, array(weights)).toFloatArray();
      segment.notes().read(tiny.operators());
      return moved;
    }

    /** What is made of the same weights of all rows, the last of them on their prompt token. */
    float[][] weightsOfRows(int layer, float... weights) {
      int keys = PREFIX_KEYS + rows;
      float[] flat = new float[rows * keys];
      for (int r = 0; r < rows; r++) {
        System.arraycopy(weights, 0, flat, r * keys, PREFIX_KEYS);
        flat[r * keys + PREFIX_KEYS + r] = weights[PREFIX_KEYS];
      }
      float[] moved =
          hook.onWeights(layer, segment, tiny.manager().create(flat, new Shape(1, rows, keys)))
              .toFloatArray();
      segment.notes().read(tiny.operators());
      float[][] ofRows = new float[rows][];
      for (int r = 0; r < rows; r++) {
        ofRows[r] = Arrays.copyOfRange(moved, r * keys, r * keys + PREFIX_KEYS + 1);
        ofRows[r][PREFIX_KEYS] = moved[r * keys + PREFIX_KEYS + r];
      }
      return ofRows;
    }

    private NDArray states(float[]... states) {
      float[] flat = new float[states.length * HIDDEN];
      for (int t = 0; t < states.length; t++) {
        System.arraycopy(states[t], 0, flat, t * HIDDEN, HIDDEN);
      }
      return tiny.manager().create(flat, new Shape(states.length, HIDDEN));
    }

    @Override
    public void close() {
      hook.close();
      values.close();
    }
  }
}
