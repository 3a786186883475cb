package io.sinklens.preprocessing;

import java.io.ByteArrayOutputStream;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;

/**
 * What a {@code tokenizer.model} says, as far as the native library does not tell it: a protocol
 * buffer, {@code ModelProto} in {@code sentencepiece_model.proto} of SentencePiece 0.2. Immutable.
 */
final class SentencePieceFile {
  private static final int VARINT = 0;
  private static final int FIXED_64 = 1;
  private static final int LENGTH_DELIMITED = 2;
  private static final int FIXED_32 = 5;

  /** Model type of all published LLaMA and InternLM2 models. */
  private static final int BPE = 2;

  /** Number and wire type of the field that repeats for every token. */
  private static final int TOKEN = 1 << 3 | LENGTH_DELIMITED;

  /** A second {@code normalizer_spec}, which adds to the first: no {@code add_dummy_prefix}. */
  private static final byte[] NO_SPACE_BEFORE = {3 << 3 | LENGTH_DELIMITED, 2, 3 << 3 | VARINT, 0};

  /** A second {@code type}, which counts instead of the first. */
  private static final byte[] OF_KIND_CONTROL = {3 << 3 | VARINT, 3};

  private final byte[] bytes;
  private final Reader read;

  /** A token of the vocabulary. */
  record Entry(String text, Kind kind) {}

  /** What a token stands for. */
  enum Kind {
    NORMAL(1),
    UNKNOWN(2),
    CONTROL(3),
    USER_DEFINED(4),
    UNUSED(5),
    BYTE(6);

    private final int number;

    Kind(int number) {
      this.number = number;
    }

    private static Kind of(long number) {
      return Arrays.stream(values())
          .filter(kind -> kind.number == number)
          .findFirst()
          .orElseThrow(() -> new IllegalArgumentException("a token is of kind " + number));
    }
  }

  /**
   * Reads a model.
   *
   * @throws IllegalArgumentException when the bytes are none
   */
  SentencePieceFile(byte[] bytes) {
    this.bytes = bytes.clone();
    try {
      read = new Reader(ByteBuffer.wrap(bytes));
      if (read.modelType != BPE) {
        throw new IllegalArgumentException(
            "its model_type must be 2, byte-pair encoding, not " + read.modelType);
      }
    } catch (BufferUnderflowException e) {
      throw new IllegalArgumentException("it ends too early", e);
    }
  }

  /** The whole file. */
  byte[] bytes() {
    return bytes.clone();
  }

  /** The vocabulary, {@code [id]}. */
  List<Entry> entries() {
    return Collections.unmodifiableList(read.entries);
  }

  /** The name of the token of the beginning. */
  String begin() {
    return read.begin;
  }

  /** The name of the token of the end. */
  String end() {
    return read.end;
  }

  /** What the unknown token is decoded to. */
  String unknownText() {
    return read.unknownText;
  }

  /** Whether decoding drops a space at the very beginning. */
  boolean dropsFirstSpace() {
    return read.spaceBefore || read.removesExtraSpaces;
  }

  /** Whether decoding drops the spaces of more than one token there. */
  boolean dropsFirstSpaces() {
    return read.removesExtraSpaces;
  }

