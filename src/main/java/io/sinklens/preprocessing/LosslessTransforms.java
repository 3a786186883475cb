package io.sinklens.preprocessing;

import java.nio.ByteBuffer;
import java.util.Arrays;
import javax.imageio.IIOException;

/**
 * The transforms at the start of a lossless WebP picture, which follow each other bit by bit. The
 * format allows each of the four once; the reader would take any number, each of which costs a pass
 * over all pixels and as little as three bits. Read as far as is needed to find the next.
 */
final class LosslessTransforms {
  private static final int SUBTRACT_GREEN = 2;
  private static final int COLOUR_INDEXING = 3;
  private static final int LITERALS = 256;
  private static final int LENGTHS = 24;
  private static final int DISTANCES = 40;
  private static final int MAX_CODE_LENGTH = 15;
  private static final int MAX_CACHE_BITS = 11;

  /** The order in which the lengths of the code for lengths are written. */
  private static final int[] LENGTH_ORDER = {
    17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  };

  private final ByteBuffer data;
  private final int start;
  private long bit;

  private LosslessTransforms(ByteBuffer data) {
    this.data = data;
    this.start = data.position();
  }

  /**
   * Checks the transforms of a picture.
   *
   * @param data begins with the first transform, and ends where the file ends
   * @throws IIOException when one stands twice, or they cannot be read
   * @throws IndexOutOfBoundsException when the data end before
   */
  static void requireEachOnce(ByteBuffer data, int width, int height) throws IIOException {
    LosslessTransforms in = new LosslessTransforms(data);
    int seen = 0;
    int columns = width;
    while (in.bits(1) == 1) {
      int type = in.bits(2);
      if ((seen & 1 << type) != 0) {
        throw new IIOException("transform %d stands twice".formatted(type));
      }
      seen |= 1 << type;
      if (type == COLOUR_INDEXING) {
        int colours = in.bits(8) + 1;
        in.skipPixels(colours);
        columns = blocks(columns, colours > 16 ? 0 : colours > 4 ? 1 : colours > 2 ? 2 : 3);
      } else if (type != SUBTRACT_GREEN) {
        int bits = in.bits(3) + 2;
        in.skipPixels((long) blocks(columns, bits) * blocks(height, bits));
      }
    }
  }

  private static int blocks(int size, int bits) {
    return (size + (1 << bits) - 1) >> bits;
  }

  /** Passes over a small picture that belongs to a transform. */
  private void skipPixels(long pixels) throws IIOException {
    int cacheBits = bits(1) == 1 ? bits(4) : 0;
    if (cacheBits > MAX_CACHE_BITS) {
      throw new IIOException("a colour cache of %d bits".formatted(cacheBits));
    }
    Code main = code(LITERALS + LENGTHS + (cacheBits == 0 ? 0 : 1 << cacheBits));
    Code red = code(LITERALS);
    Code blue = code(LITERALS);
    Code alpha = code(LITERALS);
    Code distance = code(DISTANCES);
    long left = pixels;
    while (left > 0) {
      int symbol = read(main);
      if (symbol >= LITERALS && symbol < LITERALS + LENGTHS) {
        left -= prefixed(symbol - LITERALS);
        prefixed(read(distance));
      } else {
        left--;
        if (symbol < LITERALS) {
          read(red);
          read(blue);
          read(alpha);
        }
      }
    }
    if (left < 0) {
      throw new IIOException("a transform has too many pixels");
    }
  }

  /** A length or distance, whose symbol says how many bits follow. */
  private int prefixed(int symbol) throws IIOException {
    if (symbol >= DISTANCES) {
      throw new IIOException("distance %d does not exist".formatted(symbol));
    }
    if (symbol < 4) {
      return symbol + 1;
    }
    int extra = (symbol - 2) >> 1;
    return ((2 + (symbol & 1)) << extra) + bits(extra) + 1;
  }

  /**
   * A prefix code.
   *
   * @param counts of symbols by code length
   * @param symbols in the order of their codes
   */
  @SuppressWarnings("ArrayRecordComponent") // A local of one check.
  private record Code(int[] counts, int[] symbols) {}

  private Code code(int alphabet) throws IIOException {
    if (bits(1) == 1) {
      int[] symbols = new int[bits(1) + 1];
      symbols[0] = bits(bits(1) == 1 ? 8 : 1);
      if (symbols.length == 2) {
        symbols[1] = bits(8);
        return new Code(new int[] {0, 2}, symbols);
      }
      return new Code(new int[] {1}, symbols);
    }
    int[] ofLengths = new int[LENGTH_ORDER.length];
    int written = bits(4) + 4;
    for (int i = 0; i < written; i++) {
      ofLengths[LENGTH_ORDER[i]] = bits(3);
    }
    Code lengthCode = code(ofLengths);
    int left = bits(1) == 1 ? 2 + bits(2 + 2 * bits(3)) : alphabet;
    int[] lengths = new int[alphabet];
    int previous = 8;
    for (int i = 0; i < alphabet && left > 0; left--) {
      int length = read(lengthCode);
      if (length <= MAX_CODE_LENGTH) {
        lengths[i++] = length;
        previous = length == 0 ? previous : length;
      } else {
        int repeats = length == 16 ? 3 + bits(2) : length == 17 ? 3 + bits(3) : 11 + bits(7);
        if (i + repeats > alphabet) {
          throw new IIOException("a code has too many lengths");
        }
        Arrays.fill(lengths, i, i + repeats, length == 16 ? previous : 0);
        i += repeats;
      }
    }
    return code(lengths);
  }

  /** The canonical code of these lengths, which must be complete: others are read in many ways. */
  private static Code code(int[] lengths) throws IIOException {
    int[] counts = new int[MAX_CODE_LENGTH + 1];
    for (int length : lengths) {
      counts[length]++;
    }
    int used = lengths.length - counts[0];
    int[] symbols = new int[used];
    int next = 0;
    long filled = 0;
    for (int length = 1; length <= MAX_CODE_LENGTH; length++) {
      filled += (long) counts[length] << (MAX_CODE_LENGTH - length);
      for (int symbol = 0; symbol < lengths.length && counts[length] > 0; symbol++) {
        if (lengths[symbol] == length) {
          symbols[next++] = symbol;
        }
      }
    }
    if (used == 1) {
      return new Code(new int[] {1}, symbols);
    }
    if (filled != 1L << MAX_CODE_LENGTH) {
      throw new IIOException("a prefix code is incomplete");
    }
    counts[0] = 0;
    return new Code(counts, symbols);
  }

  private int read(Code code) {
    if (code.counts[0] == 1) {
      return code.symbols[0]; // the only one, in no bits
    }
    int value = 0;
    int first = 0;
    int index = 0;
    for (int length = 1; ; length++) {
      value |= bits(1);
      int count = code.counts[length];
      if (value - first < count) {
        return code.symbols[index + value - first];
      }
      index += count;
      first = (first + count) << 1;
      value <<= 1;
    }
  }

  /** The next bits, the lowest first. */
  private int bits(int count) {
    int value = 0;
    for (int i = 0; i < count; i++, bit++) {
      value |= (data.get(start + Math.toIntExact(bit >> 3)) >> (bit & 7) & 1) << i;
    }
    return value;
  }
}
