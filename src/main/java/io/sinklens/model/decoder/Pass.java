package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * One run of new tokens through the layers: segments of one or many images behind one another.
 *
 * <p>What needs no attention is computed for all of them at once, without padding. A prefix stands
 * before the rows that follow it; rows may run in the same pass.
 */
public final class Pass {
  private final List<Segment> segments;
  private final int[] begins;

  public Pass(List<Segment> segments) {
    this.segments = List.copyOf(segments);
    begins = new int[segments.size() + 1];
    for (int s = 0; s < segments.size(); s++) {
      begins[s + 1] = begins[s] + segments.get(s).queries();
    }
  }

  /** What runs, in order. */
  public List<Segment> segments() {
    return segments;
  }

  /** Whether every token gives an answer token. */
  boolean isAnswering() {
    return segments.stream()
        .allMatch(segment -> segment.answerQueries().length == segment.queries());
  }

  /** Tokens of all segments. */
  public int tokens() {
    return begins[segments.size()];
  }

  /** Where a segment's tokens begin. */
  int begin(int segment) {
    return begins[segment];
  }

  /** Where a segment's tokens end. */
  int end(int segment) {
    return begins[segment + 1];
  }

  /** The same keys, but of the queries only those that answer. */
  Pass answering() {
    return new Pass(segments.stream().map(Segment::answering).toList());
  }

  /** The tokens that answer: int64 {@code [token]}. */
  NDArray answerTokens(NDManager owner) {
    return owner.create(
        IntStream.range(0, segments.size())
            .flatMap(
                s -> IntStream.of(segments.get(s).answerQueries()).map(query -> begins[s] + query))
            .asLongStream()
            .toArray());
  }

  /** Of the tokens that answer those that belong to rows spoiled by numbers that are not finite. */
  int[] spoiledAnswers(boolean[] finite) {
    for (int s = 0; s < segments.size(); s++) {
      segments.get(s).judge(finite, begins[s]);
    }
    List<Boolean> spoiled = new ArrayList<>();
    for (Segment segment : segments) {
      for (int query : segment.answerQueries()) {
        spoiled.add(segment.isSpoiled(query));
      }
    }
    return IntStream.range(0, spoiled.size()).filter(spoiled::get).toArray();
  }

  /** Where all tokens stand for rotary embedding: int64 {@code [axis, token]}. */
  NDArray positions(NDManager owner, int axes) {
    long[] positions = new long[axes * tokens()];
    for (int axis = 0; axis < axes; axis++) {
      for (int s = 0; s < segments.size(); s++) {
        for (int query = 0; query < segments.get(s).queries(); query++) {
          positions[axis * tokens() + begins[s] + query] = segments.get(s).position(axis, query);
        }
      }
    }
    return owner.create(positions, new Shape(axes, tokens()));
  }
}
