package io.sinklens.generation;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.ImageInput;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.CacheBlocks;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Opening;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A request under way: its image's keys and values, the rows that are being answered, and those
 * that wait until there is room behind the prefix.
 */
final class ImageRun implements AutoCloseable {
  private final Request request;
  private final VisionLanguageModel model;
  private final Watch watch;
  private final KeyValueCache cache;
  private final List<Group> groups = new ArrayList<>();
  private boolean prefixRan;
  private int reused; // Tokens of the prefix that ran before another image.
  private Opening.@Nullable Recorder recorder;

  /** Rows under one hook. */
  private static final class Group {
    private final AttentionHook hook;
    private final int firstRow;
    private final List<Row> rows = new ArrayList<>();
    private final List<Integer> answering = new ArrayList<>();
    private final Deque<Integer> waiting = new ArrayDeque<>();

    Group(AttentionHook hook, int firstRow, List<int[]> ownIds, GenerationRules rules) {
      this.hook = hook;
      this.firstRow = firstRow;
      for (int[] ids : ownIds) {
        waiting.add(rows.size());
        rows.add(new Row(ids, rules));
      }
    }
  }

  /** Tokens to run: what they are to the decoder, their ids, and the rows that get a token. */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  record Part(Segment segment, int[] ids, @Nullable NDArray image, int imageStart, List<Row> rows) {
    boolean holdsPrompts() {
      return segment.isPrefix() || rows.stream().anyMatch(row -> !row.hasStarted());
    }
  }

  /**
   * Opens a request; its prefix runs with the first parts.
   *
   * @param caches hold its keys and values
   * @param ownCapacity tokens after the prefix that it may hold at once
   * @param places how many such requests memory that comes for it would best have room for
   */
  ImageRun(
      Request request,
      VisionLanguageModel model,
      GenerationRules rules,
      CacheBlocks caches,
      int ownCapacity,
      int places) {
    this.request = request;
    this.model = model;
    int imageTokens = request.prefixIds().length - request.imageStart();
    RotaryPositions prefix = model.positions(request.imageStart(), imageTokens, request.image());
    watch = request.watch().get();
    try {
      cache = caches.newCache(prefix, ownCapacity, places);
    } catch (RuntimeException | Error e) {
      watch.close();
      throw e;
    }
    try {
      int firstRow = 0;
      for (int g = 0; g < request.groups().size(); g++) {
        List<int[]> ownIds = request.groups().get(g);
        groups.add(new Group(watch.ofGroup(g), firstRow, ownIds, rules));
        firstRow += ownIds.size();
      }
    } catch (RuntimeException | Error e) {
      abandon();
      throw e;
    }
  }

  /** Tokens its cache can hold. */
  int capacity() {
    return cache.capacity();
  }

  /** Puts those first whose keys lie first in memory. */
  static Comparator<ImageRun> inMemoryOrder() {
    return Comparator.comparing(run -> run.cache);
  }

  /** Rows that are being answered. */
  int answering() {
    return groups.stream().mapToInt(group -> group.answering.size()).sum();
  }

  boolean finished() {
    return groups.stream().allMatch(group -> group.answering.isEmpty() && group.waiting.isEmpty());
  }

  /** Answers of a finished run; the watch now belongs to whoever takes them. */
  Answers answers() {
    return new Answers(
        groups.stream().map(group -> group.rows.stream().map(Row::generated).toList()).toList(),
        watch);
  }

  /** The image in front of the decoder: {@code [image token, hidden]}, in the manager. */
  NDArray encodeImage(NDManager owner) {
    return requireAsManyAsPlaces(model.encodeImage(owner, request.image(), watch.ofPrefix()));
  }

  /** The image, to be encoded with others of its shape; null where something watches that. */
  @Nullable ImageInput unwatchedImage() {
    return watch.ofPrefix().asks(AttentionHook.Point.VISION_OUTPUT, 0) ? null : request.image();
  }

  /** An image as it was encoded, if the prompt holds as many tokens for it. */
  NDArray requireAsManyAsPlaces(NDArray image) {
    int places = request.prefixIds().length - request.imageStart();
    if (image.getShape().get(0) != places) {
      throw new IllegalStateException(
          "Cannot place the image: the prompt holds %d image tokens but the encoder made %d"
              .formatted(places, image.getShape().get(0)));
    }
    return image;
  }

