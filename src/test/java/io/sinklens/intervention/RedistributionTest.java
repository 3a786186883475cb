package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.sink.KeyGroupSums;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

class RedistributionTest {
  /** In the order of a group array's columns. */
  private static final List<Kind> GROUPS =
      List.of(Kind.VISUAL_SINK, Kind.VISUAL_NONSINK, Kind.TEXT_SINK);

  private final NDManager manager = NDManager.newBaseManager("PyTorch");

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

  /** Attention of a batch in plain arrays, own keys after those of the prefix. */
  private static final class Batch {
    final int rows;
    final int heads;
    final int queries;
    final int prefixKeys;
    final int ownKeys;
    final Kind[][] kinds; // [row][key]
    final float[][][][] weights; // [row][head][query][key]
    final boolean[][][] selected;
    final float[] movedShare;

    Batch(int rows, int heads, int queries, int prefixKeys, int ownKeys) {
      this.rows = rows;
      this.heads = heads;
      this.queries = queries;
      this.prefixKeys = prefixKeys;
      this.ownKeys = ownKeys;
      kinds = new Kind[rows][prefixKeys + ownKeys];
      weights = new float[rows][heads][queries][prefixKeys + ownKeys];
      selected = new boolean[rows][heads][queries];
      movedShare = new float[rows];
    }

    /** Random attention, with some keys that get none and some heads that see no non-sink. */
    static Batch random(Random random) {
      Batch batch =
          new Batch(
              1 + random.nextInt(3),
              1 + random.nextInt(4),
              1 + random.nextInt(4),
              4 + random.nextInt(12),
              1 + random.nextInt(6));
      int imageStart = 1 + random.nextInt(batch.prefixKeys - 2);
      for (int r = 0; r < batch.rows; r++) {
        batch.movedShare[r] = random.nextFloat();
        for (int k = 0; k < batch.keys(); k++) {
          boolean image = k >= imageStart && k < batch.prefixKeys;
          boolean sink = random.nextInt(3) == 0;
          batch.kinds[r][k] =
              image
                  ? (sink ? Kind.VISUAL_SINK : Kind.VISUAL_NONSINK)
                  : (sink ? Kind.TEXT_SINK : Kind.TEXT);
        }
        for (int h = 0; h < batch.heads; h++) {
          for (int q = 0; q < batch.queries; q++) {
            batch.fill(r, h, q, random);
          }
        }
      }
      return batch;
    }

    private void fill(int r, int h, int q, Random random) {
      boolean blind = random.nextInt(8) == 0;
      double[] raw = new double[keys()];
      double sum = 0;
      for (int k = 0; k < keys(); k++) {
        boolean none = random.nextInt(6) == 0 || (blind && kinds[r][k] == Kind.VISUAL_NONSINK);
        raw[k] = none ? 0 : Math.exp(3 * random.nextGaussian());
        sum += raw[k];
      }
      for (int k = 0; k < keys(); k++) {
        weights[r][h][q][k] = sum == 0 ? 0 : (float) (raw[k] / sum);
      }
      selected[r][h][q] = sum(r, h, q, Kind.VISUAL_NONSINK) > 0 && random.nextBoolean();
    }

    int keys() {
      return prefixKeys + ownKeys;
    }

    double sum(int r, int h, int q, Kind kind) {
      double sum = 0;
      for (int k = 0; k < keys(); k++) {
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
    for (int r = 0; r < batch.rows; r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries; q++) {
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
    for (int r = 0; r < batch.rows; r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries; q++) {
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
        new Batch(batch.rows, batch.heads, batch.queries, batch.prefixKeys, batch.ownKeys);
    for (int r = 0; r < batch.rows; r++) {
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
    Batch batch = new Batch(1, 1, 1, 4, 1);
    batch.kinds[0] =
        new Kind[] {
          Kind.TEXT, Kind.VISUAL_SINK, Kind.VISUAL_NONSINK, Kind.VISUAL_NONSINK, Kind.TEXT
        };
    batch.weights[0][0][0] = weights;
    batch.selected[0][0][0] = true;
    return batch;
  }

  private float[][][][] redistribute(Batch batch) {
    float[] prefix = new float[batch.rows * batch.heads * batch.queries * batch.prefixKeys];
    float[] own = new float[batch.rows * batch.heads * batch.queries * batch.ownKeys];
    float[][] sums = new float[3][batch.rows * batch.heads * batch.queries];
    float[] selected = new float[batch.rows * batch.heads * batch.queries];
    float[] groups = new float[batch.rows * batch.prefixKeys * 3];
    float[] ownSinks = new float[batch.rows * batch.ownKeys];
    for (int r = 0; r < batch.rows; r++) {
      for (int k = 0; k < batch.keys(); k++) {
        Kind kind = batch.kinds[r][k];
        if (k >= batch.prefixKeys) {
          ownSinks[r * batch.ownKeys + k - batch.prefixKeys] = kind == Kind.TEXT_SINK ? 1 : 0;
        } else if (kind != Kind.TEXT) {
          groups[(r * batch.prefixKeys + k) * 3 + GROUPS.indexOf(kind)] = 1;
        }
      }
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries; q++) {
          int i = (r * batch.heads + h) * batch.queries + q;
          float[] row = batch.weights[r][h][q];
          System.arraycopy(row, 0, prefix, i * batch.prefixKeys, batch.prefixKeys);
          System.arraycopy(row, batch.prefixKeys, own, i * batch.ownKeys, batch.ownKeys);
          selected[i] = batch.selected[r][h][q] ? 1 : 0;
          for (int g = 0; g < 3; g++) {
            sums[g][i] = (float) batch.sum(r, h, q, GROUPS.get(g));
          }
        }
      }
    }
    AttentionParts moved =
        Redistribution.redistribute(
            new AttentionParts(
                array(prefix, batch.rows, batch.heads, batch.queries, batch.prefixKeys),
                array(own, batch.rows, batch.heads, batch.queries, batch.ownKeys)),
            new KeyGroupSums(
                array(sums[0], batch.rows, batch.heads, batch.queries),
                array(sums[1], batch.rows, batch.heads, batch.queries),
                array(sums[2], batch.rows, batch.heads, batch.queries)),
            array(groups, batch.rows, batch.prefixKeys, 3),
            array(ownSinks, batch.rows, 1, 1, batch.ownKeys),
            array(selected, batch.rows, batch.heads, batch.queries),
            array(batch.movedShare, batch.rows, 1, 1));
    return joined(batch, moved);
  }

  private static float[][][][] joined(Batch batch, AttentionParts parts) {
    float[] prefix = parts.prefix().toFloatArray();
    float[] own = parts.own().toFloatArray();
    float[][][][] joined = new float[batch.rows][batch.heads][batch.queries][batch.keys()];
    for (int r = 0; r < batch.rows; r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries; q++) {
          int i = (r * batch.heads + h) * batch.queries + q;
          float[] row = joined[r][h][q];
          System.arraycopy(prefix, i * batch.prefixKeys, row, 0, batch.prefixKeys);
          System.arraycopy(own, i * batch.ownKeys, row, batch.prefixKeys, batch.ownKeys);
        }
      }
    }
    return joined;
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
    for (int r = 0; r < batch.rows; r++) {
      for (int h = 0; h < batch.heads; h++) {
        for (int q = 0; q < batch.queries; q++) {
          for (int k = 0; k < batch.keys(); k++) {
            check.check(r, h, q, k);
          }
        }
      }
    }
  }
}
