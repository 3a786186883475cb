package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.Pass;
import io.sinklens.tensor.Operators;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What visual sinks and other image tokens add to the residual stream through each head: {@code
 * ‖α_ij · x_j · W_V · W_O‖}, means over tokens and over the queries that gave answer tokens.
 *
 * <p>Records the weights it is shown, for one batch.
 */
public final class Contributions implements AttentionHook {
  private static final int GROUPS = 3; // As in SinkDetector.prefixGroups.

  private final Operators operators;
  private final SinkDetector sinks;
  private final ValueNorms norms;
  private final int heads;
  private final double[][][] sums; // [row][layer][head · 3 + group]
  private final int[] queries; // [row], those that gave an answer token
  private @Nullable Pass pass;

  /**
   * Prepares for one batch.
   *
   * @param sinks the sinks of its rows
   * @param norms of what all rows begin with
   * @param rows rows of the batch
   * @param layers layers of the decoder
   * @param heads query heads of a layer
   */
  public Contributions(
      Operators operators, SinkDetector sinks, ValueNorms norms, int rows, int layers, int heads) {
    this.operators = operators;
    this.sinks = sinks;
    this.norms = norms;
    this.heads = heads;
    sums = new double[rows][layers][GROUPS * heads];
    queries = new int[rows];
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.WEIGHTS && sinks.covers(layer);
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
    NDArray prefix = weights.prefix();
    float[] ofGroups =
        operators
            .pickQueries(prefix, pass.answerQueries(prefix.getManager()))
            .mul(norms.at(layer)) // [row, heads, prefix key]
            .matMul(sinks.prefixGroups(layer)) // [row, heads, group]
            .toFloatArray();
    for (int r = 0; r < queries.length; r++) {
      for (int i = 0; pass.answerQuery(r) >= 0 && i < GROUPS * heads; i++) {
        sums[r][layer][i] += ofGroups[r * GROUPS * heads + i];
      }
    }
    return weights;
  }

  /** Contribution of visual sinks, one value a head; empty where the row has none at that layer. */
  public Optional<float[]> ofSinks(int layer, int row) {
    return means(layer, row, 0, sinks.visualSinks(layer, row).length);
  }

  /** Contribution of image tokens that are no sinks, as {@link #ofSinks}. */
  public Optional<float[]> ofNonsinks(int layer, int row) {
    return means(layer, row, 1, sinks.visualNonsinks(layer, row).length);
  }

  private Optional<float[]> means(int layer, int row, int group, int tokens) {
    if (tokens == 0) {
      return Optional.empty();
    }
    float[] means = new float[heads];
    for (int h = 0; h < heads; h++) {
      means[h] =
          (float) (sums[row][layer][GROUPS * h + group] / tokens / Math.max(1, queries[row]));
    }
    return Optional.of(means);
  }
}
