package io.sinklens.preprocessing;

/** A part of a prompt before it is encoded. Pieces are joined as they are, without blanks. */
public sealed interface Piece {

  /**
   * Words. What looks like a special token in them is plain text to the model.
   *
   * @param text any text
   */
  record Text(String text) implements Piece {}

  /**
   * A token of the vocabulary that stands for no text, such as {@code <image>}.
   *
   * @param name its content in the tokenizer
   */
  record Special(String name) implements Piece {}
}
