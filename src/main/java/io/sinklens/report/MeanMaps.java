package io.sinklens.report;

import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord.LayerSinks;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Attention before and after VAR, means over the layers that VAR may correct: those that can have
 * sinks, but the last. {@code [image token]}, 0 to 1.
 *
 * @param firstLayer of those layers
 * @param lastLayer of those layers
 * @param before attention after softmax
 * @param after what was used in its place
 */
@SuppressWarnings("ArrayRecordComponent") // Never compared.
record MeanMaps(int firstLayer, int lastLayer, double[] before, double[] after) {

  /** The means; none for a model with too few layers. */
  static Optional<MeanMaps> of(List<LayerSinks> sinks, AttentionMaps maps) {
    int last = maps.before().size() - 2;
    if (sinks.isEmpty() || sinks.get(0).layer() > last) {
      return Optional.empty();
    }
    int first = sinks.get(0).layer();
    return Optional.of(
        new MeanMaps(
            first,
            last,
            mean(maps.before().subList(first, last + 1)),
            mean(maps.after().subList(first, last + 1))));
  }

  private static double[] mean(List<List<Float>> layers) {
    return IntStream.range(0, layers.get(0).size())
        .mapToDouble(
            token -> layers.stream().mapToDouble(layer -> layer.get(token)).average().orElse(0))
        .toArray();
  }

  /** The largest value of both. */
  double max() {
    return DoubleStream.concat(DoubleStream.of(before), DoubleStream.of(after)).max().orElse(0);
  }

  /** What some image tokens hold together of one of the two. */
  static double sum(double[] attention, List<Integer> positions) {
    return positions.stream().mapToDouble(position -> attention[position]).sum();
  }

  /** One of the two as places on a palette, 0 to 1: square roots in units of the largest. */
  double[] scaled(double[] attention) {
    double max = max();
    return DoubleStream.of(attention).map(value -> max > 0 ? Math.sqrt(value / max) : 0).toArray();
  }
}
