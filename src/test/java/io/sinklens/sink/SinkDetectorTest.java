package io.sinklens.sink;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Notes;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.sink.SinkRule.Comparison;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SinkDetectorTest {
  private static final int HIDDEN = 12;
  private static final List<Integer> DIMENSIONS = List.of(3, 7);
  private static final int LAYERS = 4;
  private static final int HEADS = 2;

  @RegisterExtension
  static final TinyModel tiny = TinyModel.of("llava-gqa"); // For its operators and caches alone.

  /** The definition, in double precision. */
  private static double sinkValue(float[] x) {
    double squares = 0;
    for (float value : x) {
      squares += (double) value * value;
    }
    double largest = 0;
    for (int dimension : DIMENSIONS) {
      largest = Math.max(largest, Math.abs(x[dimension]));
    }
    return largest / Math.sqrt(squares / x.length + 1e-6);
  }

  /** Some rows' prompts, then the others' beside generated tokens of the first, then all rows. */
  @RepeatedTest(20)
  void agreesWithThePlainDefinition(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    Rows rows = new Rows(random);
    try (PrefixSinkValues values = prefixValues();
        SinkDetector detector =
            new SinkDetector(
                tiny.operators(), values, rows.imageStart, rows.rules, rows.promptLengths)) {
      KeyValueCache cache = cache(rows.prefixKeys, 64);
      showPrefix(values, cache, layer -> rows.prefix[layer]);
      assertThat(detector.prefixLength()).isEqualTo(rows.prefixKeys);

      int first = 1 + random.nextInt(rows.count());
      for (int begun : List.of(first, rows.count(), rows.count())) {
        Segment segment = segment(cache, rows.next(random, begun));
        detector.onSegment(segment);
        assertThat(detector.imageTokens(segment)).isEqualTo(rows.prefixKeys - rows.imageStart);
        for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
          detector.onHiddenStates(l, segment, array(rows.ofTokens(l)));
        }
        segment.notes().read(tiny.operators());
        compareSums(random, detector, rows, segment);
      }

      for (int r = 0; r < rows.count(); r++) {
        List<LayerSinks> found = detector.promptSinks(r);
        assertThat(found).extracting(LayerSinks::layer).containsExactly(2, 3);
        for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
          LayerSinks expected = rows.plain(l, r);
          LayerSinks actual = found.get(l - SinkRule.FIRST_LAYER);
          assertThat(actual.imagePositions()).isEqualTo(expected.imagePositions());
          assertThat(actual.textPositions()).isEqualTo(expected.textPositions());
          assertThat(actual.maxValue()).isCloseTo(expected.maxValue(), within(1e-5f));
          compareVisual(detector, rows, l, r, expected.imagePositions());
        }
      }
    }
  }

  private static void compareVisual(
      SinkDetector detector, Rows rows, int layer, int row, List<Integer> imagePositions) {
    assertThat(detector.visualSinks(layer, row))
        .containsExactly(imagePositions.stream().mapToInt(i -> rows.imageStart + i).toArray());
    assertThat(detector.visualNonsinks(layer, row))
        .containsExactly(
            IntStream.range(rows.imageStart, rows.prefixKeys)
                .filter(key -> !imagePositions.contains(key - rows.imageStart))
                .toArray());
    int choice = rows.rules.stream().distinct().toList().indexOf(rows.rules.get(row));
    assertThat(detector.visualSinkCounts(layer).toFloatArray()[choice])
        .isEqualTo(imagePositions.size());
  }

  /** Sums over the sinks of the definition, for random weights on what a query sees. */
  private void compareSums(Random random, SinkDetector detector, Rows rows, Segment segment) {
    int layer = SinkRule.FIRST_LAYER + random.nextInt(2);
    int keys = segment.keys();
    int queries = segment.queries();
    float[] weights = new float[HEADS * queries * keys];
    for (int i = 0; i < weights.length; i++) {
      Token token = segment.token(i / keys % queries);
      weights[i] = rows.sees(token, i % keys) ? random.nextFloat() : 0;
    }
    KeyGroupSums sums =
        detector.sums(
            layer, segment, tiny.manager().create(weights, new Shape(HEADS, queries, keys)));
    assertThat(sums.byGroup().getShape()).isEqualTo(new Shape(1, HEADS, queries, 3));
    float[] byGroup = sums.byGroup().toFloatArray();
    for (int i = 0; i < HEADS * queries; i++) {
      int row = segment.token(i % queries).row();
      double ofSinks = 0;
      double ofNonsinks = 0;
      double ofText = 0;
      for (int key = 0; key < keys; key++) {
        boolean sink = rows.isSink(layer, row, key);
        boolean image = key >= rows.imageStart && key < rows.prefixKeys;
        double weight = weights[i * keys + key];
        ofSinks += image && sink ? weight : 0;
        ofNonsinks += image && !sink ? weight : 0;
        ofText += !image && sink ? weight : 0;
      }
      assertThat((double) byGroup[3 * i]).isCloseTo(ofSinks, within(1e-5));
      assertThat((double) byGroup[3 * i + 1]).isCloseTo(ofNonsinks, within(1e-5));
      assertThat((double) byGroup[3 * i + 2]).isCloseTo(ofText, within(1e-5));
    }
  }

  /** Random rows on one image, and where their tokens have come to lie in the cache. */
  private static final class Rows {
    final int imageStart;
    final int prefixKeys;
    final int[] promptLengths;
    final List<SinkRule> rules = new ArrayList<>();
    final float[][][] prefix = new float[LAYERS][][]; // [layer][prefix key][hidden]
    final float[][][][] own; // [layer][row][own index][hidden]
    private final List<Token> slots = new ArrayList<>(); // After the prefix.
    private final int[] lengths; // By row, tokens so far.
    private int tokens;

    Rows(Random random) {
      imageStart = 1 + random.nextInt(4);
      prefixKeys = imageStart + 1 + random.nextInt(8);
      promptLengths = new int[1 + random.nextInt(4)];
      lengths = new int[promptLengths.length];
      List<Double> thresholds = List.of(1.2 + random.nextDouble(), 1.2 + random.nextDouble());
      own = new float[LAYERS][promptLengths.length][][];
      for (int r = 0; r < promptLengths.length; r++) {
        promptLengths[r] = 1 + random.nextInt(5);
        rules.add( // Some rows share a rule.
            new SinkRule(
                thresholds.get(random.nextInt(2)),
                Comparison.AT_LEAST,
                random.nextBoolean() ? SinkTokens.PROMPT : SinkTokens.ALL));
      }
      for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
        prefix[l] = states(random, prefixKeys);
        for (int r = 0; r < promptLengths.length; r++) {
          own[l][r] = states(random, promptLengths[r] + 2);
        }
      }
    }

    int count() {
      return promptLengths.length;
    }

    /** The prompts of rows that now begin, one token of the others, rows in any order. */
    List<Token> next(Random random, int begun) {
      List<Integer> order = new ArrayList<>(IntStream.range(0, begun).boxed().toList());
      Collections.shuffle(order, random);
      List<Token> next = new ArrayList<>();
      for (int r : order) {
        int end = lengths[r] == 0 ? promptLengths[r] : lengths[r] + 1;
        for (int i = lengths[r]; i < end; i++) {
          next.add(new Token(r, i, i == end - 1));
        }
        lengths[r] = end;
      }
      slots.addAll(next);
      tokens = next.size();
      return next;
    }

    /** Hidden states of the newest tokens. */
    float[][] ofTokens(int layer) {
      return slots.subList(slots.size() - tokens, slots.size()).stream()
          .map(token -> own[layer][token.row()][token.ownIndex()])
          .toArray(float[][]::new);
    }

    boolean sees(Token query, int key) {
      if (key < prefixKeys) {
        return true;
      }
      Token token = slots.get(key - prefixKeys);
      return token.row() == query.row() && token.ownIndex() <= query.ownIndex();
    }

    /** Whether a key is a sink by a row's rule, if it sees the key at all. */
    boolean isSink(int layer, int row, int key) {
      SinkRule rule = rules.get(row);
      if (key < prefixKeys) {
        return sinkValue(prefix[layer][key]) >= rule.threshold();
      }
      Token token = slots.get(key - prefixKeys);
      return token.row() == row
          && (token.ownIndex() < promptLengths[row] || rule.tokens() == SinkTokens.ALL)
          && sinkValue(own[layer][row][token.ownIndex()]) >= rule.threshold();
    }

    LayerSinks plain(int layer, int row) {
      double threshold = rules.get(row).threshold();
      List<Integer> image = new ArrayList<>();
      List<Integer> text = new ArrayList<>();
      double largest = 0;
      for (int k = 0; k < prefixKeys; k++) {
        double value = sinkValue(prefix[layer][k]);
        if (k >= imageStart) {
          largest = Math.max(largest, value);
        }
        if (value >= threshold) {
          (k < imageStart ? text : image).add(k < imageStart ? k : k - imageStart);
        }
      }
      for (int k = 0; k < promptLengths[row]; k++) {
        if (sinkValue(own[layer][row][k]) >= threshold) {
          text.add(prefixKeys + k);
        }
      }
      return new LayerSinks(layer, image, text, (float) largest);
    }
  }

  @Test
  void countsAValueExactlyAtTheThresholdInThePaperButNotInTheReleasedCode() {
    float[][] prefix = {spike(1), spike(9), spike(2)};
    try (PrefixSinkValues values = prefixValues()) {
      KeyValueCache cache = cache(3, 8);
      showPrefix(values, cache, layer -> prefix);
      float second = values.at(2).toFloatArray()[1];
      assertThat((double) second).isCloseTo(sinkValue(prefix[1]), within(1e-5));

      assertThat(textSinks(values, cache, second, Comparison.AT_LEAST)).containsExactly(1);
      assertThat(textSinks(values, cache, second, Comparison.ABOVE)).isEmpty();
      assertThat(textSinks(values, cache, Math.nextUp(second), Comparison.AT_LEAST)).isEmpty();
      assertThat(textSinks(values, cache, Math.nextDown(second), Comparison.ABOVE))
          .containsExactly(1);
    }
  }

  /** Sinks before the image, which is the last token of the prefix. */
  private List<Integer> textSinks(
      PrefixSinkValues values, KeyValueCache cache, double threshold, Comparison comparison) {
    SinkRule rule = new SinkRule(threshold, comparison, SinkTokens.PROMPT);
    try (SinkDetector detector =
        new SinkDetector(tiny.operators(), values, 2, List.of(rule), new int[] {1})) {
      show(detector, segment(cache, List.of(new Token(0, 0, true))), spike(0));
      float[] textSinks = detector.groups(2).get("0, 0, 2").toFloatArray(); // [slot]
      List<Integer> positions = detector.promptSinks(0).get(0).textPositions();
      for (int k = 0; k < 2; k++) {
        assertThat(textSinks[k]).isEqualTo(positions.contains(k) ? 1f : 0f);
      }
      return positions;
    }
  }

  @Test
  void looksAtGeneratedTokensOnlyWhenTheRuleSaysAll() {
    int[] promptLengths = {2, 1};
    try (PrefixSinkValues values = prefixValues()) {
      KeyValueCache cache = cache(2, 5);
      showPrefix(values, cache, layer -> new float[][] {spike(0), spike(0)});
      List<SinkRule> rules = List.of(rule(SinkTokens.PROMPT), rule(SinkTokens.ALL));
      try (SinkDetector detector =
          new SinkDetector(tiny.operators(), values, 1, rules, promptLengths)) {
        List<Token> prompts =
            List.of(new Token(0, 0, false), new Token(0, 1, true), new Token(1, 0, true));
        show(detector, segment(cache, prompts), spike(0), spike(9), spike(9));
        assertThat(ownSinks(detector, 0)).containsExactly(0, 1, 1, 0, 0);
        assertThat(ownSinks(detector, 1)).containsExactly(0, 1, 1, 0, 0);

        List<Token> generated = List.of(new Token(0, 2, true), new Token(1, 1, true));
        show(detector, segment(cache, generated), spike(9), spike(9));
        assertThat(ownSinks(detector, 0)).containsExactly(0, 1, 1, 0, 1);
        assertThat(ownSinks(detector, 1)).containsExactly(0, 1, 1, 0, 1);
        assertThat(detector.promptSinks(1).get(0).textPositions()).containsExactly(2);
      }
    }
  }

  @Test
  void forgetsSinksOfRowsWhoseSlotsOthersTake() {
    int[] promptLengths = {3, 1};
    List<SinkRule> rules = List.of(rule(SinkTokens.PROMPT), rule(SinkTokens.PROMPT));
    try (PrefixSinkValues values = prefixValues()) {
      KeyValueCache cache = cache(2, 3);
      showPrefix(values, cache, layer -> new float[][] {spike(0), spike(0)});
      try (SinkDetector detector =
          new SinkDetector(tiny.operators(), values, 1, rules, promptLengths)) {
        List<Token> first =
            List.of(new Token(0, 0, false), new Token(0, 1, false), new Token(0, 2, true));
        show(detector, segment(cache, first), spike(9), spike(9), spike(9));
        assertThat(ownSinks(detector, 0)).containsExactly(1, 1, 1);

        cache.forgetRows();
        show(detector, segment(cache, List.of(new Token(1, 0, true))), spike(0));
        assertThat(ownSinks(detector, 0)).containsExactly(0, 1, 1);
        show(detector, segment(cache, List.of(new Token(1, 1, true))), spike(9)); // Generated.
        assertThat(ownSinks(detector, 0)).containsExactly(0, 0, 1);
        assertThat(detector.promptSinks(0).get(0).textPositions()).containsExactly(2, 3, 4);
        assertThat(detector.promptSinks(1).get(0).textPositions()).isEmpty();
      }
    }
  }

  @Test
  void keepsGroupsOnceForRowsOfOneRule() {
    SinkRule low = new SinkRule(1.5, Comparison.AT_LEAST, SinkTokens.PROMPT);
    SinkRule high = new SinkRule(3, Comparison.AT_LEAST, SinkTokens.PROMPT);
    try (PrefixSinkValues values = prefixValues()) {
      KeyValueCache cache = cache(3, 4);
      // Of twelve dimensions the spike of 2 has the sink value 1.79, that of 9 one of 3.25.
      showPrefix(values, cache, layer -> new float[][] {spike(0), spike(2), spike(9)});
      try (SinkDetector detector =
          new SinkDetector(
              tiny.operators(), values, 1, List.of(low, high, low), new int[] {1, 1, 1})) {
        Segment segment =
            segment(
                cache,
                List.of(new Token(2, 0, true), new Token(1, 0, true), new Token(0, 0, true)));
        show(detector, segment, spike(0), spike(0), spike(0));
        assertThat(detector.groups(2).getShape()).isEqualTo(new Shape(1, 2, 3, 7));
        assertThat(IntStream.range(0, 3).map(detector::choice)).containsExactly(0, 1, 0);
        assertThat(detector.visualSinkCounts(2).toFloatArray()).containsExactly(2, 1);
      }
    }
  }

  @Test
  void looksForSinksFromTheThirdLayerToTheLast() {
    try (PrefixSinkValues values = prefixValues();
        SinkDetector detector =
            new SinkDetector(tiny.operators(), values, 1, List.of(), new int[0])) {
      for (int layer = 0; layer <= LAYERS; layer++) {
        boolean expected = layer == 2 || layer == 3;
        assertThat(detector.covers(layer)).isEqualTo(expected);
        assertThat(values.asks(Point.HIDDEN_STATES, layer)).isEqualTo(expected);
        assertThat(values.asks(Point.WEIGHTS, layer)).isFalse();
      }
    }
  }

  @Test
  void refusesDimensionsTheHiddenStateDoesNotHave() {
    assertThatThrownBy(
            () -> new PrefixSinkValues(tiny.operators(), List.of(3, HIDDEN), HIDDEN, LAYERS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must be from 0 to 11, not 12");
    assertThatThrownBy(() -> new PrefixSinkValues(tiny.operators(), List.of(-1), HIDDEN, LAYERS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must be from 0 to 11, not -1");
  }

  @Test
  void refusesToLookInNoDimension() {
    assertThatThrownBy(() -> new PrefixSinkValues(tiny.operators(), List.of(), HIDDEN, LAYERS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must not be empty");
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -1, Double.NaN, Double.POSITIVE_INFINITY})
  void refusesThresholdsThatAreNotAboveZero(double threshold) {
    assertThatThrownBy(() -> new SinkRule(threshold, Comparison.AT_LEAST, SinkTokens.PROMPT))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink threshold must be above 0, not " + threshold);
  }

  private static SinkRule rule(SinkTokens tokens) {
    return new SinkRule(2, Comparison.AT_LEAST, tokens);
  }

  private static PrefixSinkValues prefixValues() {
    return new PrefixSinkValues(tiny.operators(), DIMENSIONS, HIDDEN, LAYERS);
  }

  private KeyValueCache cache(int prefixKeys, int ownCapacity) {
    return tiny.decoder()
        .newCache(tiny.manager(), RotaryPositions.sequential(prefixKeys), ownCapacity);
  }

  private interface LayerStates {
    /** {@code [token][hidden]}. */
    float[][] at(int layer);
  }

  private void showPrefix(PrefixSinkValues values, KeyValueCache cache, LayerStates states) {
    Segment prefix = Segment.ofPrefix(cache, values);
    prefix.enter(tiny.manager(), new Notes(tiny.manager()));
    for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
      values.onHiddenStates(l, prefix, array(states.at(l)));
    }
    prefix.notes().read(tiny.operators());
  }

  private Segment segment(KeyValueCache cache, List<Token> tokens) {
    Segment segment = Segment.ofRows(cache, AttentionHook.NONE, 0, tokens);
    segment.enter(tiny.manager(), new Notes(tiny.manager()));
    return segment;
  }

  /** Shows the same hidden states at every layer. */
  private void show(SinkDetector detector, Segment segment, float[]... states) {
    detector.onSegment(segment);
    for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
      detector.onHiddenStates(l, segment, array(states));
    }
    segment.notes().read(tiny.operators());
  }

  /** A choice's text sinks behind the prefix at the first layer with sinks, as 0 and 1. */
  private static float[] ownSinks(SinkDetector detector, int choice) {
    NDArray groups = detector.groups(SinkRule.FIRST_LAYER);
    return groups.get("0, {}, 2, {}:", choice, detector.prefixLength()).toFloatArray();
  }

  /** {@code [token][hidden]} as an array. */
  private NDArray array(float[][] states) {
    float[] flat = new float[states.length * HIDDEN];
    for (int t = 0; t < states.length; t++) {
      System.arraycopy(states[t], 0, flat, t * HIDDEN, HIDDEN);
    }
    return tiny.manager().create(flat, new Shape(states.length, HIDDEN));
  }

  /** Ones everywhere but for one sink dimension. */
  private static float[] spike(float height) {
    float[] state = new float[HIDDEN];
    Arrays.fill(state, 1);
    state[7] = -height;
    return state;
  }

  private static float[][] states(Random random, int tokens) {
    float[][] states = new float[tokens][HIDDEN];
    for (float[] state : states) {
      for (int d = 0; d < HIDDEN; d++) {
        state[d] = (float) random.nextGaussian();
      }
      state[DIMENSIONS.get(random.nextInt(2))] *= 1 + random.nextInt(4);
    }
    return states;
  }
}
