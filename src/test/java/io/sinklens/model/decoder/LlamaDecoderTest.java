package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.withPrecision;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.TinyModel;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.tensor.TestDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Laws of the tiny.decoder(), on text alone. */
class LlamaDecoderTest {
  private static final float TOLERANCE = 1e-5f;
  private static final int[] IDS = {1, 275, 372, 376, 364, 260, 373, 377, 306, 280, 266, 368};
  private static final int LAYERS = 5;
  private static final int HEADS = 4;
  private static final int HIDDEN = 64;

  @RegisterExtension static final TinyModel tiny = TinyModel.of("llava-gqa");

  // --- Hooks

  @Test
  void givesTheSameLogitsWhetherNoneOrAllIsWatched() {
    float[] plain = logits(AttentionHook.NONE, IDS);
    assertThat(logits(watching(), IDS)).containsExactly(plain, withPrecision(0f));
    for (Point point : List.of(Point.HIDDEN_STATES, Point.NORMED_INPUT)) {
      assertThat(logits(beforeTheEnd(point), IDS)).containsExactly(plain, withPrecision(0f));
    }
    assertThat(logits(watching(Point.values()), IDS))
        .containsExactly(plain, withPrecision(TOLERANCE));
  }

  @ParameterizedTest
  @EnumSource
  void givesTheSameLogitsWhateverOnePointIsWatched(Point point) {
    float[] plain = logits(AttentionHook.NONE, IDS);
    assertThat(logits(watching(point), IDS)).containsExactly(plain, withPrecision(TOLERANCE));

    KeyValueCache cache = cache(5, 7);
    float[][] afterPrefix =
        pass(
            prefix(cache, watching(point), Arrays.copyOf(IDS, 5)),
            rows(cache, watching(point), 0, turn(0, 0, from(5, IDS))));
    assertThat(afterPrefix[0]).containsExactly(plain, withPrecision(TOLERANCE));
  }

  @Test
  void callsAHookOnlyWhereItAsksAndInTheOrderOfTheLayers() {
    Watching idle = watching();
    logits(idle, IDS);
    assertThat(idle.calls).containsExactly("segment");

    Watching all = watching(Point.values());
    logits(all, IDS);
    List<String> expected = new ArrayList<>(List.of("segment"));
    for (int layer = 0; layer < LAYERS; layer++) {
      for (String point : List.of("hidden", "normed", "scores", "weights", "heads")) {
        expected.add(point + layer);
      }
    }
    expected.add("hidden" + LAYERS);
    assertThat(all.calls).isEqualTo(expected);
  }

  @Test
  void showsBothOfTwoHooksTheSame() {
    Watching first = watching(Point.values());
    Watching second = watching(Point.values());
    logits(first.andThen(second), IDS);
    assertThat(second.calls).isEqualTo(first.calls).contains("normed0", "heads4");
  }

  @Test
  void showsWhatEntersALayerOfAPrefixBeforeItsRowsAttend() {
    List<String> calls = new ArrayList<>();
    KeyValueCache cache = cache(5, 7);
    pass(
        prefix(
            cache, new Watching("prefix ", calls, Set.of(Point.values())), Arrays.copyOf(IDS, 5)),
        rows(
            cache,
            new Watching("rows ", calls, Set.of(Point.values())),
            0,
            turn(0, 0, from(5, IDS))));
    assertThat(calls).startsWith("prefix segment", "rows segment");
    for (int layer = 0; layer < LAYERS; layer++) {
      assertThat(calls)
          .containsSubsequence(
              "prefix hidden" + layer, "prefix normed" + layer, "rows scores" + layer)
          .containsSubsequence("rows hidden" + layer, "rows normed" + layer, "rows scores" + layer);
    }
  }

