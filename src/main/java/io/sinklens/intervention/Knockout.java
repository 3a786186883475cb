package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.sink.SinkDetector;
import io.sinklens.sink.SinkRule;
import io.sinklens.tensor.Operators;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Attention knockout on one batch: all queries after the image lose sight of some of its tokens,
 * each row of its own.
 *
 * <p>A masked token's weight becomes 0 and the query's other weights are divided by their sum,
 * which is what the softmax without that token gives. A row keeps the very weights it has at layers
 * where nothing is masked. Made for one batch and closed with it.
 */
public final class Knockout implements AttentionHook, AutoCloseable {
  private final SinkDetector sinks;
  private final NDManager manager;
  private final NDArray[] kept; // by layer, [row, 1, 1, prefix key], 0 where masked, else 1
  private final NDArray[] touched; // by layer, [row, 1, 1, 1], 1 where anything is masked, else 0
  private final NDArray[] least; // by layer, as touched: the least to divide by, 1 where untouched

  /**
   * Chooses the tokens of one batch.
   *
   * @param sinks the sinks of these rows
   * @param rows one choice a row, in this order
   * @param layers layers of the decoder
   */
  public Knockout(Operators operators, SinkDetector sinks, List<Masking> rows, int layers) {
    this.sinks = sinks;
    manager = operators.manager().newSubManager();
    kept = new NDArray[layers];
    touched = new NDArray[layers];
    least = new NDArray[layers];
    SplittableRandom[] random =
        rows.stream().map(row -> new SplittableRandom(row.seed())).toArray(SplittableRandom[]::new);
    for (int layer = SinkRule.FIRST_LAYER; layer < layers; layer++) {
      int prefixKeys = (int) sinks.prefixGroups(layer).getShape().get(1);
      float[] keeps = new float[rows.size() * prefixKeys];
      float[] touches = new float[rows.size()];
      float[] divisors = new float[rows.size()];
      Arrays.fill(keeps, 1);
      Arrays.fill(divisors, 1);
      for (int r = 0; r < touches.length; r++) {
        for (int key : masked(layer, r, rows.get(r).tokens(), random[r])) {
          keeps[r * prefixKeys + key] = 0;
          touches[r] = 1;
          divisors[r] = Float.MIN_NORMAL;
        }
      }
      kept[layer] = manager.create(keeps, new Shape(touches.length, 1, 1, prefixKeys));
      touched[layer] = manager.create(touches, new Shape(touches.length, 1, 1, 1));
      least[layer] = manager.create(divisors, new Shape(divisors.length, 1, 1, 1));
    }
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.WEIGHTS && sinks.covers(layer);
  }

  @Override
  public AttentionParts onWeights(int layer, AttentionParts weights) {
    NDArray prefix = weights.prefix().mul(kept[layer]);
    NDArray left = sum(prefix).add(sum(weights.own())); // [row, heads, query, 1]
    NDArray divisor = left.mul(touched[layer]).maximum(least[layer]);
    return new AttentionParts(prefix.div(divisor), weights.own().div(divisor));
  }

  @Override
  public void close() {
    manager.close();
  }

  private int[] masked(int layer, int row, Masking.Tokens tokens, SplittableRandom random) {
    return switch (tokens) {
      case NONE -> new int[0];
      case SINKS -> sinks.visualSinks(layer, row);
      case RANDOM ->
          draw(sinks.visualNonsinks(layer, row), sinks.visualSinks(layer, row).length, random);
    };
  }

  /** So many of the tokens, each choice equally likely; all of them where there are not so many. */
  private static int[] draw(int[] tokens, int count, SplittableRandom random) {
    int drawn = Math.min(count, tokens.length);
    for (int i = 0; i < drawn; i++) {
      int other = random.nextInt(i, tokens.length);
      int token = tokens[other];
      tokens[other] = tokens[i];
      tokens[i] = token;
    }
    return Arrays.copyOf(tokens, drawn);
  }

  private static NDArray sum(NDArray weights) {
    return weights.sum(new int[] {3}, true);
  }
}
