package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FloatCodingTest {
  @ParameterizedTest
  @CsvSource({
    "0x0000, 0x0p0",
    "0x0001, 0x1p-24", // The smallest.
    "0x03ff, 0x3ffp-24", // The largest subnormal.
    "0x0400, 0x1p-14", // The smallest normal.
    "0x3555, 0x1.554p-2",
    "0x3c00, 1",
    "0xc000, -2",
    "0x7bff, 65504", // The largest.
    "0x7c00, Infinity",
    "0xfc00, -Infinity"
  })
  void readsHalves(String bits, float value) {
    assertThat(FloatCoding.ofHalf(Integer.decode(bits).shortValue())).isEqualTo(value);
  }

  @Test
  void writesEveryHalfAsItWasRead() {
    for (int bits = 0; bits <= 0xffff; bits++) {
      float value = FloatCoding.ofHalf((short) bits);
      if (!Float.isNaN(value)) {
        assertThat(FloatCoding.half(value)).isEqualTo((short) bits);
      }
    }
    assertThat(FloatCoding.ofHalf(FloatCoding.half(Float.NaN))).isNaN();
  }

  @Test
  void roundsAsTorchDoes() {
    float[] values = values();
    try (Operators operators = Operators.load(TestDevice.get());
        NDManager manager = operators.manager().newSubManager()) {
      for (Dtype dtype : Dtype.values()) {
        NDArray narrow = operators.to(manager.create(values), dtype);
        float[] expected = operators.to(narrow, Dtype.FLOAT32).toFloatArray();
        for (int i = 0; i < values.length; i++) {
          assertThat(Float.valueOf(rounded(values[i], dtype)))
              .as("%a", values[i])
              .isEqualTo(Float.valueOf(expected[i]));
        }
      }
    }
  }

  private static float rounded(float value, Dtype dtype) {
    return switch (dtype) {
      case FLOAT32 -> value;
      case FLOAT16 -> FloatCoding.ofHalf(FloatCoding.half(value));
      case BFLOAT16 -> Float.intBitsToFloat(FloatCoding.bfloat(value) << 16);
    };
  }

  /** All magnitudes, and the values that lie halfway between two halves or bfloats. */
  private static float[] values() {
    Random random = new Random(1);
    float[] values = new float[40_000];
    for (int i = 0; i < values.length; i++) {
      int bits = random.nextInt();
      values[i] =
          Float.intBitsToFloat(
              switch (i % 4) {
                case 0 -> bits;
                case 1 -> (bits & 0xffffe000) | 0x1000;
                case 2 -> (bits & 0xffff0000) | 0x8000;
                default -> (bits & 0x8fffffff) | 0x30000000; // About the range of halves.
              });
    }
    values[0] = 65519.996f;
    values[1] = 65520;
    values[2] = 0x1p-25f;
    values[3] = 0x1.8p-25f;
    values[4] = Float.NaN;
    values[5] = Float.MAX_VALUE;
    values[6] = -0f;
    return values;
  }
}
