package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.sink.JoinedSinks;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.tensor.Operators;
import java.util.List;

/**
 * Chooses the image-centric heads of a pass, each query by the settings of its row.
 *
 * <p>A head is chosen for a query when the image holds enough of its attention, and enough of that
 * goes to image tokens that are no sinks. A query that gives the image, or its non-sinks, no
 * attention at all is never chosen: there would be nowhere to move attention to.
 */
final class HeadSelection {
  /** What the released code adds to the attention of every image token. */
  private static final double REFERENCE_EPSILON = 1e-6;

  private static final int SETTINGS = 6;

  private final Operators operators;
  private final JoinedSinks sinks;
  private final int references; // Queries that follow the released code.
  private final NDArray settings; // [image, query, setting], as Operators.selectHeads wants them

  /**
   * The rows of a segment.
   *
   * @param settings one a row
   * @param imageTokens image tokens before them
   */
  record Rows(List<VarSettings> settings, int imageTokens) {}

  /** Takes the rows of each of the segments. */
  HeadSelection(Operators operators, JoinedSegments segments, JoinedSinks sinks, List<Rows> rows) {
    this.operators = operators;
    this.sinks = sinks;
    float[] values = new float[SETTINGS * segments.images() * segments.queries()];
    int following = 0;
    for (int s = 0; s < rows.size(); s++) {
      for (int q = 0; q < segments.segments().get(s).queries(); q++) {
        VarSettings row = rows.get(s).settings().get(segments.segments().get(s).token(q).row());
        int i = SETTINGS * segments.query(s, q);
        boolean follows = row.mode() == Mode.REFERENCE;
        following += follows ? 1 : 0;
        values[i] = follows ? 1 : 0;
        values[i + 1] = (float) row.minNonsinkRatio();
        values[i + 2] = (float) (1 - row.minNonsinkRatio());
        values[i + 3] = (float) row.minImageAttention();
        values[i + 4] = row.visualSink() == VisualSink.NOT_REQUIRED ? 1 : 0;
        values[i + 5] = (float) (REFERENCE_EPSILON * rows.get(s).imageTokens());
      }
    }
    references = following;
    settings =
        segments.scope().create(values, new Shape(segments.images(), segments.queries(), SETTINGS));
  }

  /**
   * Chooses heads.
   *
   * @param sums attention by group of keys
   * @return 1 where chosen, else 0: float32 {@code [image, heads, query]} in the sums' manager
   */
  NDArray select(int layer, KeyGroupSums sums) {
    return operators.selectHeads(
        sums.byGroup(),
        settings,
        references,
        sinks.visualSinkCounts(layer),
        sinks.place(),
        sinks.choices());
  }
}
