package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.sink.KeyGroupSums;

/** Moves attention from sinks to the image tokens that are none. */
public final class Redistribution {
  private Redistribution() {}

  /**
   * Takes a share of every sink's attention, in the image and in the text, and gives it to the
   * image tokens that are no sinks, in proportion to what they already hold.
   *
   * <p>Every query keeps its sum; a query that is not chosen keeps everything.
   *
   * @param weights attention after softmax, float32
   * @param sums the same added up by group, {@code [row, heads, query]}
   * @param prefixGroups 1 where a prefix key is a visual sink, a visual non-sink, a text sink:
   *     {@code [row, prefix key, 3]}
   * @param ownSinks 1 where an own key is a sink, {@code [row, 1, 1, own key]}
   * @param selected 1 where the head is corrected, {@code [row, heads, query]}; such a query must
   *     give visual non-sinks some attention
   * @param movedShare the share to take, {@code [row, 1, 1]}
   * @return the new weights, in the manager of {@code weights}
   */
  public static AttentionParts redistribute(
      AttentionParts weights,
      KeyGroupSums sums,
      NDArray prefixGroups,
      NDArray ownSinks,
      NDArray selected,
      NDArray movedShare) {
    NDArray taken = selected.mul(movedShare); // [row, heads, query]
    NDArray budget = taken.mul(sums.sinks());
    // Where nothing is selected the budget is 0, and so must the quotient be.
    NDArray given = budget.div(sums.visualNonsinks().maximum(Float.MIN_NORMAL));
    Shape shape = weights.prefix().getShape(); // [row, heads, query, prefix key]
    long rows = shape.get(0);
    NDArray sinks = column(prefixGroups, 0).add(column(prefixGroups, 2)); // [row, 1, prefix key]
    NDArray nonsinks = column(prefixGroups, 1);
    NDArray change =
        flat(given, rows).mul(nonsinks).sub(flat(taken, rows).mul(sinks)).reshape(shape);
    return new AttentionParts(
        weights.prefix().add(weights.prefix().mul(change)),
        weights.own().sub(weights.own().mul(taken.expandDims(3)).mul(ownSinks)));
  }

  private static NDArray column(NDArray groups, int group) {
    return groups.get(new NDIndex(":, :, {}", group)).expandDims(1);
  }

  private static NDArray flat(NDArray perQuery, long rows) {
    return perQuery.reshape(rows, -1, 1); // [row, heads · query, 1]
  }
}
