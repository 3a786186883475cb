package io.sinklens.preprocessing;

import io.sinklens.preprocessing.Piece.Special;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;

/**
 * The tokenizer of a checkpoint. Never cuts a text. A lone surrogate counts as U+FFFD. Shared by
 * threads.
 */
public interface Tokenizer extends AutoCloseable {

  /**
   * Whether a LLaMA tokenizer that comes as {@code tokenizer.model} puts a space before every text
   * between added tokens, or before the first only: the argument {@code legacy} of {@code
   * LlamaTokenizer}. A {@code tokenizer.json} says so itself, and others have no such choice.
   */
  enum Legacy {
    /** What {@code tokenizer_config.json} says; before every text where it says nothing. */
    AS_CONFIGURED,
    /** Before every text. */
    ON,
    /** Before the first text. */
    OFF
  }

  /** As {@link #open(Path, Legacy)}, with {@link Legacy#AS_CONFIGURED}. */
  static Tokenizer open(Path folder) {
    return open(folder, Legacy.AS_CONFIGURED);
  }

  /**
   * Opens a checkpoint's tokenizer.
   *
   * @param folder holds {@code tokenizer.json}, or else {@code tokenizer.model} with its {@code
   *     tokenizer_config.json} and, in older folders, {@code special_tokens_map.json} and {@code
   *     added_tokens.json}
   * @param legacy what the code of a model family hands to the tokenizer
   * @throws UncheckedIOException when a file cannot be read
   * @throws IllegalArgumentException when there is none, or it describes a tokenizer of a kind that
   *     is not supported
   */
  static Tokenizer open(Path folder, Legacy legacy) {
    Path json = folder.resolve("tokenizer.json");
    if (Files.exists(json, LinkOption.NOFOLLOW_LINKS)) {
      return JsonTokenizer.open(json);
    }
    if (Files.exists(folder.resolve(SentencePieceTokenizer.MODEL), LinkOption.NOFOLLOW_LINKS)) {
      return SentencePieceTokenizer.open(folder, legacy);
    }
    throw new IllegalArgumentException(
        "Cannot find tokenizer.json or tokenizer.model in " + folder);
  }

  /**
   * Encodes a text in which special tokens are written out, and adds what the tokenizer adds to
   * every text, such as the token of the beginning.
   *
   * @return token ids, {@code [token]}
   */
  int[] encodeRaw(String text);

  /** As {@link #encodeRaw}, without what the tokenizer adds to every text. */
  int[] encodeRawContinuation(String text);

  /**
   * Encodes a whole prompt in one go, and adds what the tokenizer adds to every text. Special
   * tokens are recognised only where a {@link Special} piece stands.
   *
   * @return token ids, {@code [token]}
   * @throws IllegalArgumentException when a special piece names no added token
   */
  int[] encode(List<Piece> pieces);

  /** As {@link #encode}, without what the tokenizer adds to every text. */
  int[] encodeContinuation(List<Piece> pieces);

  /** The text of token ids; special tokens and ids of no token are dropped. */
  String decode(int[] tokenIds);

  /** The id of a token, written as in the vocabulary; empty when there is none. */
  OptionalInt id(String token);

  @Override
  void close();
}