  @Test
  void showsEveryHookTheHiddenStatesOfItsOwnTokens() {
    int[][] ids = {Arrays.copyOf(IDS, 5), {372, 376}, {364}};
    List<NDArray> shown = new ArrayList<>();
    AttentionHook keeping =
        new Asking(Point.HIDDEN_STATES) {
          @Override
          public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
            assertThat(hiddenStates.getShape()).isEqualTo(new Shape(segment.queries(), HIDDEN));
            if (layer == 0) {
              NDArray copy = hiddenStates.duplicate();
              copy.attach(tiny.manager());
              shown.add(copy);
            }
          }
        };
    KeyValueCache cache = cache(5, 3);
    pass(
        prefix(cache, keeping, ids[0]),
        rows(cache, keeping, 0, turn(0, 0, ids[1])),
        rows(cache, keeping, 1, turn(0, 0, ids[2])));
    assertThat(shown).hasSize(3);
    for (int s = 0; s < 3; s++) {
      long[] expected = Arrays.stream(ids[s]).asLongStream().toArray();
      assertThat(shown.get(s).toFloatArray())
          .containsExactly(
              tiny.decoder().embed(tiny.manager().create(expected)).toFloatArray(),
              withPrecision(0f));
    }
  }

  @Test
  void showsAttentionThatNeverLooksAheadNorAtOtherRows() {
    // Slots: 5 of the prefix, 7 of one row, 3 of another.
    List<String> checked = new ArrayList<>();
    AttentionHook hook =
        new Asking(Point.SCORES, Point.WEIGHTS) {
          @Override
          public NDArray onScores(int layer, Segment segment, NDArray scores) {
            check(layer, segment, scores, Float.NEGATIVE_INFINITY);
            checked.add("scores" + layer);
            return scores;
          }

          @Override
          public NDArray onWeights(int layer, Segment segment, NDArray weights) {
            check(layer, segment, weights, 0);
            float[] sums = weights.sum(new int[] {-1}).toFloatArray();
            for (float sum : sums) {
              assertThat(sum).isEqualTo(1f, withPrecision(TOLERANCE));
            }
            checked.add("weights" + layer);
            return weights;
          }

          private void check(int layer, Segment segment, NDArray shown, float nothing) {
            int queries = layer < LAYERS - 1 ? 10 : 2;
            assertThat(segment.queries()).isEqualTo(queries);
            assertThat(shown.getShape()).isEqualTo(new Shape(HEADS, queries, 15));
            float[] values = shown.toFloatArray();
            for (int i = 0; i < values.length; i++) {
              Token token = segment.token(i / 15 % queries);
              int first = token.row() == 0 ? 5 : 12;
              int slot = i % 15;
              boolean seen = slot < 5 || (slot >= first && slot <= first + token.ownIndex());
              assertThat(values[i] != nothing).as("%s on slot %d", token, slot).isEqualTo(seen);
            }
          }
        };
    KeyValueCache cache = cache(5, 12);
    pass(prefix(cache, AttentionHook.NONE, Arrays.copyOf(IDS, 5)));
    pass(rows(cache, hook, 0, turn(0, 0, from(5, IDS)), turn(1, 0, 275, 372, 376)));
    assertThat(checked)
        .containsExactly(
            IntStream.range(0, LAYERS)
                .boxed()
                .flatMap(layer -> Stream.of("scores" + layer, "weights" + layer))
                .toArray(String[]::new));
  }

  @Test
  void usesTheWeightsScoresAndHeadOutputsAHookReturns() {
    float[] plain = logits(AttentionHook.NONE, IDS);
    AttentionHook onlyFirstKeyByWeights =
        new Asking(Point.WEIGHTS) {
          @Override
          public NDArray onWeights(int layer, Segment segment, NDArray weights) {
            NDArray changed = weights.zerosLike();
            changed.set(new NDIndex("..., 0"), 1);
            return changed;
          }
        };
    AttentionHook onlyFirstKeyByScores =
        new Asking(Point.SCORES) {
          @Override
          public NDArray onScores(int layer, Segment segment, NDArray scores) {
            NDArray changed = scores.duplicate();
            changed.set(new NDIndex("..., 1:"), Float.NEGATIVE_INFINITY);
            return changed;
          }
        };
    AttentionHook noWeights =
        new Asking(Point.WEIGHTS) {
          @Override
          public NDArray onWeights(int layer, Segment segment, NDArray weights) {
            return weights.zerosLike();
          }
        };

    float[] byWeights = logits(onlyFirstKeyByWeights, IDS);
    assertThat(largestDifference(byWeights, plain)).isGreaterThan(0.1f);
    assertThat(logits(onlyFirstKeyByScores, IDS))
        .containsExactly(byWeights, withPrecision(TOLERANCE));
    float[] withoutHeads = logits(withoutHeads(), IDS);
    assertThat(largestDifference(withoutHeads, byWeights)).isGreaterThan(0.1f);
    assertThat(logits(noWeights, IDS)).containsExactly(withoutHeads, withPrecision(TOLERANCE));
  }

  @Test
  void changesRowsByWhatAHookOfTheirPrefixReturns() {
    int[] start = Arrays.copyOf(IDS, 5);
    int[] own = from(5, IDS);
    KeyValueCache before = cache(5, 7);
    pass(prefix(before, withoutHeads(), start));
    float[][] later = pass(rows(before, AttentionHook.NONE, 0, turn(0, 0, own)));
    KeyValueCache cache = cache(5, 7);
    float[][] together =
        pass(
            prefix(cache, withoutHeads(), start),
            rows(cache, AttentionHook.NONE, 0, turn(0, 0, own)));

    assertThat(largestDifference(later[0], logits(AttentionHook.NONE, IDS))).isGreaterThan(0.1f);
    assertThat(together[0]).containsExactly(later[0], withPrecision(TOLERANCE));
  }

  @Test
  void tellsAHookWhichTokensRun() {
    KeyValueCache cache = cache(4, 9);
    List<String> told = new ArrayList<>();
    AttentionHook hook =
        new Asking() {
          @Override
          public void onSegment(Segment segment) {
            told.add(
                "%s: %d of %d in %d, from %d; rows %s; answers %s"
                    .formatted(
                        segment.isPrefix() ? "prefix" : "rows",
                        segment.queries(),
                        segment.keys(),
                        segment.capacity(),
                        segment.firstSlot(),
                        Arrays.toString(segment.rows().toLongArray()),
                        Arrays.toString(segment.answerQueries())));
            assertThat(segment.prefixLength()).isEqualTo(4);
          }
        };
    pass(
        prefix(cache, hook, Arrays.copyOf(IDS, 4)),
        rows(cache, hook, 0, turn(0, 0, 275, 372), turn(1, 0, 376, 364, 260)),
        rows(cache, hook, 2, turn(0, 0, 373)));
    pass(rows(cache, hook, 0, turn(1, 3, 377), turn(0, 2, 306)));
    assertThat(told)
        .containsExactly(
            "prefix: 4 of 4 in 13, from 0; rows [0, 0, 0, 0]; answers []",
            "rows: 5 of 9 in 13, from 4; rows [0, 0, 1, 1, 1]; answers [1, 4]",
            "rows: 1 of 10 in 13, from 9; rows [0]; answers [0]",
            "rows: 2 of 12 in 13, from 10; rows [1, 0]; answers [0, 1]");
  }

  @Test
  void refusesToUseASegmentOutsideAPass() {
    Segment segment = rows(cache(0, 1), AttentionHook.NONE, 0, turn(0, 0, 275)).segment();
    assertThatIllegalStateException()
        .isThrownBy(segment::rows)
        .withMessage("Cannot use a segment outside a pass");
  }

  // --- The last layer

  @Test
  void leavesOutTheEndOfTheLastLayerWhereNothingReadsIt() {
    Watching narrow = beforeTheEnd(Point.values());
    NDArray nothing = forward(prefix(cache(IDS.length, 0), narrow, IDS));
    assertThat(nothing.getShape()).isEqualTo(new Shape(0, HIDDEN));
    assertThat(narrow.calls)
        .contains("hidden4", "normed4", "scores3", "weights3", "heads3")
        .doesNotContain("scores4", "weights4", "heads4");

    Watching whole = watching(Point.values());
    assertThat(forward(prefix(cache(IDS.length, 0), whole, IDS)).getShape())
        .isEqualTo(new Shape(0, HIDDEN));
    assertThat(whole.calls).contains("scores4", "weights4", "heads4", "hidden5");
  }

  @Test
  void showsHooksOnlyAnsweringQueriesInTheLastLayer() {
    Watching ofPrefix = beforeTheEnd(Point.values());
    Watching ofRows = beforeTheEnd(Point.values());
    KeyValueCache cache = cache(4, 8);
    pass(
        prefix(cache, ofPrefix, Arrays.copyOf(IDS, 4)),
        rows(cache, ofRows, 0, turn(0, 0, 275, 372, 376, 364, 260), turn(1, 0, 373, 377, 306)));

    for (int layer = 0; layer < LAYERS; layer++) {
      assertThat(ofPrefix.queries("hidden" + layer)).isEqualTo(4);
      assertThat(ofPrefix.queries("normed" + layer)).isEqualTo(4);
      assertThat(ofRows.queries("hidden" + layer)).isEqualTo(8);
      assertThat(ofRows.queries("normed" + layer)).isEqualTo(8);
      for (String point : List.of("scores", "weights", "heads")) {
        assertThat(ofPrefix.queries(point + layer)).isEqualTo(layer < LAYERS - 1 ? 4 : 0);
        assertThat(ofRows.queries(point + layer)).isEqualTo(layer < LAYERS - 1 ? 8 : 2);
      }
    }
    assertThat(ofRows.lastTokens).containsExactly(new Token(0, 4, true), new Token(1, 2, true));
  }

  @Test
  void showsAllHooksEveryQueryInTheLastLayerWhereOneWantsToSeeWhatComesAfterIt() {
    Watching ofPrefix = beforeTheEnd(Point.values());
    Watching ofRows = watching(Point.HIDDEN_STATES);
    KeyValueCache cache = cache(4, 2);
    pass(
        prefix(cache, ofPrefix, Arrays.copyOf(IDS, 4)),
        rows(cache, ofRows, 0, turn(0, 0, 275, 372)));

    assertThat(ofPrefix.queries("weights4")).isEqualTo(4);
    assertThat(ofPrefix.calls).doesNotContain("hidden5");
    assertThat(ofRows.queries("hidden5")).isEqualTo(2);
  }

  @RepeatedTest(5)
  void showsTheSameOfAnsweringQueriesWhetherTheLastLayerIsNarrowedOrNot(RepetitionInfo repetition) {
    Random random = new Random(600 + repetition.getCurrentRepetition());
    int[] start = ids(random, 1 + random.nextInt(6));
    Turn[] turns = turns(random, 1 + random.nextInt(4));
    Keeping narrowed = new Keeping(LAYERS - 1);
    Keeping whole = new Keeping(LAYERS - 1);
    KeyValueCache cache = cache(start.length, 40);
    float[][] logits =
        pass(prefix(cache, AttentionHook.NONE, start), rows(cache, narrowed, 0, turns));
    KeyValueCache other = cache(start.length, 40);
    float[][] logitsOfWhole =
        pass(
            prefix(other, AttentionHook.NONE, start),
            rows(other, whole.andThen(watching(Point.HIDDEN_STATES)), 0, turns));

    int keys = start.length + Stream.of(turns).mapToInt(turn -> turn.ids().length).sum();
    int[] answers = whole.answers;
    assertThat(narrowed.weights).hasSize(HEADS * turns.length * keys);
    int queries = keys - start.length;
    for (int h = 0; h < HEADS; h++) {
      for (int a = 0; a < answers.length; a++) {
        int at = (h * answers.length + a) * keys;
        int atWhole = (h * queries + answers[a]) * keys;
        assertThat(Arrays.copyOfRange(narrowed.weights, at, at + keys))
            .containsExactly(
                Arrays.copyOfRange(whole.weights, atWhole, atWhole + keys),
                withPrecision(TOLERANCE));
      }
    }
    assertSame(logits, logitsOfWhole);
  }

  // --- What a row's logits depend on

  @RepeatedTest(5)
  void givesTheSameLogitsAfterASharedPrefixAsInOnePass(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int[] ids = ids(random, 4 + random.nextInt(20));
    int cut = 1 + random.nextInt(ids.length - 1);
    int[] start = Arrays.copyOf(ids, cut);
    Turn own = turn(0, 0, from(cut, ids));
    float[] once = logits(AttentionHook.NONE, ids);
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.WEIGHTS))) {
      KeyValueCache before = cacheAfter(start, ids.length - cut);
      assertThat(pass(rows(before, hook, 0, own))[0])
          .containsExactly(once, withPrecision(TOLERANCE));

      KeyValueCache cache = cache(cut, ids.length - cut);
      assertThat(pass(prefix(cache, hook, start), rows(cache, hook, 0, own))[0])
          .containsExactly(once, withPrecision(TOLERANCE));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 127, 128, 129, 256, 300})
  void givesTheSameLogitsAfterAPrefixOfAnyLength(int length) {
    int[] ids = ids(new Random(length), length + 3);
    int[] start = Arrays.copyOf(ids, length);
    float[] once = logits(AttentionHook.NONE, ids);
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.SCORES))) {
      KeyValueCache cache = cache(length, 3);
      float[][] together =
          pass(
              prefix(cache, hook, start),
              rows(cache, AttentionHook.NONE, 0, turn(0, 0, from(length, ids))));
      assertThat(together[0]).containsExactly(once, withPrecision(TOLERANCE));
    }
  }

  @RepeatedTest(5)
  void givesTheSameLogitsTokenByTokenAsInOnePass(RepetitionInfo repetition) {
    Random random = new Random(100 + repetition.getCurrentRepetition());
    int[] ids = ids(random, 3 + random.nextInt(8));
    float[] once = logits(AttentionHook.NONE, ids);
    assertThat(tokenByToken(cache(0, ids.length), AttentionHook.NONE, ids))
        .containsExactly(once, withPrecision(TOLERANCE));
    assertThat(tokenByToken(cache(0, ids.length), watching(Point.WEIGHTS), ids))
        .containsExactly(once, withPrecision(TOLERANCE));
    KeyValueCache afterTwo = cacheAfter(Arrays.copyOf(ids, 2), ids.length - 2);
    assertThat(tokenByToken(afterTwo, AttentionHook.NONE, from(2, ids)))
        .containsExactly(once, withPrecision(TOLERANCE));
  }

  @RepeatedTest(5)
  void givesEveryRowOfAPassTheLogitsItHasAlone(RepetitionInfo repetition) {
    Random random = new Random(200 + repetition.getCurrentRepetition());
    int[] start = ids(random, 6);
    Turn[] turns = turns(random, 2 + random.nextInt(3));
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.WEIGHTS))) {
      float[][] together = pass(rows(cacheAfter(start, 40), hook, 0, turns));
      for (int r = 0; r < turns.length; r++) {
        assertThat(together[r])
            .containsExactly(alone(start, turns[r].ids()), withPrecision(TOLERANCE));
      }
    }
  }

  @RepeatedTest(5)
  void givesRowsWhoseTokensAreMixedTheLogitsTheyHaveAlone(RepetitionInfo repetition) {
    Random random = new Random(300 + repetition.getCurrentRepetition());
    int[] start = ids(random, 6);
    Turn[] turns = turns(random, 2 + random.nextInt(3));
    KeyValueCache cache = cache(6, 40);
    Part before = prefix(cache, AttentionHook.NONE, start);
    Part mixed = mixed(random, cache, turns);
    float[][] logits = pass(before, mixed);
    int[] answers = mixed.segment().answerQueries();
    assertThat(logits).hasNumberOfRows(turns.length);
    for (int a = 0; a < answers.length; a++) {
      int row = mixed.segment().token(answers[a]).row();
      assertThat(logits[a])
          .containsExactly(alone(start, turns[row].ids()), withPrecision(TOLERANCE));
    }
  }

  @RepeatedTest(5)
  void givesRowsUnderSeveralHooksTheLogitsTheyHaveAlone(RepetitionInfo repetition) {
    assumeTrue(TestDevice.isCpu(), "a GPU's products of other sizes differ in the last bits");
    Random random = new Random(400 + repetition.getCurrentRepetition());
    int[] start = ids(random, 6);
    Turn[] first = turns(random, 1 + random.nextInt(3));
    Turn[] second = turns(random, 1 + random.nextInt(3));
    KeyValueCache cache = cache(6, 60);
    float[][] logits =
        pass(
            prefix(cache, AttentionHook.NONE, start),
            rows(cache, watching(Point.WEIGHTS), 0, first),
            rows(cache, AttentionHook.NONE, first.length, second));
    List<Turn> turns = Stream.concat(Stream.of(first), Stream.of(second)).toList();
    assertThat(logits).hasNumberOfRows(turns.size());
    for (int r = 0; r < logits.length; r++) {
      assertThat(logits[r])
          .containsExactly(alone(start, turns.get(r).ids()), withPrecision(TOLERANCE));
    }
  }

  @RepeatedTest(5)
  void givesRowsOfSeveralImagesTheLogitsTheyHaveAlone(RepetitionInfo repetition) {
    Random random = new Random(500 + repetition.getCurrentRepetition());
    int[][] starts = {ids(random, 3), ids(random, 4 + random.nextInt(9))};
    Turn[][] turns = {turns(random, 2), turns(random, 1 + random.nextInt(3))};
    KeyValueCache[] caches = {cache(3, 30), cache(starts[1].length, 40)};
    float[][] logits =
        pass(
            prefix(caches[0], AttentionHook.NONE, starts[0]),
            rows(caches[0], AttentionHook.NONE, 0, turns[0]),
            prefix(caches[1], watching(Point.SCORES), starts[1]),
            rows(caches[1], watching(Point.WEIGHTS), 0, turns[1]));
    int answer = 0;
    for (int image = 0; image < 2; image++) {
      for (Turn turn : turns[image]) {
        assertThat(logits[answer++])
            .containsExactly(alone(starts[image], turn.ids()), withPrecision(TOLERANCE));
      }
    }
    assertThat(logits).hasNumberOfRows(answer);
  }

  @Test
  void placesRowsAfterTheirOwnImage() {
    KeyValueCache first =
        tiny.decoder().newCache(tiny.manager(), RotaryPositions.withImage(1, 2, 2), 3);
    KeyValueCache second =
        tiny.decoder().newCache(tiny.manager(), RotaryPositions.withImage(2, 1, 3), 1);
    Part[] parts = {
      prefix(first, AttentionHook.NONE, 1, 2, 3, 4, 5),
      rows(first, AttentionHook.NONE, 0, turn(0, 0, 6, 7), turn(1, 0, 8)),
      prefix(second, AttentionHook.NONE, 1, 2, 3, 4, 5),
      rows(second, AttentionHook.NONE, 0, turn(0, 0, 6))
    };
    Pass pass = new Pass(Stream.of(parts).map(Part::segment).toList());
    long[] time = {0, 1, 1, 1, 1, 3, 4, 3, 0, 1, 2, 2, 2, 5};
    long[] height = {0, 1, 1, 2, 2, 3, 4, 3, 0, 1, 2, 2, 2, 5};
    long[] width = {0, 1, 2, 1, 2, 3, 4, 3, 0, 1, 2, 3, 4, 5};

    assertThat(pass.positions(tiny.manager(), 1).toLongArray()).isEqualTo(time);
    assertThat(pass.positions(tiny.manager(), 3).toLongArray())
        .isEqualTo(Stream.of(time, height, width).flatMapToLong(LongStream::of).toArray());
  }

  @Test
  void givesImagesOfDifferentGridsTheLogitsTheyHaveAlone() {
    try (VisionLanguageModel other = TinyCheckpoint.load("qwen2-vl");
        NDManager scope = other.operators().manager().newSubManager()) {
      int[][] starts = {{1, 5, 9, 13, 17, 21, 25, 29}, {2, 4, 6, 8, 10}};
      RotaryPositions[] positions = {
        RotaryPositions.withImage(2, 2, 3), RotaryPositions.withImage(1, 4, 1)
      };
      int[][] own = {{40, 41, 42}, {50, 51}};
      List<Part> parts = new ArrayList<>();
      float[][] separate = new float[2][];
      for (int image = 0; image < 2; image++) {
        KeyValueCache cache = other.decoder().newCache(scope, positions[image], 3);
        parts.add(prefix(cache, AttentionHook.NONE, starts[image]));
        parts.add(rows(cache, AttentionHook.NONE, 0, turn(0, 0, own[image])));
        KeyValueCache alone = other.decoder().newCache(scope, positions[image], 3);
        pass(other.decoder(), scope, prefix(alone, AttentionHook.NONE, starts[image]));
        Part ownPart = rows(alone, AttentionHook.NONE, 0, turn(0, 0, own[image]));
        separate[image] = pass(other.decoder(), scope, ownPart)[0];
      }
      assertSame(pass(other.decoder(), scope, parts.toArray(Part[]::new)), separate);
    }
  }

  @RepeatedTest(10)
  void givesEveryRowTheLogitsItHasAloneWheneverItComes(RepetitionInfo repetition) {
    Random random = new Random(700 + repetition.getCurrentRepetition());
    List<Coming> images = new ArrayList<>();
    for (int image = 0; image < 1 + random.nextInt(3); image++) {
      images.add(new Coming(random));
    }
    boolean prompts = false;
    boolean answers = false;
    for (int step = 0; images.stream().anyMatch(Coming::isUnderWay); step++) {
      List<Part> parts = new ArrayList<>();
      List<int[]> seen = new ArrayList<>(); // By answer, all ids before it.
      for (Coming image : images) {
        image.add(step, parts, seen);
      }
      if (parts.isEmpty()) {
        continue;
      }
      prompts |= parts.stream().anyMatch(part -> part.segment().isPrefix());
      answers |= !seen.isEmpty();
      float[][] logits = pass(parts.toArray(Part[]::new));
      assertThat(logits).hasDimensions(seen.size(), tiny.decoder().config().vocabSize());
      for (int a = 0; a < logits.length; a++) {
        float[] alone = logits(AttentionHook.NONE, seen.get(a));
        assertThat(logits[a])
            .containsExactly(alone, withPrecision(TOLERANCE * Math.max(1, largest(alone))));
      }
    }
    assertThat(prompts && answers).isTrue();
  }

  @RepeatedTest(5)
  void readsNothingOfRowsThatWereForgotten(RepetitionInfo repetition) {
    Random random = new Random(800 + repetition.getCurrentRepetition());
    int[] start = ids(random, 5);
    int[] forgotten = ids(random, 8);
    int[] own = ids(random, 2 + random.nextInt(6));
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.WEIGHTS))) {
      KeyValueCache cache = cacheAfter(start, 8);
      tokenByToken(cache, hook, forgotten);
      assertThat(cache.filled()).isEqualTo(13);
      cache.forgetRows();
      assertThat(cache.filled()).isEqualTo(5);
      assertThat(tokenByToken(cache, hook, own))
          .containsExactly(alone(start, own), withPrecision(TOLERANCE));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, 1e30f})
  void readsNoSlotThatNoTokenHasTaken(float number) {
    int[] start = Arrays.copyOf(IDS, 5);
    int[] own = from(5, IDS);
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.WEIGHTS))) {
      KeyValueCache cache = cache(5, 9);
      fill(cache, 0, number);
      float[][] logits = pass(prefix(cache, hook, start), rows(cache, hook, 0, turn(0, 0, own)));
      assertThat(logits[0])
          .containsExactly(logits(AttentionHook.NONE, IDS), withPrecision(TOLERANCE));

      cache.forgetRows();
      fill(cache, 5, number);
      assertThat(tokenByToken(cache, hook, own))
          .containsExactly(logits(AttentionHook.NONE, IDS), withPrecision(TOLERANCE));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void keepsARowThatFailsFromItsNeighbours(float number) {
    int[] start = Arrays.copyOf(IDS, 5);
    int[][] own = {{275, 372, 376}, {364, 260}, {373, 377, 306, 280}};
    int[] firstTokens = {5, 8, 10}; // Of each row, in the pass.
    int[] next = {266, 368, 275};
    for (AttentionHook hook : List.of(AttentionHook.NONE, watching(Point.values()))) {
      for (int failing = 0; failing < 3; failing++) {
        KeyValueCache cache = cache(5, 12);
        float[][] logits =
            passWith(
                number,
                firstTokens[failing],
                prefix(cache, hook, start),
                rows(cache, hook, 0, turn(0, 0, own[0]), turn(1, 0, own[1])),
                rows(cache, hook, 2, turn(0, 0, own[2])));
        float[][] later =
            pass(
                rows(cache, hook, 0, turn(0, 3, next[0]), turn(1, 2, next[1])),
                rows(cache, hook, 2, turn(0, 4, next[2])));
        for (int row = 0; row < 3; row++) {
          if (row == failing) {
            assertThat(logits[row]).containsOnly(Float.NaN);
            assertThat(later[row]).containsOnly(Float.NaN);
          } else {
            assertThat(logits[row])
                .containsExactly(alone(start, own[row]), withPrecision(TOLERANCE));
            int[] longer = append(own[row], next[row]);
            assertThat(later[row]).containsExactly(alone(start, longer), withPrecision(TOLERANCE));
          }
        }
      }
    }
  }

  @Test
  void failsAllRowsOfAPrefixThatFailsButNoneOfAnotherImage() {
    int[] start = Arrays.copyOf(IDS, 5);
    KeyValueCache cache = cache(5, 4);
    KeyValueCache other = cache(5, 2);
    float[][] logits =
        passWith(
            Float.NaN,
            1,
            prefix(cache, AttentionHook.NONE, start),
            rows(cache, AttentionHook.NONE, 0, turn(0, 0, 275, 372)),
            prefix(other, AttentionHook.NONE, start),
            rows(other, AttentionHook.NONE, 0, turn(0, 0, 275, 372)));
    assertThat(logits[0]).containsOnly(Float.NaN);
    assertThat(logits[1])
        .containsExactly(alone(start, new int[] {275, 372}), withPrecision(TOLERANCE));

    cache.forgetRows();
    assertThat(pass(rows(cache, AttentionHook.NONE, 1, turn(0, 0, 376)))[0])
        .containsOnly(Float.NaN);
  }

  @Test
  void forgetsThatARowFailed() {
    int[] start = Arrays.copyOf(IDS, 5);
    KeyValueCache cache = cacheAfter(start, 4);
    float[][] failed =
        passWith(Float.NaN, 1, rows(cache, AttentionHook.NONE, 0, turn(0, 0, 275, 372, 376)));
    assertThat(failed[0]).containsOnly(Float.NaN);

    cache.forgetRows();
    assertThat(tokenByToken(cache, AttentionHook.NONE, 364, 260))
        .containsExactly(alone(start, new int[] {364, 260}), withPrecision(TOLERANCE));
  }

  // --- Memory

  @Test
  void refusesMoreTokensThanACacheHolds() {
    KeyValueCache cache = cacheAfter(Arrays.copyOf(IDS, 2), 3);
    assertThat(cache.capacity()).isEqualTo(5);
    pass(rows(cache, AttentionHook.NONE, 0, turn(0, 0, 275, 372), turn(1, 0, 376)));
    assertThat(cache.filled()).isEqualTo(5);

    assertThatIllegalStateException()
        .isThrownBy(() -> rows(cache, AttentionHook.NONE, 0, turn(1, 1, 364)))
        .withMessage("Cannot hold more than 5 tokens");
    cache.forgetRows();
    assertThatIllegalStateException()
        .isThrownBy(() -> rows(cache, AttentionHook.NONE, 0, turn(0, 0, 275, 372, 376, 364)))
        .withMessage("Cannot hold more than 5 tokens");
  }

  @Test
  void leavesTheCallerItsCacheItsInputsAndResultsAndNothingElse() {
    assumeTrue(TestDevice.isCpu(), "DJL keeps what it reads from a GPU beside what was read");
    NDManager base = tiny.operators().manager();
    int before = base.getManagedArrays().size();
    logits(watching(Point.values()), IDS);
    int caches = 2 * LAYERS;
    // Ids, hidden states and logits.
    assertThat(tiny.manager().getManagedArrays()).hasSize(caches + 3);
    tiny.manager().close();
    assertThat(base.getManagedArrays()).hasSize(before);
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "VISION_OUTPUT")
  void leavesNothingOfAPassThatFailed(Point point) {
    AttentionHook failing =
        new Watching("", new ArrayList<>(), Set.of(point)) {
          @Override
          void note(String call, long queries) {
            if (call.endsWith("2")) {
              throw new IllegalStateException("Not today");
            }
          }
        };
    assertThatIllegalStateException()
        .isThrownBy(() -> logits(failing, IDS))
        .withMessage("Not today");
    int caches = 2 * LAYERS;
    assertThat(tiny.manager().getManagedArrays()).hasSize(caches + 1); // Ids.
  }

  @Test
  void leavesNothingOfAPassThatNeverBegan() {
    AttentionHook failing =
        new Asking() {
          @Override
          public void onSegment(Segment segment) {
            throw new IllegalStateException("Not today");
          }
        };
    assertThatIllegalStateException()
        .isThrownBy(() -> logits(failing, IDS))
        .withMessage("Not today");
    int caches = 2 * LAYERS;
    assertThat(tiny.manager().getManagedArrays()).hasSize(caches + 1); // Ids.
  }

  // --- Measuring

  @Test
  void multipliesAsAPassWouldAndLeavesNothing() {
    NDManager base = tiny.operators().manager();
    int before = base.getManagedArrays().size();
    tiny.decoder().multiply(7, 2);
    assertThat(base.getManagedArrays()).hasSize(before);

    // 64 wide, 2 of 4 heads for keys and values, 128 in between; 512 tokens to choose from.
    long keysAndValues = 2 * 64 * 32;
    long rest = 2 * 64 * 64 + 3 * 64 * 128;
    assertThat(tiny.decoder().multiplications(7, 2))
        .isEqualTo(2 * (7 * (4 * (keysAndValues + rest) + keysAndValues) + 2 * (rest + 64 * 512)));
  }

  // --- Passes

  /** Tokens to run, and their ids. */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  private record Part(Segment segment, int[] ids) {}

  /** New tokens of a row, of which the last answers. */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  private record Turn(int row, int ownIndex, int[] ids) {
    Token token(int i) {
      return new Token(row, ownIndex + i, i == ids.length - 1);
    }
  }

  /** An image whose prefix comes at some step, and its rows then or later. */
  private final class Coming {
    private final int[] start;
    private final int firstStep;
    private final int[][] rows; // All ids a row will have.
    private final int[] prompts; // How many of them are its prompt.
    private final int[] firstSteps; // By row.
    private final int[] done; // By row.
    private final AttentionHook[] hooks = {AttentionHook.NONE, watching(Point.WEIGHTS)};
    private final KeyValueCache cache;

    Coming(Random random) {
      start = ids(random, 1 + random.nextInt(8));
      firstStep = random.nextInt(4);
      rows = new int[1 + random.nextInt(4)][];
      prompts = new int[rows.length];
      firstSteps = new int[rows.length];
      done = new int[rows.length];
      int own = 0;
      for (int r = 0; r < rows.length; r++) {
        prompts[r] = 1 + random.nextInt(5);
        rows[r] = ids(random, prompts[r] + random.nextInt(4));
        firstSteps[r] = firstStep + random.nextInt(4);
        own += rows[r].length;
      }
      cache = cache(start.length, own);
    }

    boolean isUnderWay() {
      return IntStream.range(0, rows.length).anyMatch(r -> done[r] < rows[r].length);
    }

    /** Adds what runs at a step; the first row has a hook of its own. */
    void add(int step, List<Part> parts, List<int[]> seen) {
      if (step == firstStep) {
        parts.add(prefix(cache, AttentionHook.NONE, start));
      }
      for (int group = 0; group < 2; group++) {
        List<Turn> turns = new ArrayList<>();
        for (int r = group; r < (group == 0 ? 1 : rows.length); r++) {
          if (step < firstSteps[r] || done[r] == rows[r].length) {
            continue;
          }
          int end = done[r] == 0 ? prompts[r] : done[r] + 1;
          turns.add(turn(r - group, done[r], Arrays.copyOfRange(rows[r], done[r], end)));
          seen.add(append(start, Arrays.copyOf(rows[r], end)));
          done[r] = end;
        }
        if (!turns.isEmpty()) {
          parts.add(rows(cache, hooks[group], group, turns.toArray(Turn[]::new)));
        }
      }
    }
  }

  private static Part prefix(KeyValueCache cache, AttentionHook hook, int... ids) {
    return new Part(Segment.ofPrefix(cache, hook), ids);
  }

  /** Tokens of rows, row by row. */
  private static Part rows(KeyValueCache cache, AttentionHook hook, int firstRow, Turn... turns) {
    List<Token> tokens =
        Stream.of(turns)
            .flatMap(turn -> IntStream.range(0, turn.ids().length).mapToObj(turn::token))
            .toList();
    int[] ids = Stream.of(turns).flatMapToInt(turn -> IntStream.of(turn.ids())).toArray();
    return new Part(Segment.ofRows(cache, hook, firstRow, tokens), ids);
  }

  /** Tokens of rows, each row's in order but between those of others. */
  private static Part mixed(Random random, KeyValueCache cache, Turn... turns) {
    int[] done = new int[turns.length];
    int count = Stream.of(turns).mapToInt(turn -> turn.ids().length).sum();
    int[] ids = new int[count];
    List<Token> tokens = new ArrayList<>();
    while (tokens.size() < count) {
      int t = random.nextInt(turns.length);
      if (done[t] < turns[t].ids().length) {
        ids[tokens.size()] = turns[t].ids()[done[t]];
        tokens.add(turns[t].token(done[t]++));
      }
    }
    return new Part(Segment.ofRows(cache, AttentionHook.NONE, 0, tokens), ids);
  }

  private static Turn turn(int row, int ownIndex, int... ids) {
    return new Turn(row, ownIndex, ids);
  }

  private static Turn[] turns(Random random, int count) {
    return IntStream.range(0, count)
        .mapToObj(row -> turn(row, 0, ids(random, 1 + random.nextInt(9))))
        .toArray(Turn[]::new);
  }

  private KeyValueCache cache(int prefixTokens, int ownCapacity) {
    return tiny.decoder()
        .newCache(tiny.manager(), RotaryPositions.sequential(prefixTokens), ownCapacity);
  }

  /** A cache that holds a prefix. */
  private KeyValueCache cacheAfter(int[] start, int ownCapacity) {
    KeyValueCache cache = cache(start.length, ownCapacity);
    pass(prefix(cache, AttentionHook.NONE, start));
    return cache;
  }

  private void fill(KeyValueCache cache, int firstSlot, float number) {
    for (int layer = 0; layer < LAYERS; layer++) {
      for (NDArray numbers : List.of(cache.block().keys(layer), cache.block().values(layer))) {
        Shape shape = numbers.getShape(); // [place, heads, slot, size]
        int size = (int) shape.get(3);
        float[] floats = numbers.toFloatArray();
        for (int i = 0; i < floats.length; i++) {
          floats[i] = i / size % cache.capacity() < firstSlot ? floats[i] : number;
        }
        tiny.operators().putRows(numbers, 0, tiny.manager().create(floats, shape));
      }
    }
  }

  /** Logits of every token that answers. */
  private float[][] pass(Part... parts) {
    return pass(tiny.decoder(), tiny.manager(), parts);
  }

  private static float[][] pass(LlamaDecoder decoder, NDManager manager, Part... parts) {
    return perAnswer(decoder, forward(decoder, embed(decoder, manager, parts), parts));
  }

  /** As {@link #pass}, with one token's embedding made of one number. */
  private float[][] passWith(float number, int token, Part... parts) {
    NDArray embeddings = embed(tiny.decoder(), tiny.manager(), parts);
    tiny.operators().putRows(embeddings, token, tiny.manager().full(new Shape(1, HIDDEN), number));
    return perAnswer(tiny.decoder(), forward(tiny.decoder(), embeddings, parts));
  }

  private NDArray forward(Part... parts) {
    return forward(tiny.decoder(), embed(tiny.decoder(), tiny.manager(), parts), parts);
  }

  private static NDArray forward(LlamaDecoder decoder, NDArray embeddings, Part... parts) {
    return decoder.forward(embeddings, new Pass(Stream.of(parts).map(Part::segment).toList()));
  }

  private static NDArray embed(LlamaDecoder decoder, NDManager manager, Part... parts) {
    long[] ids =
        Stream.of(parts).flatMapToInt(part -> IntStream.of(part.ids())).asLongStream().toArray();
    NDArray embeddings = decoder.embed(manager.create(ids));
    assertThat(embeddings.getDataType()).isEqualTo(DataType.FLOAT32);
    return embeddings;
  }

  private static float[][] perAnswer(LlamaDecoder decoder, NDArray hidden) {
    float[] flat = decoder.logits(hidden).toFloatArray();
    int vocabulary = decoder.config().vocabSize();
    float[][] logits = new float[flat.length / vocabulary][];
    for (int a = 0; a < logits.length; a++) {
      logits[a] = Arrays.copyOfRange(flat, a * vocabulary, (a + 1) * vocabulary);
    }
    return logits;
  }

  /** After all tokens as those of one row, in one pass. */
  private float[] logits(AttentionHook hook, int... ids) {
    return pass(rows(cache(0, ids.length), hook, 0, turn(0, 0, ids)))[0];
  }

  private float[] alone(int[] start, int[] own) {
    return logits(AttentionHook.NONE, append(start, own));
  }

  private float[] tokenByToken(KeyValueCache cache, AttentionHook hook, int... ids) {
    float[] logits = new float[0];
    for (int t = 0; t < ids.length; t++) {
      logits = pass(rows(cache, hook, 0, turn(0, t, ids[t])))[0];
    }
    return logits;
  }

  private static int[] ids(Random random, int length) {
    return random.ints(length, 3, 450).toArray();
  }

  private static int[] from(int begin, int... ids) {
    return Arrays.copyOfRange(ids, begin, ids.length);
  }

  private static int[] append(int[] ids, int... more) {
    return IntStream.concat(IntStream.of(ids), IntStream.of(more)).toArray();
  }

  private static void assertSame(float[][] actual, float[][] expected) {
    assertThat(actual).hasNumberOfRows(expected.length);
    for (int i = 0; i < actual.length; i++) {
      assertThat(actual[i]).containsExactly(expected[i], withPrecision(TOLERANCE));
    }
  }

  private static float largest(float... a) {
    return largestDifference(a, new float[a.length]);
  }

  private static float largestDifference(float[] a, float[] b) {
    float largest = 0;
    for (int i = 0; i < a.length; i++) {
      largest = Math.max(largest, Math.abs(a[i] - b[i]));
    }
    return largest;
  }

  // --- Hooks that look

  private static Watching watching(Point... points) {
    return new Watching("", new ArrayList<>(), Set.of(points));
  }

  /** Asks for nothing that comes after the last layer. */
  private static Watching beforeTheEnd(Point... points) {
    return new Watching("", new ArrayList<>(), Set.of(points)) {
      @Override
      public boolean asks(Point point, int layer) {
        return layer < LAYERS && super.asks(point, layer);
      }
    };
  }

  private static AttentionHook withoutHeads() {
    return new Asking(Point.HEAD_OUTPUTS) {
      @Override
      public NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
        return outputs.zerosLike();
      }
    };
  }

  /** Asks for some points of every layer. */
  private abstract static class Asking implements AttentionHook {
    private final Set<Point> asked;

    Asking(Point... asked) {
      this.asked = Set.of(asked);
    }

    @Override
    public boolean asks(Point point, int layer) {
      return asked.contains(point);
    }
  }

  /** Keeps the weights of one layer, and which of the pass's queries answer. */
  private static final class Keeping extends Asking {
    private final int kept;
    private float[] weights = {};
    private int[] answers = {};

    Keeping(int kept) {
      super(Point.WEIGHTS);
      this.kept = kept;
    }

    @Override
    public void onSegment(Segment segment) {
      answers = segment.answerQueries();
    }

    @Override
    public NDArray onWeights(int layer, Segment segment, NDArray shown) {
      if (layer == kept) {
        weights = shown.toFloatArray();
      }
      return shown;
    }
  }

  /** Notes every call and changes nothing, but returns copies. */
  private static class Watching implements AttentionHook {
    private final String name;
    private final List<String> calls;
    private final Set<Point> asked;
    private final Map<String, Long> queries = new HashMap<>(); // By call.
    private final List<Token> lastTokens = new ArrayList<>(); // Of the last call with a segment.

    Watching(String name, List<String> calls, Set<Point> asked) {
      this.name = name;
      this.calls = calls;
      this.asked = asked;
    }

    /** Queries shown in a call, 0 where it never came. */
    long queries(String call) {
      return queries.getOrDefault(call, 0L);
    }

    @Override
    public boolean asks(Point point, int layer) {
      return asked.contains(point);
    }

    @Override
    public void onSegment(Segment segment) {
      calls.add(name + "segment");
    }

    @Override
    public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
      note("hidden" + layer, segment, hiddenStates.getShape().get(0));
    }

    @Override
    public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
      note("normed" + layer, normed.getShape().get(0));
    }

    @Override
    public NDArray onScores(int layer, Segment segment, NDArray scores) {
      note("scores" + layer, segment, scores.getShape().get(1));
      return scores.duplicate();
    }

    @Override
    public NDArray onWeights(int layer, Segment segment, NDArray weights) {
      note("weights" + layer, segment, weights.getShape().get(1));
      return weights.duplicate();
    }

    @Override
    public NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
      note("heads" + layer, segment, outputs.getShape().get(0));
      return outputs.duplicate();
    }

    private void note(String call, Segment segment, long shown) {
      assertThat(shown).isEqualTo(segment.queries());
      lastTokens.clear();
      IntStream.range(0, segment.queries()).mapToObj(segment::token).forEach(lastTokens::add);
      note(call, shown);
    }

    void note(String call, long shown) {
      calls.add(name + call);
      queries.put(call, shown);
    }
  }
}