  boolean needsImage() {
    return !prefixRan;
  }

  /** The prefix, once: what follows on its opening, where that is at hand, or all of it. */
  Part prefixPart(NDArray image, Openings openings) {
    prefixRan = true;
    AttentionHook hook = watch.ofPrefix();
    Optional<Opening> opening = openings.of(opening()).filter(kept -> kept.suffices(hook));
    int start = request.imageStart();
    if (opening.isPresent()) {
      cache.beginWith(opening.get());
      reused = start;
    } else if (start > 0) {
      recorder = model.decoder().recordOpening(start);
    }
    int[] ids = Arrays.copyOfRange(request.prefixIds(), reused, request.prefixIds().length);
    Arrays.fill(ids, start - reused, ids.length, 0);
    Segment segment = Segment.ofPrefix(cache, recorder == null ? hook : hook.andThen(recorder));
    return new Part(segment, ids, image, start - reused, List.of());
  }

  /** Hands over the opening that was recorded, after the pass that did. */
  void keepOpening(Openings openings) {
    if (recorder != null) {
      recorder.take(cache).ifPresent(opening -> openings.keep(opening(), opening));
      recorder = null;
    }
  }

  /** Token ids before the image. */
  private int[] opening() {
    return Arrays.copyOf(request.prefixIds(), request.imageStart());
  }

  /** The next tokens of all rows, those that can begin now included. */
  List<Part> rowParts() {
    if (answering() == 0) {
      cache.forgetRows();
    }
    List<Set<Integer>> beginning = groups.stream().map(this::begin).toList();
    List<Part> parts = new ArrayList<>();
    for (int g = 0; g < groups.size(); g++) {
      Group group = groups.get(g);
      List<Segment.Token> tokens = new ArrayList<>();
      List<Integer> ids = new ArrayList<>();
      List<Row> rows = new ArrayList<>();
      for (int r : group.answering) {
        Row row = group.rows.get(r);
        rows.add(row);
        if (!beginning.get(g).contains(r)) {
          tokens.add(new Segment.Token(r, row.lastIndex(), true));
          ids.add(row.lastToken());
          continue;
        }
        int[] prompt = row.promptIds();
        for (int i = 0; i < prompt.length; i++) {
          tokens.add(new Segment.Token(r, i, i == prompt.length - 1));
          ids.add(prompt[i]);
        }
      }
      if (!tokens.isEmpty()) {
        parts.add(
            new Part(
                Segment.ofRows(cache, group.hook, group.firstRow, tokens),
                ids.stream().mapToInt(Integer::intValue).toArray(),
                null,
                0,
                rows));
      }
    }
    return parts;
  }

  /** Adds what it took to somebody's account. */
  void count(PhaseTimes times) {
    List<Row> rows = groups.stream().flatMap(group -> group.rows.stream()).toList();
    times.addAnswered(
        request.prefixIds().length
            - reused
            + rows.stream().mapToLong(row -> row.promptIds().length).sum(),
        rows.size(),
        rows.stream().mapToLong(row -> row.generated().tokenIds().size()).sum());
  }

  /** Lets finished rows go. */
  void release() {
    for (Group group : groups) {
      group.answering.removeIf(r -> group.rows.get(r).finished());
    }
  }

  /** Frees keys and values, but not the watch. */
  @Override
  public void close() {
    if (recorder != null) {
      recorder.close();
    }
    cache.close();
  }

  /** As {@link #close}, where nobody will read what the watch saw. */
  void abandon() {
    close();
    watch.close();
  }

  /** Moves rows from those that wait to those that are answered, while all fit at their longest. */
  private Set<Integer> begin(Group group) {
    Set<Integer> beginning = new HashSet<>();
    while (!group.waiting.isEmpty()) {
      Row next = group.rows.get(group.waiting.element());
      if (cache.filled() + reserved() + next.promptIds().length + next.left() > cache.capacity()) {
        break;
      }
      beginning.add(group.waiting.element());
      group.answering.add(group.waiting.remove());
    }
    return beginning;
  }

  /** Slots that rows being answered may still fill. */
  private int reserved() {
    int reserved = 0;
    for (Group group : groups) {
      for (int r : group.answering) {
        Row row = group.rows.get(r);
        reserved += row.hasStarted() ? row.left() + 1 : row.promptIds().length + row.left();
      }
    }
    return reserved;
  }
}
