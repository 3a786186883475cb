package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

/** Laws of {@link Operators#redistribute} as {@link Var} uses it. */
class RedistributionTest {
  /** In the order of a group array's columns. */
  private static final List<Kind> GROUPS =
      List.of(Kind.VISUAL_SINK, Kind.VISUAL_NONSINK, Kind.TEXT_SINK);

  private static Operators operators;
  private NDManager manager;

  @BeforeAll
  static void load() {
    operators = Operators.load(TestDevice.get());
    operators.enterThread();
  }

  @AfterAll
  static void unload() {
    operators.close();
  }

  @BeforeEach
  void open() {
    manager = operators.manager().newSubManager();
  }

  @AfterEach
  void free() {
    manager.close();
  }

  /** What a key is. */
  private enum Kind {
    VISUAL_SINK,
    VISUAL_NONSINK,
    TEXT_SINK,
    TEXT
  }

  /**
   * Attention of rows in plain arrays: a row's keys are those of the prefix, which are of the same
   * kinds for all rows of one choice, and then its own.
   */
  private static final class Batch {
    final int heads;
    final int prefixKeys;
    final int[] queries; // [row]
    final int[] ownKeys; // [row]
    final int[] choice; // [row]
    final Kind[][] kinds; // [row][key]
    final float[][][][] weights; // [row][head][query][key]
    final boolean[][][] selected;
    final float[] movedShare;

    Batch(int heads, int prefixKeys, int[] queries, int[] ownKeys, int[] choice) {
      int rows = queries.length;
      this.heads = heads;
      this.prefixKeys = prefixKeys;
      this.queries = queries;
      this.ownKeys = ownKeys;
      this.choice = choice;
      kinds = new Kind[rows][];
      weights = new float[rows][heads][][];
      selected = new boolean[rows][heads][];
      for (int r = 0; r < rows; r++) {
        kinds[r] = new Kind[keys(r)];
        for (int h = 0; h < heads; h++) {
          weights[r][h] = new float[queries[r]][keys(r)];
          selected[r][h] = new boolean[queries[r]];
        }
      }
      movedShare = new float[rows];
    }

    /** Random attention, with some keys that get none and some heads that see no non-sink. */
    static Batch random(Random random) {
      int rows = 1 + random.nextInt(4);
      int heads = 1 + random.nextInt(4);
      int prefixKeys = 4 + random.nextInt(12);
      int imageStart = 1 + random.nextInt(prefixKeys - 2);
      Kind[][] ofChoices = new Kind[1 + random.nextInt(3)][prefixKeys];
      for (Kind[] ofChoice : ofChoices) {
        for (int k = 0; k < prefixKeys; k++) {
          boolean sink = random.nextInt(3) == 0;
          ofChoice[k] =
              k >= imageStart
                  ? (sink ? Kind.VISUAL_SINK : Kind.VISUAL_NONSINK)
                  : (sink ? Kind.TEXT_SINK : Kind.TEXT);
        }
      }
      Batch batch =
          new Batch(
              heads,
              prefixKeys,
              random.ints(rows, 1, 5).toArray(),
              random.ints(rows, 1, 7).toArray(),
              random.ints(rows, 0, ofChoices.length).toArray());
      for (int r = 0; r < rows; r++) {
        batch.movedShare[r] = random.nextFloat();
        for (int k = 0; k < batch.keys(r); k++) {
          batch.kinds[r][k] =
              k < prefixKeys
                  ? ofChoices[batch.choice[r]][k]
                  : (random.nextInt(3) == 0 ? Kind.TEXT_SINK : Kind.TEXT);
        }
        for (int h = 0; h < heads; h++) {
          for (int q = 0; q < batch.queries[r]; q++) {
            batch.fill(r, h, q, random);
          }
        }
      }
      return batch;
    }

    /** One of its rows, as a batch. */
    Batch alone(int r) {
      Batch alone =
          new Batch(
              heads, prefixKeys, new int[] {queries[r]}, new int[] {ownKeys[r]}, new int[] {0});
      alone.kinds[0] = kinds[r];
      alone.weights[0] = weights[r];
      alone.selected[0] = selected[r];
      alone.movedShare[0] = movedShare[r];
      return alone;
    }

    private void fill(int r, int h, int q, Random random) {
      boolean blind = random.nextInt(8) == 0;
      double[] raw = new double[keys(r)];
      double sum = 0;
      for (int k = 0; k < keys(r); k++) {
        boolean none = random.nextInt(6) == 0 || (blind && kinds[r][k] == Kind.VISUAL_NONSINK);
        raw[k] = none ? 0 : Math.exp(3 * random.nextGaussian());
        sum += raw[k];
      }
      for (int k = 0; k < keys(r); k++) {
        weights[r][h][q][k] = sum == 0 ? 0 : (float) (raw[k] / sum);
      }
      selected[r][h][q] = sum(r, h, q, Kind.VISUAL_NONSINK) > 0 && random.nextBoolean();
    }

