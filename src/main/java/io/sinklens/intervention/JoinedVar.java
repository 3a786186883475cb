package io.sinklens.intervention;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.HookKind;
import io.sinklens.model.decoder.JoinedHook;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.JoinedSinks;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Visual attention redistribution on rows of several images that run together, for one pass. */
final class JoinedVar implements JoinedHook {
  private final Operators operators;
  private final List<Var> hooks; // by segment
  private final JoinedSegments segments;
  private final JoinedSinks sinks;
  private final HeadSelection selection;
  private final int layers;
  private final NDArray movedShare; // [image, query]
  private final NDArray movedShareAtLast; // [image, query]
  private final boolean moves;
  private final List<int[]> answeringRows = new ArrayList<>(); // by segment
  private final NDArray answers; // Indices of queries that answer, [answer query].
  private final boolean anyAnswers;

  /**
   * Hooks whose detectors keep groups under one name.
   *
   * @param memory that name
   */
  record Kind(String memory) implements HookKind {
    @Override
    public JoinedHook join(List<AttentionHook> hooks, JoinedSegments segments) {
      return new JoinedVar(hooks.stream().map(Var.class::cast).toList(), segments);
    }
  }

  /** Joins hooks of one kind, one a segment. */
  JoinedVar(List<Var> hooks, JoinedSegments segments) {
    this.hooks = hooks;
    this.segments = segments;
    operators = hooks.get(0).operators();
    layers = hooks.get(0).layers();
    sinks = new JoinedSinks(operators, hooks.stream().map(Var::sinks).toList(), segments);
    selection =
        new HeadSelection(
            operators,
            segments,
            sinks,
            IntStream.range(0, hooks.size())
                .mapToObj(s -> rows(hooks.get(s), segments.segments().get(s)))
                .toList());
    float[] shares = new float[segments.images() * segments.queries()];
    float[] sharesAtLast = new float[shares.length];
    IntStream.Builder answering = IntStream.builder();
    for (int s = 0; s < hooks.size(); s++) {
      Segment segment = segments.segments().get(s);
      Var hook = hooks.get(s);
      for (int q = 0; q < segment.queries(); q++) {
        int row = segment.token(q).row();
        int query = segments.query(s, q);
        shares[query] = (float) hook.rows().get(row).movedShare();
        sharesAtLast[query] = hook.selectsAtLast(row) ? shares[query] : 0;
      }
      int[] ofSegment = segment.answerQueries();
      answeringRows.add(IntStream.of(ofSegment).map(q -> segment.token(q).row()).toArray());
      for (int q : ofSegment) {
        answering.add(segments.query(s, q));
      }
    }
    Shape shape = new Shape(segments.images(), segments.queries());
    movedShare = segments.scope().create(shares, shape);
    movedShareAtLast = segments.scope().create(sharesAtLast, shape);
    moves = IntStream.range(0, shares.length).anyMatch(i -> shares[i] > 0);
    int[] queries = answering.build().toArray();
    anyAnswers = queries.length > 0;
    answers = segments.scope().create(IntStream.of(queries).asLongStream().toArray());
  }

  private static HeadSelection.Rows rows(Var hook, Segment segment) {
    return new HeadSelection.Rows(hook.rows(), hook.sinks().imageTokens(segment));
  }

  @Override
  public boolean asks(Point point, int layer) {
    return hooks.get(0).sinks().covers(layer)
        && (point == Point.WEIGHTS || (point == Point.HIDDEN_STATES && sinks.looks()));
  }

  @Override
  public void onHiddenStates(int layer, NDArray hiddenStates) {
    sinks.onHiddenStates(layer, hiddenStates);
  }

  @Override
  public NDArray onWeights(int layer, NDArray weights) {
    KeyGroupSums sums = sinks.sums(layer, weights);
    NDArray chosen = selection.select(layer, sums);
    if (anyAnswers) {
      segments
          .notes()
          .add(
              operators.noteQueries(sums.byGroup(), chosen, answers),
              noted -> handOut(layer, noted));
    }
    if (!moves) {
      return weights;
    }
    return operators.redistribute(
        weights,
        sums.byGroup(),
        sinks.groups(layer),
        sinks.place(),
        sinks.choices(),
        chosen,
        layer == layers - 1 ? movedShareAtLast : movedShare);
  }

  /** Gives each hook its part of {@code [answer query, heads, 4]}. */
  private void handOut(int layer, float[] noted) {
    int answering = answeringRows.stream().mapToInt(rows -> rows.length).sum();
    int begin = 0;
    for (int s = 0; s < hooks.size(); s++) {
      hooks.get(s).note(layer, answeringRows.get(s), noted, begin);
      begin += answeringRows.get(s).length * (noted.length / answering);
    }
  }
}