  /** The model that puts no space before a text. */
  SentencePieceFile withoutSpaceBefore() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(bytes);
    out.writeBytes(NO_SPACE_BEFORE);
    return new SentencePieceFile(out.toByteArray());
  }

  /** The model whose texts never give one of some tokens. */
  SentencePieceFile without(Set<Integer> ids) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int id = 0;
    while (in.hasRemaining()) {
      int start = in.position();
      long tag = Reader.varint(in);
      if (tag == TOKEN && ids.contains(id++)) {
        ByteBuffer token = Reader.message(in);
        out.write(TOKEN);
        writeVarint(out, token.remaining() + OF_KIND_CONTROL.length);
        out.write(bytes, in.position() - token.remaining(), token.remaining());
        out.writeBytes(OF_KIND_CONTROL);
      } else {
        Reader.skip(in, tag);
        out.write(bytes, start, in.position() - start);
      }
    }
    return new SentencePieceFile(out.toByteArray());
  }

  private static void writeVarint(ByteArrayOutputStream out, int value) {
    int rest = value;
    while (rest > 0x7f) {
      out.write((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    out.write(rest);
  }

  /** The way through the fields. */
  private static final class Reader {
    private final List<Entry> entries = new ArrayList<>();
    private long modelType = 1;
    private String begin = "<s>";
    private String end = "</s>";
    private String unknownText = " \u2047 ";
    private boolean spaceBefore = true;
    private boolean removesExtraSpaces = true;

    Reader(ByteBuffer in) {
      while (in.hasRemaining()) {
        long tag = varint(in);
        switch (field(tag, LENGTH_DELIMITED)) {
          case 1 -> entries.add(entry(message(in)));
          case 2 -> training(message(in));
          case 3 -> normalizer(message(in));
          case 5 -> denormalizer(message(in));
          default -> skip(in, tag);
        }
      }
    }

    private static Entry entry(ByteBuffer in) {
      String text = "";
      Kind kind = Kind.NORMAL;
      while (in.hasRemaining()) {
        long tag = varint(in);
        if (field(tag, LENGTH_DELIMITED) == 1) {
          text = text(in);
        } else if (field(tag, VARINT) == 3) {
          kind = Kind.of(varint(in));
        } else {
          skip(in, tag);
        }
      }
      // Both would end the whole process.
      if (text.isEmpty() || (kind == Kind.USER_DEFINED && text.indexOf('\0') >= 0)) {
        throw new IllegalArgumentException("a token is empty or has a NUL");
      }
      return new Entry(text, kind);
    }

    private void training(ByteBuffer in) {
      while (in.hasRemaining()) {
        long tag = varint(in);
        if (field(tag, VARINT) == 3) {
          modelType = varint(in);
          continue;
        }
        switch (field(tag, LENGTH_DELIMITED)) {
          case 44 -> unknownText = text(in);
          case 46 -> begin = text(in);
          case 47 -> end = text(in);
          default -> skip(in, tag);
        }
      }
    }

    private void normalizer(ByteBuffer in) {
      while (in.hasRemaining()) {
        long tag = varint(in);
        switch (field(tag, VARINT)) {
          case 3 -> spaceBefore = varint(in) != 0;
          case 4 -> removesExtraSpaces = varint(in) != 0;
          default -> skip(in, tag);
        }
      }
    }

    private static void denormalizer(ByteBuffer in) {
      while (in.hasRemaining()) {
        long tag = varint(in);
        if (field(tag, LENGTH_DELIMITED) == 2 && message(in).hasRemaining()) {
          throw new IllegalArgumentException("a denormalizer is not supported");
        } else if (field(tag, LENGTH_DELIMITED) != 2) {
          skip(in, tag);
        }
      }
    }

    /** The field's number, or -1 where it has another wire type. */
    private static int field(long tag, int wireType) {
      return (tag & 7) == wireType ? (int) Math.min(tag >>> 3, Integer.MAX_VALUE) : -1;
    }

    static void skip(ByteBuffer in, long tag) {
      switch ((int) (tag & 7)) {
        case VARINT -> varint(in);
        case FIXED_64 -> in.getLong();
        case LENGTH_DELIMITED -> message(in);
        case FIXED_32 -> in.getInt();
        default -> throw new IllegalArgumentException("it is no protocol buffer");
      }
    }

    static long varint(ByteBuffer in) {
      long value = 0;
      for (int shift = 0; shift < Long.SIZE; shift += 7) {
        byte next = in.get();
        value |= (next & 0x7fL) << shift;
        if (next >= 0) {
          return value;
        }
      }
      throw new IllegalArgumentException("it is no protocol buffer");
    }

    static ByteBuffer message(ByteBuffer in) {
      long length = varint(in);
      if (length < 0 || length > in.remaining()) {
        throw new BufferUnderflowException();
      }
      ByteBuffer message = in.slice(in.position(), (int) length);
      in.position(in.position() + (int) length);
      return message;
    }

    private static String text(ByteBuffer in) {
      return StandardCharsets.UTF_8.decode(message(in)).toString();
    }
  }
}
