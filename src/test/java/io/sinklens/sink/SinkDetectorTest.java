package io.sinklens.sink;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Pass;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.SharedPrefix;
import io.sinklens.sink.SinkRule.Comparison;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SinkDetectorTest {
  private static final int HIDDEN = 12;
  private static final List<Integer> DIMENSIONS = List.of(3, 7);
  private static final int LAYERS = 4;
  private static final int HEADS = 2;

  private static VisionLanguageModel model;
  private NDManager manager;

  @BeforeAll
  static void load() {
    model = TinyCheckpoint.load("llava-gqa"); // For its operators and caches alone.
  }

  @AfterAll
  static void unload() {
    model.close();
  }

  @BeforeEach
  void open() {
    manager = model.operators().manager().newSubManager();
  }

  @AfterEach
  void free() {
    manager.close();
  }

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

  @RepeatedTest(10)
  void agreesWithThePlainDefinition(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int imageStart = 1 + random.nextInt(4);
    int prefixKeys = imageStart + 1 + random.nextInt(8);
    int[] promptLengths = new int[1 + random.nextInt(3)];
    int longest = 0;
    List<SinkRule> rules = new ArrayList<>();
    for (int r = 0; r < promptLengths.length; r++) {
      promptLengths[r] = 1 + random.nextInt(5);
      longest = Math.max(longest, promptLengths[r]);
      rules.add(new SinkRule(1.2 + random.nextDouble(), Comparison.AT_LEAST, SinkTokens.PROMPT));
    }
    float[][][] ofPrefix = new float[LAYERS][][];
    float[][][][] own = new float[LAYERS][promptLengths.length][][]; // [layer][row][query][hidden]
    for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
      ofPrefix[l] = states(random, prefixKeys);
      for (int r = 0; r < promptLengths.length; r++) {
        own[l][r] = states(random, longest);
      }
    }

    try (PrefixSinkValues values = prefixValues();
        SinkDetector detector =
            new SinkDetector(model.operators(), values, imageStart, rules, promptLengths)) {
      for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
        values.onHiddenStates(l, array(new float[][][] {ofPrefix[l]}));
      }
      detector.onPass(prompts(prefixKeys, promptLengths, longest + 2));
      for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
        detector.onHiddenStates(l, array(own[l]));
      }

      assertThat(detector.imageTokens()).isEqualTo(prefixKeys - imageStart);
      for (int r = 0; r < promptLengths.length; r++) {
        List<LayerSinks> found = detector.promptSinks(r);
        assertThat(found).extracting(LayerSinks::layer).containsExactly(2, 3);
        for (int l = SinkRule.FIRST_LAYER; l < LAYERS; l++) {
          LayerSinks expected =
              plain(l, ofPrefix[l], own[l][r], imageStart, promptLengths[r], rules.get(r));
          LayerSinks actual = found.get(l - SinkRule.FIRST_LAYER);
          assertThat(actual.imagePositions()).isEqualTo(expected.imagePositions());
          assertThat(actual.textPositions()).isEqualTo(expected.textPositions());
          assertThat(actual.maxValue()).isCloseTo(expected.maxValue(), within(1e-5f));
        }
      }
      compareSums(random, detector, prefixKeys, imageStart, longest, promptLengths.length);
    }
  }

  /** Sums over the reported positions, for random weights. */
  private void compareSums(
      Random random, SinkDetector detector, int prefixKeys, int imageStart, int ownKeys, int rows) {
    int layer = SinkRule.FIRST_LAYER;
    float[] prefix = uniform(random, rows * HEADS * ownKeys * prefixKeys);
    float[] own = uniform(random, rows * HEADS * ownKeys * ownKeys);
    KeyGroupSums sums =
        detector.sums(
            layer,
            new AttentionParts(
                manager.create(prefix, new Shape(rows, HEADS, ownKeys, prefixKeys)),
                manager.create(own, new Shape(rows, HEADS, ownKeys, ownKeys))));
    float[] visualSinks = sums.visualSinks().toFloatArray();
    float[] visualNonsinks = sums.visualNonsinks().toFloatArray();
    float[] textSinks = sums.textSinks().toFloatArray();
    float[] image = sums.image().toFloatArray();
    float[] sinks = sums.sinks().toFloatArray();
    for (int i = 0; i < visualSinks.length; i++) {
      LayerSinks found = detector.promptSinks(i / (HEADS * ownKeys)).get(0);
      double ofSinks = 0;
      double ofImage = 0;
      double ofText = 0;
      for (int k = imageStart; k < prefixKeys; k++) {
        ofImage += prefix[i * prefixKeys + k];
        if (found.imagePositions().contains(k - imageStart)) {
          ofSinks += prefix[i * prefixKeys + k];
        }
      }
      for (int position : found.textPositions()) {
        ofText +=
            position < prefixKeys
                ? prefix[i * prefixKeys + position]
                : own[i * ownKeys + position - prefixKeys];
      }
      assertThat((double) visualSinks[i]).isCloseTo(ofSinks, within(1e-5));
      assertThat((double) visualNonsinks[i]).isCloseTo(ofImage - ofSinks, within(1e-5));
      assertThat((double) textSinks[i]).isCloseTo(ofText, within(1e-5));
      assertThat((double) image[i]).isCloseTo(ofImage, within(1e-5));
      assertThat((double) sinks[i]).isCloseTo(ofSinks + ofText, within(1e-5));
    }
  }

  private static LayerSinks plain(
      int layer, float[][] prefix, float[][] own, int imageStart, int promptLength, SinkRule rule) {
    List<Integer> image = new ArrayList<>();
    List<Integer> text = new ArrayList<>();
    double largest = 0;
    for (int k = 0; k < prefix.length; k++) {
      double value = sinkValue(prefix[k]);
      if (k >= imageStart) {
        largest = Math.max(largest, value);
      }
      if (value >= rule.threshold()) {
        (k < imageStart ? text : image).add(k < imageStart ? k : k - imageStart);
      }
    }
    for (int k = 0; k < promptLength; k++) {
      if (sinkValue(own[k]) >= rule.threshold()) {
        text.add(prefix.length + k);
      }
    }
    return new LayerSinks(layer, image, text, (float) largest);
  }

  @Test
  void countsAValueExactlyAtTheThresholdInThePaperButNotInTheReleasedCode() {
    float[][] prefix = {spike(1), spike(9), spike(2)};
    try (PrefixSinkValues values = prefixValues()) {
      values.onHiddenStates(2, array(new float[][][] {prefix}));
      values.onHiddenStates(3, array(new float[][][] {prefix}));
      float second = values.at(2).toFloatArray()[1];
      assertThat((double) second).isCloseTo(sinkValue(prefix[1]), within(1e-5));

      assertThat(textSinks(values, second, Comparison.AT_LEAST)).containsExactly(1);
      assertThat(textSinks(values, second, Comparison.ABOVE)).isEmpty();
      assertThat(textSinks(values, Math.nextUp(second), Comparison.AT_LEAST)).isEmpty();
      assertThat(textSinks(values, Math.nextDown(second), Comparison.ABOVE)).containsExactly(1);
    }
  }

  /** Sinks before the image, which is the last token of the prefix. */
  private List<Integer> textSinks(
      PrefixSinkValues values, double threshold, Comparison comparison) {
    SinkRule rule = new SinkRule(threshold, comparison, SinkTokens.PROMPT);
    try (SinkDetector detector =
        new SinkDetector(model.operators(), values, 2, List.of(rule), new int[] {1})) {
      detector.onPass(prompts(3, new int[] {1}, 1));
      detector.onHiddenStates(2, array(new float[][][] {{spike(0)}}));
      detector.onHiddenStates(3, array(new float[][][] {{spike(0)}}));
      float[] groups = detector.prefixGroups(2).toFloatArray();
      List<Integer> positions = detector.promptSinks(0).get(0).textPositions();
      for (int k = 0; k < 2; k++) {
        assertThat(groups[3 * k + 2]).isEqualTo(positions.contains(k) ? 1f : 0f);
      }
      return positions;
    }
  }

  @Test
  void looksAtGeneratedTokensOnlyWhenTheRuleSaysAll() {
    List<SinkRule> rules =
        List.of(
            new SinkRule(2, Comparison.AT_LEAST, SinkTokens.PROMPT),
            new SinkRule(2, Comparison.AT_LEAST, SinkTokens.ALL));
    int[] promptLengths = {2, 1};
    try (PrefixSinkValues values = prefixValues()) {
      for (int l = 2; l < LAYERS; l++) {
        values.onHiddenStates(l, array(new float[][][] {{spike(0), spike(0)}}));
      }
      try (SinkDetector detector =
          new SinkDetector(model.operators(), values, 1, rules, promptLengths)) {
        KeyValueCache cache = model.decoder().newCache(manager, 2, 4);
        SharedPrefix prefix =
            model.decoder().newCache(manager, 1, 2).share(0, RotaryPositions.sequential(2));
        // The second row's second token is padding, however much it looks like a sink.
        detector.onPass(
            new Pass(prefix, cache, positions(new long[][] {{0, 1}, {0, 1}}), 2, new int[] {1, 0}));
        detector.onHiddenStates(
            2, array(new float[][][] {{spike(0), spike(9)}, {spike(9), spike(9)}}));
        assertThat(detector.ownSinks(2).toFloatArray()).containsExactly(0, 1, 1, 0);

        detector.onPass(
            new Pass(prefix, cache, positions(new long[][] {{2}, {1}}), 3, new int[] {0, 0}));
        detector.onHiddenStates(2, array(new float[][][] {{spike(9)}, {spike(9)}}));
        assertThat(detector.ownSinks(2).toFloatArray()).containsExactly(0, 1, 0, 1, 1, 0);
      }
    }
  }

  @Test
  void looksForSinksFromTheThirdLayerToTheLast() {
    try (PrefixSinkValues values = prefixValues();
        SinkDetector detector =
            new SinkDetector(model.operators(), values, 1, List.of(), new int[0])) {
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
            () -> new PrefixSinkValues(model.operators(), List.of(3, HIDDEN), HIDDEN, LAYERS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must be from 0 to 11, not 12");
    assertThatThrownBy(() -> new PrefixSinkValues(model.operators(), List.of(-1), HIDDEN, LAYERS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must be from 0 to 11, not -1");
  }

  @Test
  void refusesToLookInNoDimension() {
    assertThatThrownBy(() -> new PrefixSinkValues(model.operators(), List.of(), HIDDEN, LAYERS))
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

  private static PrefixSinkValues prefixValues() {
    return new PrefixSinkValues(model.operators(), DIMENSIONS, HIDDEN, LAYERS);
  }

  /** The pass over the rows' own prompts, padded on the right. */
  private Pass prompts(int prefixKeys, int[] promptLengths, int capacity) {
    int longest = 0;
    int[] answerQueries = new int[promptLengths.length];
    for (int r = 0; r < promptLengths.length; r++) {
      longest = Math.max(longest, promptLengths[r]);
      answerQueries[r] = promptLengths[r] - 1;
    }
    long[][] positions = new long[promptLengths.length][longest];
    for (long[] row : positions) {
      for (int q = 0; q < longest; q++) {
        row[q] = q;
      }
    }
    return new Pass(
        model
            .decoder()
            .newCache(manager, 1, prefixKeys)
            .share(0, RotaryPositions.sequential(prefixKeys)),
        model.decoder().newCache(manager, promptLengths.length, capacity),
        positions(positions),
        longest,
        answerQueries);
  }

  private NDArray positions(long[][] positions) {
    long[] flat = new long[positions.length * positions[0].length];
    for (int r = 0; r < positions.length; r++) {
      System.arraycopy(positions[r], 0, flat, r * positions[0].length, positions[0].length);
    }
    return manager.create(flat, new Shape(positions.length, positions[0].length));
  }

  /** {@code [row][token][hidden]} as one array. */
  private NDArray array(float[][][] states) {
    int tokens = states[0].length;
    float[] flat = new float[states.length * tokens * HIDDEN];
    for (int r = 0; r < states.length; r++) {
      for (int t = 0; t < tokens; t++) {
        System.arraycopy(states[r][t], 0, flat, (r * tokens + t) * HIDDEN, HIDDEN);
      }
    }
    return manager.create(flat, new Shape(states.length, tokens, HIDDEN));
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

  private static float[] uniform(Random random, int length) {
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = random.nextFloat();
    }
    return values;
  }
}
