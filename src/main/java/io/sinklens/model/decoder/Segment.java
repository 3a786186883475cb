package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * New tokens of one image's prompts that run together under one hook: the prefix itself, or tokens
 * of rows that follow it.
 *
 * <p>A token of a row sees the prefix and its own row up to itself, and nothing of other rows.
 */
public final class Segment {
  private final KeyValueCache cache;
  private final AttentionHook hook;
  private final int firstSlot;
  private final int keys;
  private final boolean prefix;
  private final int firstRow;
  private final List<Token> tokens;
  private @Nullable NDManager scope;
  private @Nullable Notes notes;
  private @Nullable NDArray rows;
  private @Nullable NDArray answers;

  /**
   * A token.
   *
   * @param row which row of the segment's hook it belongs to; 0 in a prefix
   * @param ownIndex its place among its row's own tokens, or in the prefix
   * @param answers whether the next answer token comes of it
   */
  public record Token(int row, int ownIndex, boolean answers) {}

  private Segment(
      KeyValueCache cache,
      AttentionHook hook,
      int firstSlot,
      int keys,
      boolean prefix,
      int firstRow,
      List<Token> tokens) {
    this.cache = cache;
    this.hook = hook;
    this.firstSlot = firstSlot;
    this.keys = keys;
    this.prefix = prefix;
    this.firstRow = firstRow;
    this.tokens = List.copyOf(tokens);
  }

  /** The prefix, but for what is in the cache already; it gives no answer token. */
  public static Segment ofPrefix(KeyValueCache cache, AttentionHook hook) {
    int firstSlot = cache.filled();
    List<Token> tokens =
        IntStream.range(firstSlot, cache.prefix().tokens())
            .mapToObj(i -> new Token(0, i, false))
            .toList();
    tokens.forEach(token -> cache.takeForPrefix());
    return new Segment(cache, hook, firstSlot, cache.filled(), true, 0, tokens);
  }

  /**
   * The next tokens of rows.
   *
   * @param firstRow what the cache calls the hook's first row, where several hooks share a cache
   * @param tokens each row's in order, after those it has in the cache
   */
  public static Segment ofRows(
      KeyValueCache cache, AttentionHook hook, int firstRow, List<Token> tokens) {
    int firstSlot = cache.filled();
    tokens.forEach(token -> cache.take(firstRow + token.row(), token.ownIndex()));
    return new Segment(cache, hook, firstSlot, cache.filled(), false, firstRow, tokens);
  }

  /** The same keys, but of the queries only those that answer, in the same scope. */
  Segment answering() {
    Segment answering =
        new Segment(
            cache,
            hook,
            firstSlot,
            keys,
            prefix,
            firstRow,
            tokens.stream().filter(Token::answers).toList());
    answering.scope = scope;
    answering.notes = notes;
    return answering;
  }

  /** Names what owns the arrays that are the same for all layers, and who reads numbers. */
  public void enter(NDManager pass, Notes ofPass) {
    scope = pass;
    notes = ofPass;
    rows = null;
    answers = null;
  }

  /** Numbers to be read when the pass ends. */
  public Notes notes() {
    if (notes == null) {
      throw new IllegalStateException("Cannot use a segment outside a pass");
    }
    return notes;
  }

  /** What owns arrays until the pass ends. */
  public NDManager scope() {
    if (scope == null) {
      throw new IllegalStateException("Cannot use a segment outside a pass");
    }
    return scope;
  }

  AttentionHook hook() {
    return hook;
  }

  /**
   * What its hook can be joined by; null where that works alone. Every token of a prefix sees
   * another number of keys, so that none is joined.
   */
  @Nullable HookKind kind() {
    return prefix ? null : hook.kind();
  }

  KeyValueCache cache() {
    return cache;
  }

  /** Whether it is the prefix, in which a token sees all before it. */
  public boolean isPrefix() {
    return prefix;
  }

  /** Whether it is the prefix and every new token of it asks. */
  boolean isWholePrefix() {
    return prefix && firstSlot + tokens.size() == keys;
  }

  /** Tokens of the prefix that all rows share. */
  public int prefixLength() {
    return cache.prefix().tokens();
  }

  /** Queries. */
  public int queries() {
    return tokens.size();
  }

  /** A query's token. */
  public Token token(int query) {
    return tokens.get(query);
  }

  /** The queries that give answer tokens, rising. */
  public int[] answerQueries() {
    return IntStream.range(0, tokens.size()).filter(i -> tokens.get(i).answers()).toArray();
  }

  /** The same, as indices for operators: int64 {@code [answer query]}. */
  public NDArray answers() {
    if (answers == null) {
      answers = scope().create(Arrays.stream(answerQueries()).asLongStream().toArray());
    }
    return answers;
  }

  /** The row of each query, as indices for operators: int64 {@code [query]}. */
  public NDArray rows() {
    if (rows == null) {
      rows = scope().create(tokens.stream().mapToLong(Token::row).toArray());
    }
    return rows;
  }

  /**
   * Notes which tokens were computed in finite numbers.
   *
   * @param finite of all tokens of the pass
   * @param begin where this segment's are
   */
  void judge(boolean[] finite, int begin) {
    for (int q = 0; q < tokens.size(); q++) {
      if (!finite[begin + q]) {
        cache.spoil(firstSlot + q);
      }
    }
  }

  /** Whether anything a query's row has computed, up to its prefix, was not finite. */
  boolean isSpoiled(int query) {
    return !prefix && cache.isSpoiled(firstRow + tokens.get(query).row());
  }

  /** Slots of the cache that hold keys, those of this segment included. */
  public int keys() {
    return keys;
  }

  /** Which of those it is that keep numbers beside the image's keys: the first to ask is 0. */
  public int ordinal(Object guest) {
    return cache.ordinal(guest);
  }

  /**
   * Memory for numbers of each image of its block, kept while the image has its place: float32
   * {@code [place, ...]}, whatever is in it before it is first written.
   *
   * @param name what others have who mean the same
   */
  public NDArray beside(String name, Shape ofImage) {
    return cache.block().beside(name, ofImage);
  }

  /** Which place the image has there. */
  public int place() {
    return cache.place();
  }

  /** Slots of the cache. */
  public int capacity() {
    return cache.capacity();
  }

  /** Where the key of the first token is; the others follow. */
  public int firstSlot() {
    return firstSlot;
  }

  /** Where a query stands for rotary embedding, on an axis: 0 time, 1 height, 2 width. */
  long position(int axis, int query) {
    int ownIndex = tokens.get(query).ownIndex();
    return prefix ? cache.prefix().at(axis, ownIndex) : (long) cache.prefix().next() + ownIndex;
  }

  /**
   * Hides from a query the keys it does not see.
   *
   * @param added to scores; minus infinity is written from {@code begin} on
   * @param slots how many keys there are, some of which may lie behind this segment's
   * @return whether there is any
   */
  boolean hide(int query, float[] added, int begin, int slots) {
    Token token = tokens.get(query);
    boolean hides = keys < slots;
    Arrays.fill(added, begin + keys, begin + slots, Float.NEGATIVE_INFINITY);
    for (int slot = prefix ? 0 : prefixLength(); slot < keys; slot++) {
      if (!sees(token, slot)) {
        added[begin + slot] = Float.NEGATIVE_INFINITY;
        hides = true;
      }
    }
    return hides;
  }

  private boolean sees(Token token, int slot) {
    return prefix
        ? slot <= token.ownIndex()
        : cache.sees(firstRow + token.row(), token.ownIndex(), slot);
  }
}
