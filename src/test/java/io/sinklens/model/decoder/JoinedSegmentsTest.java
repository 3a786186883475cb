package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.Segment.Token;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Images side by side in memory. */
class JoinedSegmentsTest {
  private static final float TOLERANCE = 1e-4f;
  private static final int CAPACITY = 32;

  @RegisterExtension static final TinyModel tiny = TinyModel.of("llava-gqa");

  /** In memory that held other numbers before, with one image whose numbers are not finite. */
  @RepeatedTest(20)
  void givesEveryImageTheLogitsItHasAlone(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    CacheBlock block =
        new CacheBlock(
            tiny.operators(),
            tiny.decoder().config(),
            tiny.model().dtype(),
            tiny.manager(),
            0,
            6,
            CAPACITY);
    spoil(block);
    int images = 3 + random.nextInt(4);
    int failing = random.nextInt(2 * images); // Or none.
    List<KeyValueCache> caches = new ArrayList<>();
    int[][] starts = new int[images][];
    int[][] own = new int[images][];
    for (int i = 0; i < images; i++) {
      starts[i] = ids(random, 1 + random.nextInt(20));
      own[i] = ids(random, 8);
      RotaryPositions prefix = RotaryPositions.sequential(starts[i].length);
      caches.add(new KeyValueCache(block, block.take(), prefix, () -> {}));
      run(List.of(Segment.ofPrefix(caches.get(i), AttentionHook.NONE)), -1, starts[i]);
    }
    for (int t = 0; t < 8; t++) {
      List<Segment> segments = new ArrayList<>();
      List<Integer> running = new ArrayList<>();
      List<Integer> ids = new ArrayList<>();
      for (int i : shuffled(images, random)) {
        if (caches.get(i).filled() - starts[i].length == t) {
          if (random.nextInt(6) == 0) {
            continue; // It has ended.
          }
          segments.add(
              Segment.ofRows(caches.get(i), AttentionHook.NONE, 0, List.of(new Token(0, t, true))));
          running.add(i);
          ids.add(own[i][t]);
        }
      }
      if (segments.isEmpty()) {
        break;
      }
      int spoilt = t == 1 ? running.indexOf(failing) : -1;
      float[][] logits = run(segments, spoilt, ids.stream().mapToInt(id -> id).toArray());
      for (int s = 0; s < running.size(); s++) {
        int i = running.get(s);
        if (i == failing && t > 0) {
          assertThat(logits[s]).containsOnly(Float.NaN);
        } else {
          int end = t + 1;
          int[] all =
              IntStream.concat(IntStream.of(starts[i]), IntStream.of(own[i]).limit(end)).toArray();
          assertThat(logits[s]).containsExactly(alone(all), withPrecision(TOLERANCE));
        }
      }
    }
  }

  @Test
  void joinsImagesSideBySideAndLeavesThoseFarOffAlone() {
    CacheBlock block =
        new CacheBlock(
            tiny.operators(),
            tiny.decoder().config(),
            tiny.model().dtype(),
            tiny.manager(),
            0,
            12,
            CAPACITY);
    List<KeyValueCache> caches =
        IntStream.range(0, 12)
            .mapToObj(
                i ->
                    new KeyValueCache(block, block.take(), RotaryPositions.sequential(0), () -> {}))
            .toList();
    List<Segment> segments = new ArrayList<>();
    for (int place : new int[] {3, 0, 1, 11}) { // Of one query; the last is too far away.
      segments.add(rows(caches.get(place), AttentionHook.NONE, 1));
    }
    segments.add(rows(caches.get(4), AttentionHook.NONE, 3));
    segments.add(rows(caches.get(5), AttentionHook.NONE, 4));
    segments.add(rows(caches.get(6), new AttentionHook() {}, 4)); // Works alone.
    segments.add(rows(caches.get(0), AttentionHook.NONE, 1)); // Other rows on the same image.
    segments.forEach(segment -> segment.enter(tiny.manager(), new Notes(tiny.manager())));

    List<JoinedSegments> joined = JoinedSegments.of(new Pass(segments));

    assertThat(joined)
        .extracting(
            group -> group.segments().stream().map(Segment::place).toList(),
            JoinedSegments::images,
            JoinedSegments::queries)
        .containsExactlyInAnyOrder(
            tuple(List.of(0, 1, 3), 4, 1),
            tuple(List.of(11), 1, 1),
            tuple(List.of(4, 5), 2, 4),
            tuple(List.of(6), 1, 4),
            tuple(List.of(0), 1, 1));
  }