    int rows() {
      return queries.length;
    }

    int keys(int row) {
      return prefixKeys + ownKeys[row];
    }

    double sum(int r, int h, int q, Kind kind) {
      double sum = 0;
      for (int k = 0; k < keys(r); k++) {
        sum += kinds[r][k] == kind ? weights[r][h][q][k] : 0;
      }
      return sum;
    }

    /** The definition, in double precision. */
    double expected(int r, int h, int q, int k) {
      double weight = weights[r][h][q][k];
      if (!selected[r][h][q]) {
        return weight;
      }
      double budget =
          movedShare[r] * (sum(r, h, q, Kind.VISUAL_SINK) + sum(r, h, q, Kind.TEXT_SINK));
      return switch (kinds[r][k]) {
        case VISUAL_SINK, TEXT_SINK -> weight * (1 - movedShare[r]);
        case VISUAL_NONSINK -> weight + budget * weight / sum(r, h, q, Kind.VISUAL_NONSINK);
        case TEXT -> weight;
      };
    }
  }

  @RepeatedTest(50)
  void doesWhatThePlainDefinitionDoes(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(repetition.getCurrentRepetition()));
    float[][][][] moved = redistribute(batch);
    forEachKey(
        batch,
        (r, h, q, k) ->
            assertThat((double) moved[r][h][q][k])
                .isCloseTo(batch.expected(r, h, q, k), within(1e-6)));
  }

  @RepeatedTest(50)
  void keepsEveryQuerysSum(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(1000 + repetition.getCurrentRepetition()));
    float[][][][] moved = redistribute(batch);
    for (int r = 0; r < batch.rows(); r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries[r]; q++) {
          assertThat(total(moved[r][h][q])).isCloseTo(total(batch.weights[r][h][q]), within(1e-5));
        }
      }
    }
  }

  @RepeatedTest(20)
  void changesNothingWhenNothingIsMoved(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(2000 + repetition.getCurrentRepetition()));
    Arrays.fill(batch.movedShare, 0);
    assertThat(Arrays.deepEquals(redistribute(batch), batch.weights)).isTrue();
  }

  @RepeatedTest(50)
  void takesFromSinksAloneAndGivesToImageTokensAlone(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(3000 + repetition.getCurrentRepetition()));
    float[][][][] moved = redistribute(batch);
    forEachKey(
        batch,
        (r, h, q, k) -> {
          float before = batch.weights[r][h][q][k];
          float after = moved[r][h][q][k];
          switch (batch.kinds[r][k]) {
            case VISUAL_SINK, TEXT_SINK -> assertThat(after).isBetween(0f, before);
            case VISUAL_NONSINK -> assertThat(after).isGreaterThanOrEqualTo(before);
            case TEXT -> assertThat(after).isEqualTo(before);
          }
        });
  }

  @RepeatedTest(20)
  void emptiesEverySinkWhenAllIsMoved(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(4000 + repetition.getCurrentRepetition()));
    Arrays.fill(batch.movedShare, 1);
    float[][][][] moved = redistribute(batch);
    forEachKey(
        batch,
        (r, h, q, k) -> {
          if (batch.selected[r][h][q]
              && (batch.kinds[r][k] == Kind.VISUAL_SINK || batch.kinds[r][k] == Kind.TEXT_SINK)) {
            assertThat(moved[r][h][q][k]).isZero();
          }
        });
  }

  @RepeatedTest(20)
  void leavesUnselectedQueriesAsTheyWere(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(5000 + repetition.getCurrentRepetition()));
    float[][][][] moved = redistribute(batch);
    for (int r = 0; r < batch.rows(); r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries[r]; q++) {
          if (!batch.selected[r][h][q]) {
            assertThat(moved[r][h][q]).isEqualTo(batch.weights[r][h][q]);
          }
        }
      }
    }
  }

  @RepeatedTest(20)
  void treatsEveryHeadByItself(RepetitionInfo repetition) {
    Random random = new Random(6000 + repetition.getCurrentRepetition());
    Batch batch = Batch.random(random);
    List<Integer> order = new ArrayList<>();
    for (int h = 0; h < batch.heads; h++) {
      order.add(h);
    }
    Collections.shuffle(order, random);
    Batch permuted =
        new Batch(batch.heads, batch.prefixKeys, batch.queries, batch.ownKeys, batch.choice);
    for (int r = 0; r < batch.rows(); r++) {
      permuted.kinds[r] = batch.kinds[r];
      permuted.movedShare[r] = batch.movedShare[r];
      for (int h = 0; h < batch.heads; h++) {
        permuted.weights[r][h] = batch.weights[r][order.get(h)];
        permuted.selected[r][h] = batch.selected[r][order.get(h)];
      }
    }

    float[][][][] moved = redistribute(batch);
    float[][][][] ofPermuted = redistribute(permuted);

    forEachKey(
        batch,
        (r, h, q, k) ->
            assertThat(ofPermuted[r][h][q][k])
                .isCloseTo(moved[r][order.get(h)][q][k], within(1e-7f)));
  }

  @RepeatedTest(20)
  void treatsEveryRowAsIfItWereAlone(RepetitionInfo repetition) {
    Batch batch = Batch.random(new Random(7000 + repetition.getCurrentRepetition()));
    float[][][][] moved = redistribute(batch);
    for (int r = 0; r < batch.rows(); r++) {
      float[][][] alone = redistribute(batch.alone(r))[0];
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries[r]; q++) {
          assertThat(moved[r][h][q]).containsExactly(alone[h][q], withPrecision(1e-7f));
        }
      }
    }
  }

  @Test
  void sharesWhatSinksLoseInProportionToWhatImageTokensHold() {
    //                  text  sink  image image text
    Batch batch = byHand(0.2f, 0.3f, 0.3f, 0.1f, 0.1f);
    batch.movedShare[0] = 0.6f;
    // 0.6 · 0.3 = 0.18 is taken; the image tokens hold 3 : 1 and get 0.135 and 0.045.
    assertThat(redistribute(batch)[0][0][0])
        .containsExactly(new float[] {0.2f, 0.12f, 0.435f, 0.145f, 0.1f}, withPrecision(1e-6f));
  }

  @Test
  void givesWhatTextSinksLoseToTheImageToo() {
    Batch batch = byHand(0.4f, 0.1f, 0.1f, 0.1f, 0.3f);
    batch.kinds[0][0] = Kind.TEXT_SINK; // Before the image.
    batch.kinds[0][4] = Kind.TEXT_SINK; // After it.
    batch.movedShare[0] = 0.5f;
    // 0.2 + 0.05 + 0.15 = 0.4 is taken; both image tokens get half of it.
    assertThat(redistribute(batch)[0][0][0])
        .containsExactly(new float[] {0.2f, 0.05f, 0.3f, 0.3f, 0.15f}, withPrecision(1e-6f));
  }

  @Test
  void leavesTheSharesOfAQueryWithoutSinkAttentionAlone() {
    Batch batch = byHand(0.4f, 0f, 0.1f, 0.2f, 0.3f);
    batch.movedShare[0] = 1;
    assertThat(redistribute(batch)[0][0][0])
        .containsExactly(new float[] {0.4f, 0f, 0.1f, 0.2f, 0.3f}, withPrecision(0f));
  }

  @Test
  void staysFiniteWhereAnUnselectedQuerySeesNoImageTokenButSinks() {
    Batch batch = byHand(0.4f, 0.3f, 0f, 0f, 0.3f);
    batch.selected[0][0][0] = false;
    batch.movedShare[0] = 1;
    assertThat(redistribute(batch)[0][0][0])
        .containsExactly(new float[] {0.4f, 0.3f, 0f, 0f, 0.3f}, withPrecision(0f));
  }

  /** One selected query on text, a visual sink, two other image tokens, and own text. */
  private static Batch byHand(float... weights) {
    Batch batch = new Batch(1, 4, new int[] {1}, new int[] {1}, new int[] {0});
    batch.kinds[0] =
        new Kind[] {
          Kind.TEXT, Kind.VISUAL_SINK, Kind.VISUAL_NONSINK, Kind.VISUAL_NONSINK, Kind.TEXT
        };
    batch.weights[0][0][0] = weights;
    batch.selected[0][0][0] = true;
    return batch;
  }

  /**
   * Rows as they lie in a cache: queries and own keys of all rows one behind the other in any
   * order, and no attention where a query does not see a key.
   */
  private float[][][][] redistribute(Batch batch) {
    Random random = new Random(batch.heads);
    int queries = IntStream.of(batch.queries).sum();
    int slots = batch.prefixKeys + IntStream.of(batch.ownKeys).sum();
    int capacity = slots + random.nextInt(4);
    int choices = 1 + IntStream.of(batch.choice).max().orElse(0);
    int[][] query = places(batch.queries, 0, random); // [row][query]
    int[][] slot = places(batch.ownKeys, batch.prefixKeys, random); // [row][own key]
    float[] weights = new float[batch.heads * queries * slots];
    float[] sums = new float[batch.heads * queries * 3];
    float[] selected = new float[batch.heads * queries];
    float[] groups = new float[choices * capacity * 3];
    long[] choice = new long[queries];
    float[] share = new float[queries];
    for (int r = 0; r < batch.rows(); r++) {
      for (int k = 0; k < batch.keys(r); k++) {
        Kind kind = batch.kinds[r][k];
        if (k < batch.prefixKeys && kind != Kind.TEXT) {
          groups[(batch.choice[r] * 3 + GROUPS.indexOf(kind)) * capacity + k] = 1;
        } else if (kind == Kind.TEXT_SINK) { // Marked for all, though only its row sees it.
          for (int c = 0; c < choices; c++) {
            groups[(c * 3 + 2) * capacity + slot[r][k - batch.prefixKeys]] = 1;
          }
        }
      }
      for (int q = 0; q < batch.queries[r]; q++) {
        choice[query[r][q]] = batch.choice[r];
        share[query[r][q]] = batch.movedShare[r];
        for (int h = 0; h < batch.heads; h++) {
          int i = h * queries + query[r][q];
          float[] row = batch.weights[r][h][q];
          System.arraycopy(row, 0, weights, i * slots, batch.prefixKeys);
          for (int k = 0; k < batch.ownKeys[r]; k++) {
            weights[i * slots + slot[r][k]] = row[batch.prefixKeys + k];
          }
          selected[i] = batch.selected[r][h][q] ? 1 : 0;
          for (int g = 0; g < 3; g++) {
            sums[3 * i + g] = (float) batch.sum(r, h, q, GROUPS.get(g));
          }
        }
      }
    }
    float[] moved =
        operators
            .redistribute(
                array(weights, 1, batch.heads, queries, slots),
                array(sums, 1, batch.heads, queries, 3),
                array(groups, 1, choices, 3, capacity),
                0,
                manager.create(choice, new Shape(1, queries)),
                array(selected, 1, batch.heads, queries),
                array(share, 1, queries))
            .toFloatArray();
    return unpacked(batch, moved, query, slot, slots);
  }

  private static float[][][][] unpacked(
      Batch batch, float[] moved, int[][] query, int[][] slot, int slots) {
    int queries = IntStream.of(batch.queries).sum();
    float[][][][] unpacked = new float[batch.rows()][batch.heads][][];
    for (int r = 0; r < batch.rows(); r++) {
      for (int h = 0; h < batch.heads; h++) {
        unpacked[r][h] = new float[batch.queries[r]][batch.keys(r)];
        for (int q = 0; q < batch.queries[r]; q++) {
          int begin = (h * queries + query[r][q]) * slots;
          float[] row = unpacked[r][h][q];
          System.arraycopy(moved, begin, row, 0, batch.prefixKeys);
          for (int k = 0; k < batch.ownKeys[r]; k++) {
            row[batch.prefixKeys + k] = moved[begin + slot[r][k]];
            moved[begin + slot[r][k]] = 0;
          }
          assertThat(Arrays.copyOfRange(moved, begin + batch.prefixKeys, begin + slots))
              .containsOnly(0f);
        }
      }
    }
    return unpacked;
  }

  /** Different places for so many things of each row, from the first on. */
  private static int[][] places(int[] counts, int first, Random random) {
    List<Integer> places =
        new ArrayList<>(IntStream.range(0, IntStream.of(counts).sum()).boxed().toList());
    Collections.shuffle(places, random);
    int[][] ofRows = new int[counts.length][];
    int next = 0;
    for (int r = 0; r < counts.length; r++) {
      ofRows[r] = new int[counts[r]];
      for (int i = 0; i < counts[r]; i++) {
        ofRows[r][i] = first + places.get(next++);
      }
    }
    return ofRows;
  }

  private NDArray array(float[] values, long... shape) {
    return manager.create(values, new Shape(shape));
  }

  private static double total(float[] values) {
    double total = 0;
    for (float value : values) {
      total += value;
    }
    return total;
  }

  private interface KeyCheck {
    void check(int row, int head, int query, int key);
  }

  private static void forEachKey(Batch batch, KeyCheck check) {
    for (int r = 0; r < batch.rows(); r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries[r]; q++) {
          for (int k = 0; k < batch.keys(r); k++) {
            check.check(r, h, q, k);
          }
        }
      }
    }
  }
}
