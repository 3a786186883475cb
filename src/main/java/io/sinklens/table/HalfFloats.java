package io.sinklens.table;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** Matrices as little-endian IEEE 754 binary16 in C order, rounded to nearest even. */
final class HalfFloats {
  private static final int MIN_EXPONENT = -14; // Of a normal number; smaller ones share it.
  private static final int MAX_EXPONENT = 15;
  private static final int MANTISSA_BITS = 10;
  private static final int HIDDEN_BIT = 1 << MANTISSA_BITS;
  private static final int INFINITY = 0x7c00;
  private static final int NOT_A_NUMBER = 0x7e00;

  private HalfFloats() {}

  /** Packs rows of one length. */
  static byte[] encode(List<List<Float>> rows) {
    int count = rows.stream().mapToInt(List::size).sum();
    ByteBuffer bytes = ByteBuffer.allocate(2 * count).order(ByteOrder.LITTLE_ENDIAN);
    rows.forEach(row -> row.forEach(value -> bytes.putShort(half(value))));
    return bytes.array();
  }

  /** Unpacks {@code rows} rows of {@code columns} numbers. */
  static List<List<Float>> decode(byte[] bytes, int rows, int columns) {
    if (bytes.length != 2L * rows * columns) {
      throw new IllegalArgumentException(
          "Float16 of shape [%d, %d] must have %d bytes, not %d"
              .formatted(rows, columns, 2L * rows * columns, bytes.length));
    }
    ByteBuffer halves = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    List<List<Float>> matrix = new ArrayList<>(rows);
    for (int r = 0; r < rows; r++) {
      List<Float> row = new ArrayList<>(columns);
      for (int c = 0; c < columns; c++) {
        row.add(number(halves.getShort()));
      }
      matrix.add(row);
    }
    return matrix;
  }

  /** The nearest half; of two equally near ones that with an even last bit. */
  static short half(float value) {
    int sign = (Float.floatToRawIntBits(value) >>> 16) & 0x8000;
    if (Float.isNaN(value)) {
      return (short) (sign | NOT_A_NUMBER);
    }
    int exponent = Math.max(Math.getExponent(value), MIN_EXPONENT);
    if (exponent > MAX_EXPONENT) {
      return (short) (sign | INFINITY);
    }
    // Exact in double. A mantissa that rounds up to the next power of two carries into the
    // exponent.
    double mantissa = Math.rint(Math.scalb(Math.abs((double) value), MANTISSA_BITS - exponent));
    return (short) (sign | ((exponent - MIN_EXPONENT) << MANTISSA_BITS) + (int) mantissa);
  }

  /** The number a half stands for. */
  static float number(short half) {
    int exponent = (half & INFINITY) >>> MANTISSA_BITS;
    int mantissa = half & (HIDDEN_BIT - 1);
    float magnitude;
    if (exponent == 0) {
      magnitude = Math.scalb((float) mantissa, MIN_EXPONENT - MANTISSA_BITS);
    } else if ((half & INFINITY) == INFINITY) {
      magnitude = mantissa == 0 ? Float.POSITIVE_INFINITY : Float.NaN;
    } else {
      magnitude =
          Math.scalb((float) (HIDDEN_BIT + mantissa), exponent - 1 + MIN_EXPONENT - MANTISSA_BITS);
    }
    return half < 0 ? -magnitude : magnitude;
  }
}
