package io.sinklens.preprocessing;

import io.sinklens.preprocessing.SentencePieceFile.Entry;
import io.sinklens.preprocessing.SentencePieceFile.Kind;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * The tokens of a SentencePiece model, and how they become text: {@code Decode} in {@code
 * sentencepiece_processor.cc} of SentencePiece 0.2. Done here because the binding spoils characters
 * beyond the basic plane and ends at a NUL. Immutable.
 */
final class SentencePieceVocabulary {
  /** What stands for a space in a token. */
  static final String SPACE = "\u2581";

  private final SentencePieceFile file;
  private final Map<String, Integer> ids = new HashMap<>();

  SentencePieceVocabulary(SentencePieceFile file) {
    this.file = file;
    for (int id = 0; id < file.entries().size(); id++) {
      Entry entry = file.entries().get(id);
      if (entry.kind() == Kind.BYTE && !entry.text().matches("<0x[0-9A-F]{2}>")) {
        throw new IllegalArgumentException("token %s is no byte".formatted(entry.text()));
      }
      ids.putIfAbsent(entry.text(), id);
    }
  }

  int size() {
    return file.entries().size();
  }

  /** A token's name, {@code id} from 0 to below {@link #size}. */
  String token(int id) {
    return file.entries().get(id).text();
  }

  OptionalInt id(String token) {
    Integer id = ids.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  /** The id of a token that stands for no text; empty when there is none of that name. */
  OptionalInt controlId(String token) {
    return kind(token) == Kind.CONTROL ? id(token) : OptionalInt.empty();
  }

  /** Whether a text can give the token because it has its characters. */
  boolean isSpelt(int id) {
    return switch (file.entries().get(id).kind()) {
      case NORMAL, USER_DEFINED, UNUSED -> true;
      case UNKNOWN, CONTROL, BYTE -> false;
    };
  }

  private Kind kind(String token) {
    Integer id = ids.get(token);
    return id == null ? Kind.UNKNOWN : file.entries().get(id).kind();
  }

  /**
   * The text of tokens. A run of bytes is read as UTF-8, with U+FFFD for every byte that does not
   * belong to a character.
   *
   * @param tokens what the vocabulary does not have is taken as it is
   */
  String decode(List<String> tokens) {
    StringBuilder text = new StringBuilder();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    boolean mayDropSpace = true;
    for (String token : tokens) {
      Kind kind = kind(token);
      if (kind == Kind.BYTE) {
        bytes.write(Integer.parseInt(token.substring(3, 5), 16));
        continue;
      }
      appendCharacters(text, bytes);
      switch (kind) {
        case CONTROL -> {}
        case UNKNOWN -> text.append(ids.containsKey(token) ? file.unknownText() : token);
        default -> {
          boolean drops =
              mayDropSpace && text.isEmpty() && file.dropsFirstSpace() && token.startsWith(SPACE);
          mayDropSpace &= !drops || file.dropsFirstSpaces();
          text.append((drops ? token.substring(1) : token).replace(SPACE, " "));
        }
      }
    }
    appendCharacters(text, bytes);
    return text.toString();
  }

  private static void appendCharacters(StringBuilder text, ByteArrayOutputStream run) {
    byte[] bytes = run.toByteArray();
    run.reset();
    for (int start = 0; start < bytes.length; ) {
      int length = Math.min(Math.max(1, Integer.numberOfLeadingZeros(~bytes[start] << 24)), 5);
      String character = start + length <= bytes.length ? strict(bytes, start, length) : "";
      text.append(character.isEmpty() ? "\ufffd" : character);
      start += character.isEmpty() ? 1 : length;
    }
  }

  /** The one character that bytes are; empty when they are none. */
  private static String strict(byte[] bytes, int start, int length) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(bytes, start, length))
          .toString();
    } catch (CharacterCodingException e) {
      return "";
    }
  }
}
