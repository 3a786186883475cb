package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * Segments whose attention is computed by one set of operators: of images side by side in a block
 * of memory, under hooks that can be joined; or a single one.
 *
 * <p>It reaches from the place of the first image to that of the last, has as many queries an image
 * as the one with most, filled up, and as many keys as the longest. What only fills up this shape
 * is computed and not used. A query is known by its index among {@code image · query}.
 */
public final class JoinedSegments {
  private final CacheBlock block;
  private final int firstPlace;
  private final int images;
  private final int queries;
  private final int keys;
  private final List<Segment> segments;
  private final NDManager scope;
  private final int[] tokens; // of the pass, by query; any where a query fills up only
  private final int begin;
  private final JoinedHook hook;
  private @Nullable NDArray takenTokens;
  private @Nullable NDArray ofSegments;
  private @Nullable NDArray mask;

  /** What segments have in common that are joined; about as many queries, to be filled up. */
  private record Alike(CacheBlock block, HookKind hooks, int magnitude) {}

  /**
   * Joins.
   *
   * @param segments in the order of their places, of one block
   * @param begins where the tokens of each begin in the pass
   * @param queries of an image
   */
  private JoinedSegments(List<Segment> segments, int[] begins, int queries) {
    Segment first = segments.get(0);
    this.segments = List.copyOf(segments);
    block = first.cache().block();
    scope = first.scope();
    firstPlace = first.cache().place();
    images = segments.get(segments.size() - 1).cache().place() - firstPlace + 1;
    this.queries = queries;
    keys = segments.stream().mapToInt(Segment::keys).max().orElse(0);
    tokens = new int[images * queries];
    Arrays.fill(tokens, begins[0]);
    for (int s = 0; s < segments.size(); s++) {
      for (int q = 0; q < segments.get(s).queries(); q++) {
        tokens[query(s, q)] = begins[s] + q;
      }
    }
    boolean inARow = IntStream.range(0, tokens.length).allMatch(i -> tokens[i] == tokens[0] + i);
    begin = inARow ? tokens[0] : -1;
    HookKind kind = first.kind();
    hook =
        kind == null
            ? JoinedHook.of(first.hook(), first)
            : kind.join(segments.stream().map(Segment::hook).toList(), this);
  }

  /** A segment by itself, beside a pass. */
  public static JoinedSegments alone(Segment segment) {
    return new JoinedSegments(List.of(segment), new int[1], segment.queries());
  }

  /** All segments of a pass that have queries, joined where they can be, in the pass's order. */
  static List<JoinedSegments> of(Pass pass) {
    List<List<Integer>> joined = new ArrayList<>();
    Map<Alike, List<List<Integer>>> alike = new HashMap<>();
    int[] byPlace =
        IntStream.range(0, pass.segments().size())
            .filter(s -> pass.segments().get(s).queries() > 0)
            .boxed()
            .sorted(Comparator.comparingInt(s -> pass.segments().get(s).cache().place()))
            .mapToInt(Integer::intValue)
            .toArray();
    for (int s : byPlace) {
      Segment segment = pass.segments().get(s);
      HookKind kind = segment.kind();
      List<List<Integer>> others = new ArrayList<>();
      if (kind != null) {
        int magnitude = Integer.SIZE - Integer.numberOfLeadingZeros(segment.queries() - 1);
        Alike key = new Alike(segment.cache().block(), kind, magnitude);
        others = alike.computeIfAbsent(key, absent -> new ArrayList<>());
      }
      List<Integer> company =
          others.stream()
              .filter(group -> fits(segment, group, pass))
              .findFirst()
              .orElseGet(ArrayList::new);
      if (company.isEmpty()) {
        others.add(company);
        joined.add(company);
      }
      company.add(s);
    }
    return joined.stream()
        .sorted(
            Comparator.comparingInt(group -> group.stream().mapToInt(pass::begin).min().orElse(0)))
        .map(group -> join(pass, group))
        .toList();
  }

  private static JoinedSegments join(Pass pass, List<Integer> group) {
    List<Segment> segments = group.stream().map(pass.segments()::get).toList();
    int most = segments.stream().mapToInt(Segment::queries).max().orElse(0);
    return new JoinedSegments(
        segments,
        group.stream().mapToInt(pass::begin).toArray(),
        segments.get(0).kind() == null ? most : filledUp(most));
  }

