package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.HookKind;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.LayerSinks;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

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
  private final List<VarSettings> rows;
  private final int layers;
  private final int heads;
  private final List<List<boolean[][]>> selected = new ArrayList<>(); // row, answer token
  private final List<AttentionTotals> totals = new ArrayList<>(); // row
  private final List<Note> notes = new ArrayList<>();
  private @Nullable Segment aloneOn;
  private @Nullable JoinedVar alone;

  /**
   * What a layer's answering queries did, not yet added up.
   *
   * @param rows theirs
   * @param values {@code [answer query, heads, 4]}, from {@code begin} on
   */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  private record Note(int layer, int[] rows, float[] values, int begin) {}

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
    this.rows = List.copyOf(rows);
    for (int r = 0; r < rows.size(); r++) {
      selected.add(new ArrayList<>());
      totals.add(new AttentionTotals(layers, heads));
    }
  }

  @Override
  public boolean asks(Point point, int layer) {
    return switch (point) {
      case HIDDEN_STATES -> sinks.covers(layer) && sinks.looks();
      case WEIGHTS -> sinks.covers(layer);
      case VISION_OUTPUT, NORMED_INPUT, SCORES, HEAD_OUTPUTS -> false;
    };
  }

  @Override
  public void onSegment(Segment segment) {
    addUp();
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
  public HookKind kind() {
    return new JoinedVar.Kind(sinks.memory());
  }

  @Override
  public NDArray onWeights(int layer, Segment segment, NDArray weights) {
    if (alone == null || aloneOn != segment) {
      aloneOn = segment;
      alone = new JoinedVar(List.of(this), JoinedSegments.alone(segment));
    }
    return alone.onWeights(layer, weights.expandDims(0)).squeeze(0);
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
    addUp();
    return selected.get(row);
  }

  /** Attention by group of keys over a row's answer tokens, before redistribution. */
  public AttentionTotals totals(int row) {
    addUp();
    return totals.get(row);
  }

  @Override
  public void close() {
    sinks.close();
  }

  Operators operators() {
    return operators;
  }

  int layers() {
    return layers;
  }

  /** One setting a row. */
  List<VarSettings> rows() {
    return rows;
  }

  /** Whether a row's heads can be chosen in the last layer, which the paper leaves alone. */
  boolean selectsAtLast(int row) {
    return rows.get(row).mode() == Mode.REFERENCE;
  }

  /** Takes what a layer's answering queries did, {@code [answer query, heads, 4]}. */
  void note(int layer, int[] ofRows, float[] values, int begin) {
    notes.add(new Note(layer, ofRows, values, begin));
  }

  private void addUp() {
    for (Note note : notes) {
      int i = note.begin();
      for (int row : note.rows()) {
        List<boolean[][]> ofRow = selected.get(row);
        boolean[] ofLayer = ofRow.get(ofRow.size() - 1)[note.layer()];
        boolean counts = note.layer() < layers - 1 || selectsAtLast(row);
        for (int h = 0; h < heads; h++) {
          float[] values = note.values();
          totals.get(row).add(note.layer(), h, values[i], values[i + 1], values[i + 2]);
          ofLayer[h] = counts && values[i + 3] > 0;
          i += NOTED;
        }
      }
    }
    notes.clear();
  }
}
