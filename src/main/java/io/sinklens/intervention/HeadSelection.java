package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.sink.KeyGroupSums;
import java.util.List;
import java.util.function.Function;

/**
 * Chooses the image-centric heads of a batch, each row by its own settings.
 *
 * <p>A head is chosen for a query when the image holds enough of its attention, and enough of that
 * goes to image tokens that are no sinks. Its tensors belong to the manager it is made with.
 */
public final class HeadSelection {
  /** What the released code adds to the attention of every image token. */
  private static final double REFERENCE_EPSILON = 1e-6;

  private final NDArray reference; // [row, 1, 1], 1 where the row follows the released code
  private final NDArray minNonsinkRatio; // [row, 1, 1]
  private final NDArray maxSinkShare; // [row, 1, 1]
  private final NDArray minImageAttention; // [row, 1, 1]
  private final NDArray anyVisualSink; // [row, 1, 1], 1 where no visual sink is needed

  /** Takes one setting a row. */
  public HeadSelection(NDManager manager, List<VarSettings> rows) {
    reference = column(manager, rows, row -> row.mode() == Mode.REFERENCE ? 1.0 : 0.0);
    minNonsinkRatio = column(manager, rows, VarSettings::minNonsinkRatio);
    maxSinkShare = column(manager, rows, row -> 1 - row.minNonsinkRatio());
    minImageAttention = column(manager, rows, VarSettings::minImageAttention);
    anyVisualSink =
        column(manager, rows, row -> row.visualSink() == VisualSink.REQUIRED ? 0.0 : 1.0);
  }

  /**
   * Chooses heads.
   *
   * <p>A query that gives the image, or its non-sinks, no attention at all is never chosen: there
   * would be nowhere to move attention to.
   *
   * @param sums attention by group of keys, {@code [row, heads, query]}
   * @param visualSinkCount sinks inside the image of each row, {@code [row, 1, 1]}
   * @param imageTokens number of image tokens
   * @return 1 where chosen, else 0: float32 {@code [row, heads, query]} in the sums' manager
   */
  public NDArray select(KeyGroupSums sums, NDArray visualSinkCount, int imageTokens) {
    NDArray image = sums.image();
    NDArray somewhereToGo = sums.visualNonsinks().gte(Float.MIN_NORMAL); // What can be divided by.
    NDArray enough = number(image.gte(minImageAttention)).mul(number(somewhereToGo));
    NDArray present = number(visualSinkCount.gt(0)).maximum(anyVisualSink);
    NDArray byPaper = number(sums.visualNonsinks().gte(image.mul(minNonsinkRatio)));
    NDArray sinkShare = sums.visualSinks().div(image.add(REFERENCE_EPSILON * imageTokens));
    NDArray byReference = number(sinkShare.lte(maxSinkShare));
    NDArray ratio = byReference.sub(byPaper).mul(reference).add(byPaper);
    return ratio.mul(enough).mul(present);
  }

  private static NDArray number(NDArray condition) {
    return condition.toType(DataType.FLOAT32, false);
  }

  static NDArray column(
      NDManager manager, List<VarSettings> rows, Function<VarSettings, Double> value) {
    float[] values = new float[rows.size()];
    for (int r = 0; r < values.length; r++) {
      values[r] = value.apply(rows.get(r)).floatValue();
    }
    return manager.create(values, new Shape(values.length, 1, 1));
  }
}
