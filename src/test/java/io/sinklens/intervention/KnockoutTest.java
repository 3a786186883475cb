package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.Masking.Tokens;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Notes;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.sink.SinkRule;
import io.sinklens.sink.SinkRule.Comparison;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Three layers, one head; a prefix of a text token and image tokens, then one own token a row. */
class KnockoutTest {
  private static final int LAYERS = 3;
  private static final int HIDDEN = 4;
  private static final int PREFIX_KEYS = 4;
  private static final float[] PLAIN = {1, 1, 1, 1};
  private static final float[] SINK = {1, 1, 1, 100}; // Its sink value is 1.9997.
  private static final float[] WEIGHTS = {0.2f, 0.3f, 0.3f, 0.1f, 0.1f};

  @RegisterExtension
  static final TinyModel tiny = TinyModel.of("llava-gqa"); // For its operators and caches alone.

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

    float[] weights = { // Of two rows, whose sums are 0.9.
      0.1f, 0.3f, 0.3f, 0.1f, 0.1f, 0, 0.1f, 0.3f, 0.3f, 0.1f, 0, 0.1f
    };
    try (Batch batch = new Batch(List.of(Masking.NONE, sinks()), PLAIN, SINK, PLAIN, PLAIN)) {
      float[] masked =
          batch
              .hook
              .onWeights(2, batch.segment(0, 1), tiny.manager().create(weights, new Shape(1, 2, 6)))
              .toFloatArray();
      assertThat(Arrays.copyOf(masked, 6)).isEqualTo(Arrays.copyOf(weights, 6));
      assertThat(Arrays.copyOfRange(masked, 6, 12))
          .containsExactly(
              new float[] {1 / 6f, 0, 1 / 2f, 1 / 6f, 0, 1 / 6f}, withPrecision(1e-6f));
    }
  }

  @Test
  void masksEveryRowByItsOwnSettings() {
    List<Masking> rows =
        List.of(
            Masking.NONE, new Masking(Tokens.RANDOM, 1), sinks(), new Masking(Tokens.RANDOM, 2));
    List<float[]> together = masked(rows, PLAIN, SINK, PLAIN, PLAIN);
    for (int r = 0; r < rows.size(); r++) {
      assertThat(together.get(r)).isEqualTo(masked(rows.get(r), PLAIN, SINK, PLAIN, PLAIN));
    }
  }

  @Test
  void hidesTheSameTokensFromAllQueriesOfARow() {
    List<Masking> rows =
        List.of(
            new Masking(Tokens.RANDOM, 1), Masking.NONE, sinks(), new Masking(Tokens.RANDOM, 2));
    try (Batch batch = new Batch(rows, PLAIN, SINK, PLAIN, PLAIN)) {
      List<float[]> first = batch.masked(0, 1, 2, 3);
      List<float[]> later = batch.masked(3, 1, 0); // In another order, and one row has left.
      assertThat(later.get(0)).isEqualTo(first.get(3));
      assertThat(later.get(1)).isEqualTo(first.get(1));
      assertThat(later.get(2)).isEqualTo(first.get(0));
    }
  }

  @Test
  void keepsNothingOfAQueryThatSawNothingElse() {
    try (Batch batch = new Batch(List.of(sinks()), PLAIN, SINK, PLAIN, PLAIN)) {
      Segment segment = batch.segment(0);
      NDArray weights = tiny.manager().create(new float[] {0, 1, 0, 0, 0}, new Shape(1, 1, 5));
      assertThat(batch.hook.onWeights(2, segment, weights).toFloatArray())
          .hasSize(5)
          .containsOnly(0f);
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

  private float[] masked(Masking masking, float[]... prefixStates) {
    return masked(List.of(masking), prefixStates).get(0);
  }

  private List<float[]> masked(List<Masking> rows, float[]... prefixStates) {
    try (Batch batch = new Batch(rows, prefixStates)) {
      return batch.masked(IntStream.range(0, rows.size()).toArray());
    }
  }

  private static final class Batch implements AutoCloseable {
    private final KeyValueCache cache;
    private final PrefixSinkValues values;
    private final SinkDetector sinks;
    private final Knockout hook;
    private final int[] ownLengths; // By row.

    Batch(List<Masking> rows, float[]... prefixStates) {
      cache =
          tiny.decoder()
              .newCache(tiny.manager(), RotaryPositions.sequential(PREFIX_KEYS), 2 * rows.size());
      values = new PrefixSinkValues(tiny.operators(), List.of(3), HIDDEN, LAYERS);
      float[] flat = new float[PREFIX_KEYS * HIDDEN];
      for (int t = 0; t < PREFIX_KEYS; t++) {
        System.arraycopy(prefixStates[t], 0, flat, t * HIDDEN, HIDDEN);
      }
      Segment prefix = Segment.ofPrefix(cache, values);
      prefix.enter(tiny.manager(), new Notes(tiny.manager()));
      values.onHiddenStates(2, prefix, tiny.manager().create(flat, new Shape(PREFIX_KEYS, HIDDEN)));
      SinkRule rule = new SinkRule(1.9, Comparison.AT_LEAST, SinkTokens.PROMPT);
      int[] promptLengths = new int[rows.size()];
      Arrays.fill(promptLengths, 1);
      sinks =
          new SinkDetector(
              tiny.operators(), values, 1, Collections.nCopies(rows.size(), rule), promptLengths);
      hook = new Knockout(tiny.operators(), sinks, rows, LAYERS);
      ownLengths = new int[rows.size()];
    }

    /** The next token of each of some rows. */
    Segment segment(int... rows) {
      List<Token> tokens =
          IntStream.of(rows).mapToObj(row -> new Token(row, ownLengths[row]++, true)).toList();
      Segment segment = Segment.ofRows(cache, AttentionHook.NONE, 0, tokens);
      segment.enter(tiny.manager(), new Notes(tiny.manager()));
      return segment;
    }

    /**
     * What remains where the next token of each of some rows has the weights of above, the last of
     * them on itself: for each the prefix and itself.
     */
    List<float[]> masked(int... rows) {
      Segment segment = segment(rows);
      int keys = segment.keys();
      float[] weights = new float[rows.length * keys];
      for (int q = 0; q < rows.length; q++) {
        System.arraycopy(WEIGHTS, 0, weights, q * keys, PREFIX_KEYS);
        weights[q * keys + segment.firstSlot() + q] = WEIGHTS[PREFIX_KEYS];
      }
      float[] masked =
          hook.onWeights(
                  2, segment, tiny.manager().create(weights, new Shape(1, rows.length, keys)))
              .toFloatArray();
      return IntStream.range(0, rows.length)
          .mapToObj(
              q -> {
                float[] query = Arrays.copyOfRange(masked, q * keys, (q + 1) * keys);
                float[] seen = Arrays.copyOf(query, PREFIX_KEYS + 1);
                int itself = segment.firstSlot() + q;
                seen[PREFIX_KEYS] = query[itself];
                query[itself] = 0;
                assertThat(Arrays.copyOfRange(query, PREFIX_KEYS, keys)).containsOnly(0f);
                return seen;
              })
          .toList();
    }

    @Override
    public void close() {
      hook.close();
      sinks.close();
      values.close();
    }
  }
}
