package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.index.NDIndex;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.Pass;
import io.sinklens.tensor.Operators;
import org.jspecify.annotations.Nullable;

/**
 * Where on the image the rows of one batch looked, in every layer, before another hook and after
 * it: means over heads and over the queries that gave answer tokens.
 */
public final class AttentionMapRecorder {
  private final Operators operators;
  private final int imageStart;
  private final int imageTokens;
  private final int layers;
  private final Side before;
  private final Side after;

  /**
   * Prepares for one batch.
   *
   * @param imageStart position of the first image token
   * @param imageEnd position after the last image token, where the prefix ends
   * @param rows rows of the batch
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
    private @Nullable Pass pass;

    Side(int rows) {
      sums = new double[rows][layers][imageTokens];
      queries = new int[rows];
    }

    @Override
    public boolean asks(Point point, int layer) {
      return point == Point.WEIGHTS;
    }

    @Override
    public void onPass(Pass pass) {
      this.pass = pass;
      for (int r = 0; r < queries.length; r++) {
        queries[r] += pass.answerQuery(r) >= 0 ? 1 : 0;
      }
    }

    @Override
    public AttentionParts onWeights(int layer, AttentionParts weights) {
      if (pass == null) {
        throw new IllegalStateException("Cannot see weights before a pass");
      }
      NDArray prefix = weights.prefix(); // [row, heads, query, prefix key]
      float[] map =
          operators
              .pickQueries(
                  prefix, pass.answerQueries(prefix.getManager())) // [row, heads, prefix key]
              .get(new NDIndex("..., {}:", imageStart))
              .mean(new int[] {1}) // [row, image token]
              .toFloatArray();
      for (int r = 0; r < queries.length; r++) {
        for (int i = 0; pass.answerQuery(r) >= 0 && i < imageTokens; i++) {
          sums[r][layer][i] += map[r * imageTokens + i];
        }
      }
      return weights;
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
