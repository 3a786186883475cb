package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Operators;

/**
 * Where on an image some rows on it looked, in every layer, before another hook and after it: means
 * over heads and over the queries that gave answer tokens.
 */
public final class AttentionMapRecorder {
  private final Operators operators;
  private final int imageStart;
  private final int imageTokens;
  private final int layers;
  private final Side before;
  private final Side after;

  /**
   * Prepares for rows.
   *
   * @param imageStart position of the first image token
   * @param imageEnd position after the last image token, where the prefix ends
   * @param rows how many
   * @param layers layers of the decoder
   */
  public AttentionMapRecorder(
      Operators operators, int imageStart, int imageEnd, int rows, int layers) {
    this.operators = operators;
    this.imageStart = imageStart;
    this.imageTokens = imageEnd - imageStart;
    this.layers = layers;
    before = new Side(rows);
    after = new Side(rows);
  }

  /** The hook in question with a recorder on either side. */
  public AttentionHook around(AttentionHook hook) {
    return before.andThen(hook).andThen(after);
  }

  /** A row's attention after softmax: {@code [layer][image token]}. */
  public float[][] before(int row) {
    return before.means(row);
  }

  /** What the row used in its place, as {@link #before}. */
  public float[][] after(int row) {
    return after.means(row);
  }

  private final class Side implements AttentionHook {
    private final double[][][] sums; // [row][layer][image token]
    private final int[] queries; // [row], those that gave an answer token

    Side(int rows) {
      sums = new double[rows][layers][imageTokens];
      queries = new int[rows];
    }

    @Override
    public boolean asks(Point point, int layer) {
      return point == Point.WEIGHTS;
    }

    @Override
    public void onSegment(Segment segment) {
      for (int query : segment.answerQueries()) {
        queries[segment.token(query).row()]++;
      }
    }

    @Override
    public NDArray onWeights(int layer, Segment segment, NDArray weights) {
      if (segment.answerQueries().length > 0) {
        NDArray map =
            operators.meanOverHeads(
                weights, segment.answers(), imageStart, imageStart + imageTokens);
        segment.notes().add(map, numbers -> add(layer, segment, numbers));
      }
      return weights;
    }

    /** Adds {@code [answering query, image token]}. */
    private void add(int layer, Segment segment, float[] map) {
      int[] answering = segment.answerQueries();
      for (int a = 0; a < answering.length; a++) {
        double[] ofRow = sums[segment.token(answering[a]).row()][layer];
        for (int i = 0; i < imageTokens; i++) {
          ofRow[i] += map[a * imageTokens + i];
        }
      }
    }

    float[][] means(int row) {
      float[][] means = new float[layers][imageTokens];
      for (int layer = 0; layer < layers; layer++) {
        for (int i = 0; i < imageTokens; i++) {
          means[layer][i] = (float) (sums[row][layer][i] / Math.max(1, queries[row]));
        }
      }
      return means;
    }
  }
}
