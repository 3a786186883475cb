package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.Device;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.Masking.Tokens;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.sink.SinkRule;
import io.sinklens.sink.SinkRule.Comparison;
import io.sinklens.sink.SinkRule.SinkTokens;
import io.sinklens.tensor.Operators;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Three layers, one head; a prefix of a text token and image tokens, then one own token. */
class KnockoutTest {
  private static final int LAYERS = 3;
  private static final int HIDDEN = 4;
  private static final float[] PLAIN = {1, 1, 1, 1};
  private static final float[] SINK = {1, 1, 1, 100}; // Its sink value is 1.9997.
  private static final float[] WEIGHTS = {0.2f, 0.3f, 0.3f, 0.1f, 0.1f};

  private static Operators operators;
  private static NDManager manager;

  @BeforeAll
  static void load() {
    operators = Operators.load(Device.cpu());
    operators.enterThread();
    manager = operators.manager().newSubManager();
  }

  @AfterAll
  static void unload() {
    operators.close();
  }

  @Test
  void hidesVisualSinksButNoOthers() {
    assertThat(masked(sinks(), SINK, SINK, PLAIN, PLAIN))
        .containsExactly(new float[] {2 / 7f, 0, 3 / 7f, 1 / 7f, 1 / 7f}, withPrecision(1e-6f));
  }

  @Test
  void hidesAsManyOtherTokensAtRandom() {
    Set<List<Float>> results = new TreeSet<>((a, b) -> a.toString().compareTo(b.toString()));
    for (long seed : LongStream.range(0, 20).toArray()) {
      float[] masked = masked(new Masking(Tokens.RANDOM, seed), PLAIN, SINK, PLAIN, PLAIN);
      assertThat(masked)
          .isEqualTo(masked(new Masking(Tokens.RANDOM, seed), PLAIN, SINK, PLAIN, PLAIN));
      results.add(List.of(masked[0], masked[1], masked[2], masked[3], masked[4]));
    }
    // Either of two, and the seed says which.
    assertThat(results).hasSize(2);
    assertThat(results)
        .allSatisfy(
            result -> {
              assertThat(Collections.frequency(result, 0f)).isEqualTo(1);
              assertThat(result.get(1)).isPositive();
            });
  }

  @Test
  void hidesWhatThereIsWhereSinksAreTheMany() {
    assertThat(masked(new Masking(Tokens.RANDOM, 1), PLAIN, SINK, SINK, PLAIN))
        .containsExactly(new float[] {2 / 9f, 3 / 9f, 3 / 9f, 0, 1 / 9f}, withPrecision(1e-6f));
  }

  @Test
  void returnsTheVeryWeightsWhereNothingIsMasked() {
    assertThat(masked(Masking.NONE, PLAIN, SINK, PLAIN, PLAIN)).isEqualTo(WEIGHTS);
    assertThat(masked(sinks(), SINK, PLAIN, PLAIN, PLAIN)).isEqualTo(WEIGHTS); // A text sink.
  }

  @Test
  void masksEveryRowByItsOwnSettings() {
    List<Masking> rows =
        List.of(
            Masking.NONE, new Masking(Tokens.RANDOM, 1), sinks(), new Masking(Tokens.RANDOM, 2));
    float[] together = masked(rows, PLAIN, SINK, PLAIN, PLAIN);
    for (int r = 0; r < rows.size(); r++) {
      assertThat(Arrays.copyOfRange(together, 5 * r, 5 * r + 5))
          .isEqualTo(masked(rows.get(r), PLAIN, SINK, PLAIN, PLAIN));
    }
  }

  @Test
  void keepsNothingOfAQueryThatSawNothingElse() {
    try (Batch batch = new Batch(List.of(sinks()), PLAIN, SINK, PLAIN, PLAIN)) {
      AttentionParts masked = batch.hook.onWeights(2, parts(1, 0, 1, 0, 0, 0));
      assertThat(masked.prefix().toFloatArray()).containsOnly(0f);
      assertThat(masked.own().toFloatArray()).containsOnly(0f);
    }
  }

  @Test
  void asksForWeightsWhereSinksCanBe() {
    try (Batch batch = new Batch(List.of(sinks()), PLAIN, SINK, PLAIN, PLAIN)) {
      for (Point point : Point.values()) {
        for (int layer = 0; layer <= LAYERS; layer++) {
          assertThat(batch.hook.asks(point, layer)).isEqualTo(point == Point.WEIGHTS && layer == 2);
        }
      }
    }
  }

  private static Masking sinks() {
    return new Masking(Tokens.SINKS, 0);
  }

  private static float[] masked(Masking masking, float[]... prefixStates) {
    return masked(List.of(masking), prefixStates);
  }

  private static float[] masked(List<Masking> rows, float[]... prefixStates) {
    try (Batch batch = new Batch(rows, prefixStates)) {
      AttentionParts masked = batch.hook.onWeights(2, parts(rows.size(), WEIGHTS));
      return operators.concatKeys(masked.prefix(), masked.own()).toFloatArray();
    }
  }

  private static AttentionParts parts(int rows, float... weights) {
    float[] prefix = new float[rows * 4];
    float[] own = new float[rows];
    for (int r = 0; r < rows; r++) {
      System.arraycopy(weights, 0, prefix, 4 * r, 4);
      own[r] = weights[4];
    }
    return new AttentionParts(
        manager.create(prefix, new Shape(rows, 1, 1, 4)),
        manager.create(own, new Shape(rows, 1, 1, 1)));
  }

  private static final class Batch implements AutoCloseable {
    private final PrefixSinkValues values;
    private final SinkDetector sinks;
    private final Knockout hook;

    Batch(List<Masking> rows, float[]... prefixStates) {
      values = new PrefixSinkValues(operators, List.of(3), HIDDEN, LAYERS);
      float[] flat = new float[prefixStates.length * HIDDEN];
      for (int t = 0; t < prefixStates.length; t++) {
        System.arraycopy(prefixStates[t], 0, flat, t * HIDDEN, HIDDEN);
      }
      values.onHiddenStates(2, manager.create(flat, new Shape(1, prefixStates.length, HIDDEN)));
      SinkRule rule = new SinkRule(1.9, Comparison.AT_LEAST, SinkTokens.PROMPT);
      int[] promptLengths = new int[rows.size()];
      Arrays.fill(promptLengths, 1);
      sinks =
          new SinkDetector(
              operators, values, 1, Collections.nCopies(rows.size(), rule), promptLengths);
      hook = new Knockout(operators, sinks, rows, LAYERS);
    }

    @Override
    public void close() {
      hook.close();
      sinks.close();
      values.close();
    }
  }
}
