package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.CacheBlocks;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Pass;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Rows of several images under VAR get what they get alone. */
class JoinedVarTest {
  private static final int CAPACITY = 64;
  private static final List<List<VarSettings>> VARIANTS =
      List.of(
          List.of(settings(Mode.PAPER, SinkTokens.PROMPT, 0.6)),
          List.of(
              settings(Mode.PAPER, SinkTokens.PROMPT, 0.6),
              settings(Mode.REFERENCE, SinkTokens.PROMPT, 0.9),
              settings(Mode.PAPER, SinkTokens.PROMPT, 0)),
          List.of(
              settings(Mode.REFERENCE, SinkTokens.ALL, 0.7),
              settings(Mode.PAPER, SinkTokens.PROMPT, 0.6)));

  @RegisterExtension static final TinyModel tiny = TinyModel.of("llava-gqa");

  /** Images come and go, their rows begin and end at different passes. */
  @RepeatedTest(12)
  void givesRowsOfImagesThatRunTogetherWhatTheyGetAlone(RepetitionInfo repetition) {
    int seed = repetition.getCurrentRepetition();
    List<VarSettings> variants = VARIANTS.get(seed % VARIANTS.size());
    int arrays = tiny.operators().manager().getManagedArrays().size();

    List<Image> together = images(new Random(seed), variants);
    int passes = run(together, 4);
    assertThat(passes).isLessThan(40);
    for (Image alone : images(new Random(seed), variants)) {
      run(List.of(alone), 1);
      Image image = together.get(alone.number);
      for (int row = 0; row < alone.rows.length; row++) {
        assertThat(image.logits.get(row)).hasSameSizeAs(alone.logits.get(row));
        for (int t = 0; t < alone.logits.get(row).size(); t++) {
          assertThat(image.logits.get(row).get(t))
              .usingComparatorWithPrecision(1e-4f)
              .containsExactly(alone.logits.get(row).get(t));
        }
        List<boolean[][]> selected = image.hook.selectedHeads(row);
        List<boolean[][]> expected = alone.hook.selectedHeads(row);
        assertThat(selected).hasSameSizeAs(expected);
        for (int t = 0; t < expected.size(); t++) {
          assertThat(Arrays.deepEquals(selected.get(t), expected.get(t))).isTrue();
        }
        for (int layer = 2; layer < tiny.decoder().config().numHiddenLayers(); layer++) {
          assertClose(
              image.hook.totals(row).imageAttention(layer),
              alone.hook.totals(row).imageAttention(layer));
          assertClose(
              image.hook.totals(row).sinkAttention(layer),
              alone.hook.totals(row).sinkAttention(layer));
        }
        assertThat(image.hook.promptSinks(row)).hasSameSizeAs(alone.hook.promptSinks(row));
      }
      alone.close();
    }
    assertThat(together).anySatisfy(image -> assertThat(image.selectsAny()).isTrue());
    together.forEach(Image::close);
    assertThat(tiny.operators().manager().getManagedArrays()).hasSize(arrays);
  }

  private static void assertClose(float[] actual, float[] expected) {
    for (int h = 0; h < expected.length; h++) {
      assertThat(actual[h]).isCloseTo(expected[h], within(1e-4f));
    }
  }

  private static VarSettings settings(Mode mode, SinkTokens tokens, double movedShare) {
    return new VarSettings(mode, 3, tokens, 0.3, 0.05, movedShare, VisualSink.NOT_REQUIRED);
  }

  private static List<Image> images(Random random, List<VarSettings> variants) {
    List<Image> images = new ArrayList<>();
    for (int number = 0; number < 7; number++) {
      images.add(new Image(number, random, variants));
    }
    return images;
  }

