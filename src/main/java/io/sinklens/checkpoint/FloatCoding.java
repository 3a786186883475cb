package io.sinklens.checkpoint;

import io.sinklens.tensor.Dtype;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The bytes of the three floating-point types, rounded to nearest even as torch does. */
final class FloatCoding {
  private FloatCoding() {}

  /** Reads the first {@code count} values of a buffer of little-endian elements. */
  static void decode(ByteBuffer bytes, Dtype dtype, float[] values, int count) {
    ByteBuffer elements = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    switch (dtype) {
      case FLOAT32 -> elements.asFloatBuffer().get(values, 0, count);
      case FLOAT16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = ofHalf(elements.getShort());
        }
      }
      case BFLOAT16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = Float.intBitsToFloat(elements.getShort() << 16);
        }
      }
    }
  }

  /** Appends the first {@code count} values to a buffer as little-endian elements. */
  static void encode(float[] values, int count, Dtype dtype, ByteBuffer bytes) {
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    switch (dtype) {
      case FLOAT32 -> {
        for (int i = 0; i < count; i++) {
          bytes.putFloat(values[i]);
        }
      }
      case FLOAT16 -> {
        for (int i = 0; i < count; i++) {
          bytes.putShort(half(values[i]));
        }
      }
      case BFLOAT16 -> {
        for (int i = 0; i < count; i++) {
          bytes.putShort(bfloat(values[i]));
        }
      }
    }
  }

  static float ofHalf(short half) {
    int sign = (half & 0x8000) << 16;
    int exponent = (half >>> 10) & 0x1f;
    int mantissa = half & 0x3ff;
    if (exponent == 0) { // Zero or subnormal: multiples of 2^-24.
      return Float.intBitsToFloat(Float.floatToRawIntBits(mantissa * 0x1p-24f) | sign);
    }
    int wide = exponent == 0x1f ? 0xff : exponent + 112; // Biases of 127 and 15.
    return Float.intBitsToFloat(sign | wide << 23 | mantissa << 13);
  }

  static short half(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 16) & 0x8000;
    int magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) { // Not a number.
      return (short) (sign | 0x7e00);
    }
    if (magnitude >= 0x477ff000) { // From 65520 on the nearest is infinity.
      return (short) (sign | 0x7c00);
    }
    if (magnitude < 0x38800000) { // Below 2^-14: a multiple of 2^-24.
      return (short) (sign | (int) Math.rint(Math.abs((double) value) * 0x1p24));
    }
    int rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return (short) (sign | (rounded - (112 << 23)) >>> 13);
  }

  static short bfloat(float value) {
    int bits = Float.floatToRawIntBits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) { // Not a number.
      return 0x7fc0;
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
