package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.stream.LongStream;

/**
 * Where the tokens of a prefix stand for rotary embedding, and where the text after it goes on.
 *
 * <p>In most models a token stands where it is in the prompt. In Qwen2-VL a token has a place in
 * time, height and width: a text token the same number thrice, an image token the time at which its
 * image begins and, from there, its row and column; text goes on after the larger side of the
 * image. Follows {@code get_rope_index} of {@code models/qwen2_vl/modeling_qwen2_vl.py} of
 * transformers 4.57.
 */
public final class RotaryPositions {
  private static final int AXES = 3;

  private final long[] places; // [axis, token]
  private final int tokens;
  private final int next;

  private RotaryPositions(long[] places, int tokens, int next) {
    this.places = places;
    this.tokens = tokens;
    this.next = next;
  }

  /** Tokens that stand where they are. */
  public static RotaryPositions sequential(int tokens) {
    long[] once = LongStream.range(0, tokens).toArray();
    long[] places = new long[AXES * tokens];
    for (int axis = 0; axis < AXES; axis++) {
      System.arraycopy(once, 0, places, axis * tokens, tokens);
    }
    return new RotaryPositions(places, tokens, tokens);
  }

  /**
   * Text, then an image with which the prefix ends.
   *
   * @param textTokens before the image
   * @param rows rows of image tokens
   * @param columns image tokens in a row
   */
  public static RotaryPositions withImage(int textTokens, int rows, int columns) {
    int tokens = textTokens + rows * columns;
    long[] places = new long[AXES * tokens];
    for (int token = 0; token < tokens; token++) {
      int inImage = Math.max(0, token - textTokens);
      places[token] = Math.min(token, textTokens);
      places[tokens + token] = places[token] + inImage / columns;
      places[2 * tokens + token] = places[token] + inImage % columns;
    }
    return new RotaryPositions(places, tokens, textTokens + Math.max(rows, columns));
  }

  /** Tokens of the prefix. */
  public int tokens() {
    return tokens;
  }

  /** Where the first token after the prefix stands, on every axis. */
  public int next() {
    return next;
  }

  /** A token's place on an axis: 0 time, 1 height, 2 width. */
  public long at(int axis, int token) {
    return places[axis * tokens + token];
  }

  /** As int64 {@code [axis, token]}. */
  NDArray axes(NDManager owner) {
    return owner.create(places, new Shape(AXES, tokens));
  }
}