  @Test
  void getsMemoryWithTheFirstImageAndGivesItBackWithTheLast() {
    int before = tiny.operators().manager().getManagedArrays().size();
    CacheBlocks caches = tiny.decoder().newCaches();
    RotaryPositions prefix = RotaryPositions.sequential(5);
    assertThat(caches.isFull(608)).isTrue();

    KeyValueCache first = caches.newCache(prefix, 595, 2);
    assertThat(first.capacity()).isEqualTo(608);
    assertThat(caches.tokens()).isEqualTo(2 * 608);
    assertThat(caches.isFull(608)).isFalse();
    assertThat(caches.isFull(577)).isFalse(); // About as many.
    assertThat(caches.isFull(576)).isTrue();
    KeyValueCache second = caches.newCache(prefix, 590, 2);
    assertThat(second.capacity()).isEqualTo(608);
    assertThat(caches.isFull(608)).isTrue();
    assertThat(first).isLessThan(second);
    KeyValueCache third = caches.newCache(prefix, 603, 1);
    assertThat(caches.tokens()).isEqualTo(3 * 608);
    first.close();
    assertThat(caches.tokens()).isEqualTo(3 * 608);
    assertThat(caches.isFull(608)).isFalse();
    second.close();
    assertThat(caches.tokens()).isEqualTo(608);
    third.close();
    assertThat(caches.tokens()).isZero();
    assertThat(tiny.operators().manager().getManagedArrays()).hasSize(before);
  }

  private static Segment rows(KeyValueCache cache, AttentionHook hook, int tokens) {
    return Segment.ofRows(
        cache, hook, 0, IntStream.range(0, tokens).mapToObj(i -> new Token(i, 0, true)).toList());
  }

  private static List<Integer> shuffled(int count, Random random) {
    List<Integer> all = new ArrayList<>(IntStream.range(0, count).boxed().toList());
    Collections.shuffle(all, random);
    return all;
  }

  private static int[] ids(Random random, int length) {
    return random.ints(length, 3, 450).toArray();
  }

  private void spoil(CacheBlock block) {
    for (int layer = 0; layer < block.layers(); layer++) {
      for (NDArray numbers : List.of(block.keys(layer), block.values(layer))) {
        Shape shape = numbers.getShape();
        tiny.operators().putRows(numbers, 0, tiny.manager().full(shape, Float.NaN));
      }
    }
  }

  private float[] alone(int... ids) {
    KeyValueCache cache =
        tiny.decoder().newCache(tiny.manager(), RotaryPositions.sequential(0), ids.length);
    List<Token> tokens =
        IntStream.range(0, ids.length).mapToObj(i -> new Token(0, i, i == ids.length - 1)).toList();
    return run(List.of(Segment.ofRows(cache, AttentionHook.NONE, 0, tokens)), -1, ids)[0];
  }

  /** Logits of the tokens that answer, where one token may be no number. */
  private float[][] run(List<Segment> segments, int spoilt, int... ids) {
    NDArray embeddings =
        tiny.decoder().embed(tiny.manager().create(IntStream.of(ids).asLongStream().toArray()));
    if (spoilt >= 0) {
      Shape one = new Shape(1, tiny.decoder().config().hiddenSize());
      tiny.operators().putRows(embeddings, spoilt, tiny.manager().full(one, Float.NaN));
    }
    NDArray hidden = tiny.decoder().forward(embeddings, new Pass(segments));
    float[][] logits = new float[(int) hidden.getShape().get(0)][];
    for (int a = 0; a < logits.length; a++) {
      logits[a] = tiny.decoder().logits(hidden.get(a)).toFloatArray();
    }
    return logits;
  }
}
