package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Operators;
import java.util.Optional;

/**
 * What visual sinks and other image tokens add to the residual stream through each head: {@code
 * ‖α_ij · x_j · W_V · W_O‖}, means over tokens and over the queries that gave answer tokens.
 *
 * <p>Records the weights it is shown, for its rows.
 */
public final class Contributions implements AttentionHook {
  private final Operators operators;
  private final SinkDetector sinks;
  private final ValueNorms norms;
  private final int heads;
  private final double[][][] sums; // [row][layer][head · 3 + group]
  private final int[] queries; // [row], those that gave an answer token

  /**
   * Prepares for its rows.
   *
   * @param sinks the sinks of its rows
   * @param norms of what all rows begin with
   * @param rows how many
   * @param layers layers of the decoder
   * @param heads query heads of a layer
   */
  public Contributions(
      Operators operators, SinkDetector sinks, ValueNorms norms, int rows, int layers, int heads) {
    this.operators = operators;
    this.sinks = sinks;
    this.norms = norms;
    this.heads = heads;
    sums = new double[rows][layers][KeyGroupSums.GROUPS * heads];
    queries = new int[rows];
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.WEIGHTS && sinks.covers(layer);
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
      NDArray contributed = operators.scaleKeys(weights, norms.at(layer));
      NDArray ofGroups = sinks.sums(layer, segment, contributed).byGroup();
      segment.notes().add(ofGroups, numbers -> add(layer, segment, numbers));
    }
    return weights;
  }

  /** Adds {@code [heads, query, group]}. */
  private void add(int layer, Segment segment, float[] ofGroups) {
    for (int query : segment.answerQueries()) {
      double[] ofRow = sums[segment.token(query).row()][layer];
      for (int h = 0; h < heads; h++) {
        for (int g = 0; g < KeyGroupSums.GROUPS; g++) {
          ofRow[KeyGroupSums.GROUPS * h + g] +=
              ofGroups[(h * segment.queries() + query) * KeyGroupSums.GROUPS + g];
        }
      }
    }
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
          (float)
              (sums[row][layer][KeyGroupSums.GROUPS * h + group]
                  / tokens
                  / Math.max(1, queries[row]));
    }
    return Optional.of(means);
  }
}
