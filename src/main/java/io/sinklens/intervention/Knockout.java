package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.SinkDetector;
import io.sinklens.tensor.Operators;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Attention knockout on some rows: all queries after the image lose sight of some of its tokens,
 * each row of its own.
 *
 * <p>A masked token's weight becomes 0 and the query's other weights are divided by their sum,
 * which is what the softmax without that token gives. A row keeps the very weights it has at layers
 * where nothing is masked. Made for these rows and closed with them.
 */
public final class Knockout implements AttentionHook, AutoCloseable {
  private final Operators operators;
  private final SinkDetector sinks;
  private final NDManager manager;
  private final List<Masking> rows;
  private final SplittableRandom[] random; // by row, used layer after layer
  private final NDArray[] kept; // by layer, [row, prefix key], 0 where masked, else 1

  /**
   * Prepares for rows.
   *
   * @param sinks the sinks of these rows
   * @param rows one choice a row, in this order
   * @param layers layers of the decoder
   */
  public Knockout(Operators operators, SinkDetector sinks, List<Masking> rows, int layers) {
    this.operators = operators;
    this.sinks = sinks;
    this.rows = List.copyOf(rows);
    manager = operators.manager().newSubManager();
    random =
        rows.stream().map(row -> new SplittableRandom(row.seed())).toArray(SplittableRandom[]::new);
    kept = new NDArray[layers];
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.WEIGHTS && sinks.covers(layer);
  }

  @Override
  public NDArray onWeights(int layer, Segment segment, NDArray weights) {
    if (kept[layer] == null) {
      kept[layer] = kept(layer);
    }
    return operators.knockOut(weights, kept[layer], segment.rows());
  }

  @Override
  public void close() {
    manager.close();
  }

  private NDArray kept(int layer) {
    int prefixKeys = sinks.prefixLength();
    float[] keeps = new float[rows.size() * prefixKeys];
    Arrays.fill(keeps, 1);
    for (int r = 0; r < rows.size(); r++) {
      for (int key : masked(layer, r, rows.get(r).tokens(), random[r])) {
        keeps[r * prefixKeys + key] = 0;
      }
    }
    return manager.create(keeps, new Shape(rows.size(), prefixKeys));
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
}
