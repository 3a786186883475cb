package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.SinkDetector;
import io.sinklens.tensor.Operators;
import java.util.List;

/**
 * Chooses the image-centric heads, each row by its own settings.
 *
 * <p>A head is chosen for a query when the image holds enough of its attention, and enough of that
 * goes to image tokens that are no sinks. A query that gives the image, or its non-sinks, no
 * attention at all is never chosen: there would be nowhere to move attention to.
 */
public final class HeadSelection {
  /** What the released code adds to the attention of every image token. */
  private static final double REFERENCE_EPSILON = 1e-6;

  private final Operators operators;
  private final boolean followsReference; // Any row.
  private final NDArray settings; // [row, setting], as Operators.selectHeads wants them

  /** Takes one setting a row; its tensor belongs to the manager. */
  public HeadSelection(Operators operators, NDManager manager, List<VarSettings> rows) {
    this.operators = operators;
    float[] values = new float[5 * rows.size()];
    for (int r = 0; r < rows.size(); r++) {
      VarSettings row = rows.get(r);
      values[5 * r] = row.mode() == Mode.REFERENCE ? 1 : 0;
      values[5 * r + 1] = (float) row.minNonsinkRatio();
      values[5 * r + 2] = (float) (1 - row.minNonsinkRatio());
      values[5 * r + 3] = (float) row.minImageAttention();
      values[5 * r + 4] = row.visualSink() == VisualSink.NOT_REQUIRED ? 1 : 0;
    }
    followsReference = rows.stream().anyMatch(row -> row.mode() == Mode.REFERENCE);
    settings = manager.create(values, new Shape(rows.size(), 5));
  }

  /**
   * Chooses heads.
   *
   * @param sums attention by group of keys
   * @param sinks how many there are
   * @param segment whose queries they are
   * @return 1 where chosen, else 0: float32 {@code [heads, query]} in the sums' manager
   */
  public NDArray select(int layer, KeyGroupSums sums, SinkDetector sinks, Segment segment) {
    return operators.selectHeads(
        sums.byGroup(),
        settings,
        segment.rows(),
        sinks.visualSinkCounts(layer),
        sinks.choices(segment),
        followsReference ? REFERENCE_EPSILON * sinks.imageTokens() : 0);
  }
}
