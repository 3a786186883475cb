package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.LayerSinks;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Visual attention redistribution on some rows, each by its own settings, and what it saw.
 *
 * <p>A row that moves nothing is measured only: its heads are those the settings would correct. All
 * queries after the image are corrected; what is recorded are those that gave an answer token. Made
 * for these rows, closed when its records have been read.
 */
public final class Var implements AttentionHook, AutoCloseable {
  private static final int NOTED = KeyGroupSums.GROUPS + 1; // The sums, and whether selected.

  private final Operators operators;
  private final SinkDetector sinks;
  private final HeadSelection selection;
  private final int layers;
  private final int heads;
  private final NDManager manager;
  private final NDArray movedShare; // [row]
  private final NDArray movedShareAtLast; // [row]
  private final boolean moves;
  private final List<List<boolean[][]>> selected = new ArrayList<>(); // row, answer token
  private final List<AttentionTotals> totals = new ArrayList<>(); // row
  private final List<Note> notes = new ArrayList<>();
  private final boolean[] selectsAtLast; // [row]

  /** What a layer's answering queries did, not yet read: {@code [heads, answer query, 4]}. */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  private record Note(int layer, int[] rows, NDArray values) {}

  /**
   * Prepares for rows.
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
    this.operators = operators;
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
    selection = new HeadSelection(operators, manager, rows);
    selectsAtLast = new boolean[rows.size()];
    float[] shares = new float[rows.size()];
    float[] sharesAtLast = new float[rows.size()];
    for (int r = 0; r < rows.size(); r++) {
      selectsAtLast[r] = rows.get(r).mode() == Mode.REFERENCE; // The paper leaves it alone.
      shares[r] = (float) rows.get(r).movedShare();
      sharesAtLast[r] = selectsAtLast[r] ? shares[r] : 0;
      selected.add(new ArrayList<>());
      totals.add(new AttentionTotals(layers, heads));
    }
    movedShare = manager.create(shares);
    movedShareAtLast = manager.create(sharesAtLast);
    moves = rows.stream().anyMatch(row -> row.movedShare() > 0);
  }

  @Override
  public boolean asks(Point point, int layer) {
    return switch (point) {
      case HIDDEN_STATES, WEIGHTS -> sinks.covers(layer);
      case VISION_OUTPUT, NORMED_INPUT, SCORES, HEAD_OUTPUTS -> false;
    };
  }

  @Override
  public void onSegment(Segment segment) {
    readNotes();
    sinks.onSegment(segment);
    for (int query : segment.answerQueries()) {
      selected.get(segment.token(query).row()).add(new boolean[layers][heads]);
    }
  }

  @Override
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    sinks.onHiddenStates(layer, segment, hiddenStates);
  }

  @Override
  public NDArray onWeights(int layer, Segment segment, NDArray weights) {
    KeyGroupSums sums = sinks.sums(layer, segment, weights);
    NDArray chosen = selection.select(layer, sums, sinks, segment);
    note(layer, segment, sums, chosen);
    if (!moves) {
      return weights;
    }
    NDArray shares = layer == layers - 1 ? movedShareAtLast : movedShare;
    return operators.redistribute(
        weights,
        sums.byGroup(),
        sinks.groups(layer),
        sinks.choices(segment),
        chosen,
        operators.takeRows(shares, segment.rows()));
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
    readNotes();
    return selected.get(row);
  }

  /** Attention by group of keys over a row's answer tokens, before redistribution. */
  public AttentionTotals totals(int row) {
    readNotes();
    return totals.get(row);
  }

  @Override
  public void close() {
    sinks.close();
    manager.close();
  }

  private void note(int layer, Segment segment, KeyGroupSums sums, NDArray chosen) {
    int[] queries = segment.answerQueries();
    if (queries.length > 0) {
      NDArray values = operators.noteQueries(sums.byGroup(), chosen, segment.answers());
      values.attach(manager);
      int[] rows = Arrays.stream(queries).map(query -> segment.token(query).row()).toArray();
      notes.add(new Note(layer, rows, values));
    }
  }

  /** Reads what was noted, once a pass and not at every layer, which would make the device wait. */
  private void readNotes() {
    for (Note note : notes) {
      float[] values = note.values().toFloatArray();
      note.values().close();
      for (int a = 0; a < note.rows().length; a++) {
        int row = note.rows()[a];
        List<boolean[][]> ofRow = selected.get(row);
        boolean[] ofLayer = ofRow.get(ofRow.size() - 1)[note.layer()];
        boolean counts = note.layer() < layers - 1 || selectsAtLast[row];
        for (int h = 0; h < heads; h++) {
          int i = (h * note.rows().length + a) * NOTED;
          totals.get(row).add(note.layer(), h, values[i], values[i + 1], values[i + 2]);
          ofLayer[h] = counts && values[i + 3] > 0;
        }
      }
    }
    notes.clear();
  }
}
