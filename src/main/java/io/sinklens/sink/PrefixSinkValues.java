package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Operators;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sink values φ of a shared prefix, kept while its keys and values are.
 *
 * <p>The hook of one prefix pass: {@code φ(x) = max_d |x[d]| / RMS(x)} over the sink dimensions d
 * of every token x entering a layer. They depend on no threshold, so all variants share them.
 */
public final class PrefixSinkValues implements AttentionHook, AutoCloseable {
  static final double RMS_EPSILON = 1e-6;

  private final Operators operators;
  private final NDManager manager;
  private final List<Integer> sinkDimensions;
  private final NDArray dimensions; // [dimension]
  private final NDArray[] values; // by layer, [prefix key]
  private final float[] @Nullable [] read; // The same, once the pass has ended.

  /**
   * Prepares for one prefix pass.
   *
   * @param sinkDimensions hidden dimensions whose massive values mark sinks
   * @param hiddenSize what the dimensions must lie below
   * @param layers layers of the decoder
   */
  public PrefixSinkValues(
      Operators operators, List<Integer> sinkDimensions, int hiddenSize, int layers) {
    requireDimensions(sinkDimensions, hiddenSize);
    this.operators = operators;
    this.sinkDimensions = List.copyOf(sinkDimensions);
    manager = operators.manager().newSubManager();
    dimensions = manager.create(sinkDimensions.stream().mapToLong(Integer::longValue).toArray());
    values = new NDArray[layers];
    read = new float[layers][];
  }

  /**
   * Refuses dimensions that hidden states do not have.
   *
   * @throws IllegalArgumentException naming the first, or when there are none
   */
  public static void requireDimensions(List<Integer> sinkDimensions, int hiddenSize) {
    if (sinkDimensions.isEmpty()) {
      throw new IllegalArgumentException("Sink dimensions must not be empty");
    }
    for (int dimension : sinkDimensions) {
      if (dimension < 0 || dimension >= hiddenSize) {
        throw new IllegalArgumentException(
            "Sink dimensions must be from 0 to %d, not %d".formatted(hiddenSize - 1, dimension));
      }
    }
  }

  @Override
  public boolean asks(Point point, int layer) {
    return point == Point.HIDDEN_STATES && layer >= SinkRule.FIRST_LAYER && layer < values.length;
  }

  @Override
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    values[layer] = valuesOf(hiddenStates);
    values[layer].attach(manager);
    segment
        .notes()
        .add(operators.copyRows(values[layer], segment.prefixLength()), all -> read[layer] = all);
  }

  List<Integer> sinkDimensions() {
    return sinkDimensions;
  }

  /** Sink values of hidden states: {@code [token, hidden]} to {@code [token]}. */
  NDArray valuesOf(NDArray hiddenStates) {
    return operators.sinkValues(hiddenStates, dimensions, RMS_EPSILON);
  }

  /** Sink values entering a layer from the first layer with sinks on: {@code [prefix key]}. */
  NDArray at(int layer) {
    return values[layer];
  }

  /** The same as floats, which the device is asked for only while the prefix runs. */
  float[] floats(int layer) {
    float @Nullable [] floats = read[layer];
    return floats == null ? values[layer].toFloatArray() : floats;
  }

  int layers() {
    return values.length;
  }

  @Override
  public void close() {
    manager.close();
  }
}
