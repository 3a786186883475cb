package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The sinks of rows on several images, whose segments run together in one pass. */
public final class JoinedSinks {
  private final Operators operators;
  private final List<SinkDetector> detectors; // by segment
  private final int place;
  private final JoinedSegments segments;
  private final NDArray choices; // [image, query]
  private @Nullable Tokens tokens;

  /** Where the new tokens are, and from which value on each is a sink: {@code [token]} each. */
  private record Tokens(NDArray places, NDArray slots, NDArray least) {}

  /**
   * Joins.
   *
   * @param detectors one a segment, announced to it; where there are several, of one {@link
   *     SinkDetector#memory}
   */
  public JoinedSinks(Operators operators, List<SinkDetector> detectors, JoinedSegments segments) {
    this.operators = operators;
    this.detectors = List.copyOf(detectors);
    this.segments = segments;
    place = segments.firstPlace();
    long[] ofQueries = new long[segments.images() * segments.queries()];
    for (int s = 0; s < detectors.size(); s++) {
      Segment segment = segments.segments().get(s);
      for (int q = 0; q < segment.queries(); q++) {
        ofQueries[segments.query(s, q)] = detectors.get(s).choice(segment.token(q).row());
      }
    }
    choices = segments.scope().create(ofQueries, new Shape(segments.images(), segments.queries()));
  }

  /** Whether any segment has tokens that can be sinks, or slots of tokens that were. */
  public boolean looks() {
    return detectors.stream().anyMatch(SinkDetector::looks);
  }

  /**
   * Finds the sinks among the new tokens, entering a layer with sinks.
   *
   * @param hiddenStates {@code [token, hidden]}, segment by segment
   */
  public void onHiddenStates(int layer, NDArray hiddenStates) {
    if (!looks()) {
      return;
    }
    if (tokens == null) {
      tokens = tokens();
    }
    NDArray values = detectors.get(0).prefix().valuesOf(hiddenStates);
    operators.markSinks(groups(layer), tokens.places(), tokens.slots(), values, tokens.least());
    if (detectors.stream().anyMatch(detector -> detector.underWay() != null)) {
      List<SinkDetector.@Nullable PromptValues> prompts = new ArrayList<>();
      detectors.forEach(detector -> prompts.add(detector.underWay()));
      segments.notes().add(values, all -> handOut(layer, all, prompts));
    }
  }

  private void handOut(
      int layer, float[] values, List<SinkDetector.@Nullable PromptValues> prompts) {
    int begin = 0;
    for (int s = 0; s < prompts.size(); s++) {
      SinkDetector.PromptValues ofSegment = prompts.get(s);
      if (ofSegment != null) {
        ofSegment.take(layer, values, begin);
      }
      begin += segments.segments().get(s).queries();
    }
  }

  private Tokens tokens() {
    int count = segments.segments().stream().mapToInt(Segment::queries).sum();
    long[] places = new long[count];
    long[] slots = new long[count];
    float[] least = new float[count];
    Arrays.fill(least, Float.POSITIVE_INFINITY);
    int token = 0;
    for (int s = 0; s < detectors.size(); s++) {
      Segment segment = segments.segments().get(s);
      float[] ofSegment = detectors.get(s).leastOfTokens();
      System.arraycopy(ofSegment, 0, least, token, ofSegment.length);
      for (int q = 0; q < segment.queries(); q++, token++) {
        places[token] = segment.place();
        slots[token] = (long) segment.firstSlot() + q;
      }
    }
    NDManager scope = segments.scope();
    return new Tokens(scope.create(places), scope.create(slots), scope.create(least));
  }

  /**
   * Adds up attention by group of keys.
   *
   * @param weights of a layer with sinks, float32 {@code [image, heads, query, key]}
   */
  public KeyGroupSums sums(int layer, NDArray weights) {
    return new KeyGroupSums(operators.groupSums(weights, groups(layer), place, choices));
  }

  /** Where the images begin in {@link #groups} and {@link #visualSinkCounts}. */
  public int place() {
    return place;
  }

  /** Which keys are in which group: {@code [place, choice, group, slot]}. */
  public NDArray groups(int layer) {
    detectors.forEach(detector -> detector.groups(layer)); // Each writes its own where they wait.
    return detectors.get(0).groups(layer);
  }

  /** Sinks inside the images: {@code [place, choice]}. */
  public NDArray visualSinkCounts(int layer) {
    detectors.forEach(detector -> detector.groups(layer));
    return detectors.get(0).visualSinkCounts(layer);
  }

  /** Which of {@link #groups} is each query's: int64 {@code [image, query]}. */
  public NDArray choices() {
    return choices;
  }
}