  /** Runs images to their end, in memory for so many at once; returns the passes it took. */
  private static int run(List<Image> images, int places) {
    CacheBlocks caches = tiny.decoder().newCaches();
    int pass = 0;
    for (; images.stream().anyMatch(image -> !image.ended); pass++) {
      try (NDManager scope = tiny.operators().manager().newSubManager()) {
        List<Segment> segments = new ArrayList<>();
        List<Long> ids = new ArrayList<>();
        for (Image image : images) {
          image.add(pass, caches, places, segments, ids);
        }
        if (segments.isEmpty()) {
          continue;
        }
        NDArray embeddings =
            tiny.decoder().embed(scope.create(ids.stream().mapToLong(Long::longValue).toArray()));
        NDArray hidden = tiny.decoder().forward(embeddings, new Pass(segments));
        int answer = 0;
        for (Image image : images) {
          for (int row : image.answering) {
            image.logits.get(row).add(tiny.decoder().logits(hidden.get(answer++)).toFloatArray());
          }
          image.answering.clear();
        }
        images.forEach(Image::leaveWhenDone);
      }
    }
    assertThat(caches.tokens()).isZero();
    return pass;
  }

  /** An image, the ids of its rows, and what came of them. */
  private static final class Image {
    private final int number;
    private final int[] start;
    private final int imageStart;
    private final int first; // Pass.
    private final int[][] rows; // All ids a row will have.
    private final int[] prompts; // How many of them are its prompt.
    private final int[] delays; // Passes, by row.
    private final int[] done;
    private final List<List<float[]>> logits = new ArrayList<>(); // row, answer token
    private final List<Integer> answering = new ArrayList<>();
    private final PrefixSinkValues values;
    private final Var hook;
    private @Nullable KeyValueCache cache;
    private boolean ended;

    Image(int number, Random random, List<VarSettings> variants) {
      this.number = number;
      start = ids(random, 6 + random.nextInt(20));
      imageStart = 1 + random.nextInt(4);
      first = random.nextInt(9);
      int questions = 1 + random.nextInt(2);
      rows = new int[questions * variants.size()][];
      prompts = new int[rows.length];
      delays = new int[rows.length];
      done = new int[rows.length];
      List<VarSettings> settings = new ArrayList<>();
      for (int r = 0; r < rows.length; r++) {
        prompts[r] = 1 + random.nextInt(3);
        rows[r] = ids(random, prompts[r] + random.nextInt(4));
        delays[r] = random.nextInt(3);
        settings.add(variants.get(r % variants.size()));
        logits.add(new ArrayList<>());
      }
      values =
          new PrefixSinkValues(
              tiny.operators(),
              List.of(7, 50),
              tiny.decoder().config().hiddenSize(),
              tiny.decoder().config().numHiddenLayers());
      hook =
          new Var(
              tiny.operators(),
              values,
              imageStart,
              settings,
              prompts,
              tiny.decoder().config().numHiddenLayers(),
              tiny.decoder().config().numAttentionHeads());
    }

    void add(int pass, CacheBlocks caches, int places, List<Segment> segments, List<Long> ids) {
      if (pass == first) {
        int own = CAPACITY - start.length;
        cache = caches.newCache(RotaryPositions.sequential(start.length), own, places);
        segments.add(Segment.ofPrefix(cache, values));
        Arrays.stream(start).asLongStream().forEach(ids::add);
      }
      List<Token> tokens = new ArrayList<>();
      for (int r = 0; r < rows.length; r++) {
        if (pass >= first + delays[r] && done[r] < rows[r].length) {
          int end = done[r] == 0 ? prompts[r] : done[r] + 1;
          for (; done[r] < end; done[r]++) {
            tokens.add(new Token(r, done[r], done[r] == end - 1));
            ids.add((long) rows[r][done[r]]);
          }
          answering.add(r);
        }
      }
      if (cache != null && !tokens.isEmpty()) {
        segments.add(Segment.ofRows(cache, hook, 0, tokens));
      }
    }

    void leaveWhenDone() {
      if (cache != null && !ended) {
        boolean all = true;
        for (int r = 0; r < rows.length; r++) {
          all &= done[r] == rows[r].length;
        }
        if (all) {
          ended = true;
          cache.close();
        }
      }
    }

    boolean selectsAny() {
      return hook.selectedHeads(0).stream()
          .flatMap(Arrays::stream)
          .anyMatch(
              heads -> {
                boolean any = false;
                for (boolean head : heads) {
                  any |= head;
                }
                return any;
              });
    }

    void close() {
      hook.close();
      values.close();
    }
  }

  private static int[] ids(Random random, int length) {
    return random.ints(length, 3, 450).toArray();
  }
}
