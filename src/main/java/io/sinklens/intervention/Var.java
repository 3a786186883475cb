package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.Pass;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.LayerSinks;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Visual attention redistribution on one batch, each row by its own settings, and what it saw.
 *
 * <p>A row that moves nothing is measured only: its heads are those the settings would correct. All
 * queries after the image are corrected; what is recorded are those that gave an answer token. Made
 * for one batch, closed when its records have been read.
 */
public final class Var implements AttentionHook, AutoCloseable {
  private final SinkDetector sinks;
  private final HeadSelection selection;
  private final List<VarSettings> rows;
  private final int layers;
  private final int heads;
  private final NDManager manager;
  private final NDArray movedShare; // [row, 1, 1]
  private final NDArray followsReference; // [row, 1, 1]
  private final boolean moves;
  private final List<List<boolean[][]>> selected = new ArrayList<>(); // row, answer token
  private final List<AttentionTotals> totals = new ArrayList<>(); // row
  private @Nullable Pass pass;

  /**
   * Prepares for one batch.
   *
   * @param prefix sink values of what all rows begin with
   * @param imageStart position of the first image token; the image ends with the prefix
   * @param rows one setting a row
   * @param promptLengths own prompt tokens of each row
   * @param layers layers of the decoder
   * @param heads query heads of a layer
   */
  public Var(
      Operators operators,
      PrefixSinkValues prefix,
      int imageStart,
      List<VarSettings> rows,
      int[] promptLengths,
      int layers,
      int heads) {
    this.rows = List.copyOf(rows);
    this.layers = layers;
    this.heads = heads;
    sinks =
        new SinkDetector(
            operators,
            prefix,
            imageStart,
            rows.stream().map(VarSettings::sinkRule).toList(),
            promptLengths);
    manager = operators.manager().newSubManager();
    selection = new HeadSelection(manager, rows);
    movedShare = HeadSelection.column(manager, rows, VarSettings::movedShare);
    followsReference =
        HeadSelection.column(manager, rows, row -> row.mode() == Mode.REFERENCE ? 1.0 : 0.0);
    moves = rows.stream().anyMatch(row -> row.movedShare() > 0);
    for (int r = 0; r < rows.size(); r++) {
      selected.add(new ArrayList<>());
      totals.add(new AttentionTotals(layers, heads));
    }
  }

  @Override
  public boolean asks(Point point, int layer) {
    return switch (point) {
      case HIDDEN_STATES, WEIGHTS -> sinks.covers(layer);
      case VISION_OUTPUT, NORMED_INPUT, SCORES, HEAD_OUTPUTS -> false;
    };
  }

  @Override
  public void onPass(Pass pass) {
    this.pass = pass;
    sinks.onPass(pass);
    for (int r = 0; r < rows.size(); r++) {
      if (pass.answerQuery(r) >= 0) {
        selected.get(r).add(new boolean[layers][heads]);
      }
    }
  }

  @Override
  public void onHiddenStates(int layer, NDArray hiddenStates) {
    sinks.onHiddenStates(layer, hiddenStates);
  }

  @Override
  public AttentionParts onWeights(int layer, AttentionParts weights) {
    KeyGroupSums sums = sinks.sums(layer, weights);
    NDArray groups = sinks.prefixGroups(layer);
    NDArray visualSinkCount = groups.get(new NDIndex(":, :, 0")).sum(new int[] {1});
    NDArray chosen =
        selection.select(sums, visualSinkCount.reshape(rows.size(), 1, 1), sinks.imageTokens());
    if (layer == layers - 1) {
      chosen = chosen.mul(followsReference); // The paper leaves the last layer alone.
    }
    record(layer, sums, chosen);
    return moves
        ? Redistribution.redistribute(
            weights, sums, groups, sinks.ownSinks(layer), chosen, movedShare)
        : weights;
  }

  /** The sinks it finds, for hooks that come after it. */
  public SinkDetector sinks() {
    return sinks;
  }

  /** The sinks of a row's prompt, from the first layer with sinks to the last. */
  public List<LayerSinks> promptSinks(int row) {
    return sinks.promptSinks(row);
  }

  /** Which heads were corrected: for every answer token {@code [layer][head]}. */
  public List<boolean[][]> selectedHeads(int row) {
    return selected.get(row);
  }

  /** Attention by group of keys over a row's answer tokens, before redistribution. */
  public AttentionTotals totals(int row) {
    return totals.get(row);
  }

  @Override
  public void close() {
    sinks.close();
    manager.close();
  }

  private void record(int layer, KeyGroupSums sums, NDArray chosen) {
    if (pass == null) {
      throw new IllegalStateException("Cannot see weights before a pass");
    }
    int queries = pass.queries();
    float[] chosenValues = chosen.toFloatArray(); // [row, heads, query]
    float[] visualSinks = sums.visualSinks().toFloatArray();
    float[] visualNonsinks = sums.visualNonsinks().toFloatArray();
    float[] textSinks = sums.textSinks().toFloatArray();
    for (int r = 0; r < rows.size(); r++) {
      int query = pass.answerQuery(r);
      if (query < 0) {
        continue;
      }
      List<boolean[][]> ofRow = selected.get(r);
      boolean[] ofLayer = ofRow.get(ofRow.size() - 1)[layer];
      for (int h = 0; h < heads; h++) {
        int i = (r * heads + h) * queries + query;
        ofLayer[h] = chosenValues[i] > 0;
        totals.get(r).add(layer, h, visualSinks[i], visualNonsinks[i], textSinks[i]);
      }
    }
  }
}