  /**
   * One, two, or fours: then sums of an image are the same to the last bit whatever stands beside
   * it, though the library of products adds up few queries in another order where they are not
   * fours.
   */
  private static int filledUp(int queries) {
    return queries <= 2 ? queries : (queries + 3) / 4 * 4;
  }

  /** Whether a segment stands behind others, with no more places idle between than are in use. */
  private static boolean fits(Segment segment, List<Integer> group, Pass pass) {
    int place = segment.cache().place();
    int first = pass.segments().get(group.get(0)).cache().place();
    int last = pass.segments().get(group.get(group.size() - 1)).cache().place();
    return last < place && place - first + 1 <= 2 * (group.size() + 1);
  }

  /** What is joined, image by image. */
  public List<Segment> segments() {
    return segments;
  }

  /** Where the images begin in arrays kept {@link Segment#beside} the keys. */
  public int firstPlace() {
    return firstPlace;
  }

  /** Images, those included that nothing is computed for. */
  public int images() {
    return images;
  }

  /** Queries of an image. */
  public int queries() {
    return queries;
  }

  /** Slots of the caches that are read. */
  public int keys() {
    return keys;
  }

  /** The index of a segment's query. */
  public int query(int segment, int query) {
    return (segments.get(segment).cache().place() - firstPlace) * queries + query;
  }

  /** What owns arrays until the pass ends. */
  public NDManager scope() {
    return scope;
  }

  /** Numbers to be read when the pass ends. */
  public Notes notes() {
    return segments.get(0).notes();
  }

  /** Its tokens in the pass, segment by segment and no others: int64 {@code [token]}. */
  NDArray tokensOfSegments() {
    if (ofSegments == null) {
      LongStream.Builder builder = LongStream.builder();
      for (int s = 0; s < segments.size(); s++) {
        for (int q = 0; q < segments.get(s).queries(); q++) {
          builder.add(tokens[query(s, q)]);
        }
      }
      ofSegments = scope.create(builder.build().toArray());
    }
    return ofSegments;
  }

  /** What joined its hooks; null where the only one works alone. */
  @Nullable HookKind kind() {
    return segments.get(0).kind();
  }

  CacheBlock block() {
    return block;
  }

  JoinedHook hook() {
    return hook;
  }

  /** Whether it is a prefix and every new token of it asks. */
  boolean isWholePrefix() {
    return segments.get(0).isWholePrefix();
  }

  /** The first of its tokens in the pass, the others of which follow; -1 where they do not. */
  int begin() {
    return begin;
  }

  /** Which token of the pass is each query: int64 {@code [image · query]}. */
  NDArray tokens() {
    if (takenTokens == null) {
      takenTokens = scope.create(Arrays.stream(tokens).asLongStream().toArray());
    }
    return takenTokens;
  }

  /**
   * Notes which of its outputs are those of the pass's tokens.
   *
   * @param outputs by token
   * @param begin where its own outputs begin
   */
  void place(long[] outputs, int begin) {
    for (int s = 0; s < segments.size(); s++) {
      for (int q = 0; q < segments.get(s).queries(); q++) {
        outputs[tokens[query(s, q)]] = (long) begin + query(s, q);
      }
    }
  }

  /**
   * What is added to scores: 0 where a query sees a key, minus infinity elsewhere, {@code [image,
   * query, key]}; {@code [1, 1, 1]} where every query sees every key.
   */
  NDArray mask() {
    if (mask == null) {
      float[] added = new float[tokens.length * keys];
      boolean hides = false;
      for (int s = 0; s < segments.size(); s++) {
        for (int q = 0; q < segments.get(s).queries(); q++) {
          hides |= segments.get(s).hide(q, added, query(s, q) * keys, keys);
        }
      }
      NDArray numbers =
          hides
              ? scope.create(added, new Shape(images, queries, keys))
              : scope.create(new float[1], new Shape(1, 1, 1));
      mask = block.operators().to(numbers, block.dtype());
    }
    return mask;
  }
}
