package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Laws of the decoder, on text alone. */
class LlamaDecoderTest {
  private static final float TOLERANCE = 1e-5f;
  private static final int[] IDS = {1, 275, 372, 376, 364, 260, 373, 377, 306, 280, 266, 368};

  private static VisionLanguageModel model;
  private static LlamaDecoder decoder;
  private NDManager manager;

  @BeforeAll
  static void load() {
    model = TinyCheckpoint.load("llava-gqa");
    decoder = model.decoder();
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

  @Test
  void givesTheSameLogitsWhetherNoneOrAllIsWatched() {
    float[] plain = logits(AttentionHook.NONE, IDS);
    assertThat(logits(new Watching(EnumSet.noneOf(AttentionHook.Point.class)), IDS))
        .containsExactly(plain, withPrecision(0f));
    assertThat(logits(new Watching(EnumSet.of(AttentionHook.Point.HIDDEN_STATES)), IDS))
        .containsExactly(plain, withPrecision(0f));
    assertThat(logits(new Watching(EnumSet.allOf(AttentionHook.Point.class)), IDS))
        .containsExactly(plain, withPrecision(TOLERANCE));
  }

  @ParameterizedTest
  @EnumSource
  void givesTheSameLogitsWhateverOnePointIsWatched(AttentionHook.Point point) {
    assertThat(logits(new Watching(EnumSet.of(point)), IDS))
        .containsExactly(logits(AttentionHook.NONE, IDS), withPrecision(TOLERANCE));
  }

  @Test
  void callsAHookOnlyWhereItAsksAndInTheOrderOfTheLayers() {
    Watching idle = new Watching(EnumSet.noneOf(AttentionHook.Point.class));
    logits(idle, IDS);
    assertThat(idle.calls).containsExactly("pass");

    Watching all = new Watching(EnumSet.allOf(AttentionHook.Point.class));
    logits(all, IDS);
    List<String> expected = new ArrayList<>(List.of("pass"));
    for (int layer = 0; layer < decoder.config().numHiddenLayers(); layer++) {
      for (String point : List.of("hidden", "normed", "scores", "weights", "heads")) {
        expected.add(point + layer);
      }
    }
    expected.add("hidden" + decoder.config().numHiddenLayers());
    assertThat(all.calls).isEqualTo(expected);
  }

  @Test
  void showsWeightsWhoseRowsSumToOneAndThatNeverLookAhead() {
    SharedPrefix prefix = prefix(Arrays.copyOf(IDS, 5));
    int[] own = Arrays.copyOfRange(IDS, 5, IDS.length);
    List<Integer> checked = new ArrayList<>();
    AttentionHook hook =
        new Asking(AttentionHook.Point.WEIGHTS) {
          @Override
          public AttentionParts onWeights(int layer, AttentionParts weights) {
            float[] toPrefix = weights.prefix().toFloatArray();
            float[] toOwn = weights.own().toFloatArray();
            int keys = own.length;
            assertThat(weights.prefix().getShape()).isEqualTo(new Shape(1, 4, keys, 5));
            assertThat(weights.own().getShape()).isEqualTo(new Shape(1, 4, keys, keys));
            for (int row = 0; row < 4 * keys; row++) {
              double sum = 0;
              for (int k = 0; k < 5; k++) {
                sum += toPrefix[row * 5 + k];
              }
              for (int k = 0; k < keys; k++) {
                sum += toOwn[row * keys + k];
                if (k > row % keys) {
                  assertThat(toOwn[row * keys + k]).isZero();
                }
              }
              assertThat((float) sum).isEqualTo(1f, withPrecision(TOLERANCE));
            }
            checked.add(layer);
            return weights;
          }
        };
    lastLogits(prefix, hook, own);
    assertThat(checked).containsExactly(0, 1, 2, 3, 4);
  }

  @Test
  void usesTheWeightsScoresAndHeadOutputsAHookReturns() {
    float[] plain = logits(AttentionHook.NONE, IDS);
    AttentionHook onlyFirstKeyByWeights =
        new Asking(AttentionHook.Point.WEIGHTS) {
          @Override
          public AttentionParts onWeights(int layer, AttentionParts weights) {
            NDArray own = weights.own().zerosLike();
            own.set(new NDIndex("..., 0"), 1);
            return new AttentionParts(weights.prefix(), own);
          }
        };
    AttentionHook onlyFirstKeyByScores =
        new Asking(AttentionHook.Point.SCORES) {
          @Override
          public AttentionParts onScores(int layer, AttentionParts scores) {
            NDArray own = scores.own().duplicate();
            own.set(new NDIndex("..., 1:"), Float.NEGATIVE_INFINITY);
            return new AttentionParts(scores.prefix(), own);
          }
        };
    AttentionHook noHeads =
        new Asking(AttentionHook.Point.HEAD_OUTPUTS) {
          @Override
          public NDArray onHeadOutputs(int layer, NDArray outputs) {
            return outputs.zerosLike();
          }
        };
    AttentionHook noWeights =
        new Asking(AttentionHook.Point.WEIGHTS) {
          @Override
          public AttentionParts onWeights(int layer, AttentionParts weights) {
            return new AttentionParts(weights.prefix(), weights.own().zerosLike());
          }
        };

    float[] byWeights = logits(onlyFirstKeyByWeights, IDS);
    assertThat(largestDifference(byWeights, plain)).isGreaterThan(0.1f);
    assertThat(logits(onlyFirstKeyByScores, IDS))
        .containsExactly(byWeights, withPrecision(TOLERANCE));
    float[] withoutHeads = logits(noHeads, IDS);
    assertThat(largestDifference(withoutHeads, byWeights)).isGreaterThan(0.1f);
    assertThat(logits(noWeights, IDS)).containsExactly(withoutHeads, withPrecision(TOLERANCE));
  }

  @RepeatedTest(5)
  void givesTheSameLogitsAfterASharedPrefixAsInOnePass(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int[] ids = ids(random, 4 + random.nextInt(20));
    int cut = 1 + random.nextInt(ids.length - 1);
    float[] once = lastLogits(decoder.noPrefix(), AttentionHook.NONE, ids);
    SharedPrefix prefix = prefix(Arrays.copyOf(ids, cut));
    int[] own = Arrays.copyOfRange(ids, cut, ids.length);
    assertThat(lastLogits(prefix, AttentionHook.NONE, own))
        .containsExactly(once, withPrecision(TOLERANCE));
    assertThat(lastLogits(prefix, new Watching(EnumSet.of(AttentionHook.Point.WEIGHTS)), own))
        .containsExactly(once, withPrecision(TOLERANCE));
  }

  @RepeatedTest(5)
  void givesTheSameLogitsTokenByTokenAsInOnePass(RepetitionInfo repetition) {
    Random random = new Random(100 + repetition.getCurrentRepetition());
    int[] ids = ids(random, 3 + random.nextInt(8));
    float[] once = lastLogits(decoder.noPrefix(), AttentionHook.NONE, ids);
    assertThat(tokenByToken(decoder.noPrefix(), AttentionHook.NONE, ids))
        .containsExactly(once, withPrecision(TOLERANCE));
    assertThat(
            tokenByToken(
                decoder.noPrefix(), new Watching(EnumSet.of(AttentionHook.Point.WEIGHTS)), ids))
        .containsExactly(once, withPrecision(TOLERANCE));
    SharedPrefix prefix = prefix(Arrays.copyOf(ids, 2));
    assertThat(tokenByToken(prefix, AttentionHook.NONE, Arrays.copyOfRange(ids, 2, ids.length)))
        .containsExactly(once, withPrecision(TOLERANCE));
  }

  @RepeatedTest(5)
  void givesEveryRowOfAPaddedBatchTheLogitsItHasAlone(RepetitionInfo repetition) {
    Random random = new Random(200 + repetition.getCurrentRepetition());
    SharedPrefix prefix = prefix(ids(random, 6));
    int[][] rows = new int[2 + random.nextInt(3)][];
    int longest = 0;
    for (int r = 0; r < rows.length; r++) {
      rows[r] = ids(random, 1 + random.nextInt(9));
      longest = Math.max(longest, rows[r].length);
    }
    for (AttentionHook hook :
        List.of(AttentionHook.NONE, new Watching(EnumSet.of(AttentionHook.Point.WEIGHTS)))) {
      float[][] together = batchLogits(prefix, hook, rows, longest);
      for (int r = 0; r < rows.length; r++) {
        assertThat(together[r])
            .containsExactly(
                lastLogits(prefix, AttentionHook.NONE, rows[r]), withPrecision(TOLERANCE));
      }
    }
  }

  @Test
  void leavesOutTheEndOfTheLastLayerWhereNothingReadsIt() {
    Watching heads = new Watching(EnumSet.of(AttentionHook.Point.NORMED_INPUT));
    pass(decoder.noPrefix(), cache(1, IDS.length), heads, ids2d(IDS), 0, new int[] {-1});
    assertThat(heads.calls).contains("normed4");

    NDArray stopped =
        pass(
            decoder.noPrefix(),
            cache(1, IDS.length),
            AttentionHook.NONE,
            ids2d(IDS),
            0,
            new int[] {-1});
    NDArray whole =
        pass(
            decoder.noPrefix(),
            cache(1, IDS.length),
            new Watching(EnumSet.of(AttentionHook.Point.HIDDEN_STATES)),
            ids2d(IDS),
            0,
            new int[] {-1});
    NDArray answering =
        pass(
            decoder.noPrefix(),
            cache(1, IDS.length),
            AttentionHook.NONE,
            ids2d(IDS),
            0,
            new int[] {IDS.length - 1});
    assertThat(whole.toFloatArray())
        .containsExactly(answering.toFloatArray(), withPrecision(TOLERANCE));
    assertThat(largestDifference(stopped.toFloatArray(), whole.toFloatArray()))
        .isGreaterThan(0.01f);
  }

  @Test
  void leavesTheCallerItsCacheItsInputsAndResultsAndNothingElse() {
    NDManager base = model.operators().manager();
    int before = base.getManagedArrays().size();
    logits(new Watching(EnumSet.allOf(AttentionHook.Point.class)), IDS);
    int caches = 2 * decoder.config().numHiddenLayers();
    // Ids, positions, hidden states and logits.
    assertThat(manager.getManagedArrays()).hasSize(caches + 4);
    manager.close();
    assertThat(base.getManagedArrays()).hasSize(before);
    open();
  }

  private float[] logits(AttentionHook hook, int... ids) {
    NDArray hidden =
        pass(
            decoder.noPrefix(),
            cache(1, ids.length),
            hook,
            ids2d(ids),
            0,
            new int[] {ids.length - 1});
    return decoder.logits(hidden).toFloatArray();
  }

  private float[] lastLogits(SharedPrefix prefix, AttentionHook hook, int... ids) {
    NDArray hidden =
        pass(prefix, cache(1, ids.length), hook, ids2d(ids), 0, new int[] {ids.length - 1});
    return decoder.logits(hidden).get(new NDIndex("0, -1")).toFloatArray();
  }

  private float[] tokenByToken(SharedPrefix prefix, AttentionHook hook, int... ids) {
    KeyValueCache cache = cache(1, ids.length);
    float[] logits = new float[0];
    for (int t = 0; t < ids.length; t++) {
      NDArray hidden = pass(prefix, cache, hook, ids2d(ids[t]), t, new int[] {0});
      logits = decoder.logits(hidden).toFloatArray();
    }
    return logits;
  }

  private float[][] batchLogits(
      SharedPrefix prefix, AttentionHook hook, int[][] rows, int longest) {
    int[][] padded = new int[rows.length][];
    int[] answerQueries = new int[rows.length];
    for (int r = 0; r < rows.length; r++) {
      padded[r] = Arrays.copyOf(rows[r], longest);
      Arrays.fill(padded[r], rows[r].length, longest, 500); // Nobody may see it.
      answerQueries[r] = rows[r].length - 1;
    }
    NDArray hidden = pass(prefix, cache(rows.length, longest), hook, padded, 0, answerQueries);
    NDArray logits = decoder.logits(hidden);
    float[][] last = new float[rows.length][];
    for (int r = 0; r < rows.length; r++) {
      last[r] = logits.get(new NDIndex("{}, {}", r, answerQueries[r])).toFloatArray();
    }
    return last;
  }

  private SharedPrefix prefix(int... ids) {
    KeyValueCache cache = cache(1, ids.length);
    pass(decoder.noPrefix(), cache, AttentionHook.NONE, ids2d(ids), 0, new int[] {-1});
    return cache.share(0, RotaryPositions.sequential(ids.length));
  }

  private NDArray pass(
      SharedPrefix prefix,
      KeyValueCache cache,
      AttentionHook hook,
      int[][] ids,
      int firstPosition,
      int[] answerQueries) {
    int queries = ids[0].length;
    Shape shape = new Shape(ids.length, queries);
    long[] flat = Arrays.stream(ids).flatMapToInt(Arrays::stream).asLongStream().toArray();
    long[] positions =
        LongStream.range(0, flat.length).map(i -> firstPosition + i % queries).toArray();
    Pass pass =
        new Pass(
            prefix,
            cache,
            manager.create(positions, shape),
            firstPosition + queries,
            answerQueries);
    NDArray embeddings = decoder.embed(manager.create(flat, shape));
    assertThat(embeddings.getDataType()).isEqualTo(DataType.FLOAT32);
    return decoder.forward(embeddings, pass, hook);
  }

  private KeyValueCache cache(int rows, int capacity) {
    return decoder.newCache(manager, rows, capacity);
  }

  private static int[][] ids2d(int... ids) {
    return new int[][] {ids};
  }

  private static int[] ids(Random random, int length) {
    return random.ints(length, 3, 450).toArray();
  }

  private static float largestDifference(float[] a, float[] b) {
    float largest = 0;
    for (int i = 0; i < a.length; i++) {
      largest = Math.max(largest, Math.abs(a[i] - b[i]));
    }
    return largest;
  }

  /** Asks for one point of every layer. */
  private abstract static class Asking implements AttentionHook {
    private final Point asked;

    Asking(Point asked) {
      this.asked = asked;
    }

    @Override
    public boolean asks(Point point, int layer) {
      return point == asked;
    }
  }

  /** Notes every call and changes nothing, but returns copies. */
  private static final class Watching implements AttentionHook {
    private final Set<Point> asked;
    private final List<String> calls = new ArrayList<>();

    Watching(Set<Point> asked) {
      this.asked = asked;
    }

    @Override
    public boolean asks(Point point, int layer) {
      return asked.contains(point);
    }

    @Override
    public void onPass(Pass pass) {
      calls.add("pass");
    }

    @Override
    public void onHiddenStates(int layer, NDArray hiddenStates) {
      calls.add("hidden" + layer);
    }

    @Override
    public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
      calls.add("normed" + layer);
    }

    @Override
    public AttentionParts onScores(int layer, AttentionParts scores) {
      calls.add("scores" + layer);
      return copy(scores);
    }

    @Override
    public AttentionParts onWeights(int layer, AttentionParts weights) {
      calls.add("weights" + layer);
      return copy(weights);
    }

    @Override
    public NDArray onHeadOutputs(int layer, NDArray outputs) {
      calls.add("heads" + layer);
      return outputs.duplicate();
    }

    private static AttentionParts copy(AttentionParts parts) {
      return new AttentionParts(parts.prefix().duplicate(), parts.own().duplicate());
    }
  }
}
