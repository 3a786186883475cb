package io.sinklens.table;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HalfFloatsTest {
  @ParameterizedTest
  @CsvSource({
    "0x0000, 0x0p0",
    "0x8000, -0x0p0",
    "0x0001, 0x1p-24", // The smallest.
    "0x03ff, 0x3ffp-24", // The largest subnormal.
    "0x0400, 0x1p-14", // The smallest normal.
    "0x3555, 0x1.554p-2",
    "0x3c00, 1",
    "0xc000, -2",
    "0x7bff, 65504", // The largest.
    "0x7c00, Infinity",
    "0xfc00, -Infinity",
    "0x7e00, NaN"
  })
  void standsForTheNumbersOfTheStandard(String bits, Float value) {
    assertThat(Float.valueOf(HalfFloats.number(Integer.decode(bits).shortValue())))
        .isEqualTo(value);
  }

  @Test
  void writesEveryHalfAsItWasRead() {
    for (int bits = 0; bits <= 0xffff; bits++) {
      float value = HalfFloats.number((short) bits);
      if (Float.isNaN(value)) {
        assertThat(HalfFloats.number(HalfFloats.half(value))).isNaN();
      } else {
        assertThat(HalfFloats.half(value)).isEqualTo((short) bits);
      }
    }
  }

  /** Between every half and the next: nearer ones are taken, and the even one from the middle. */
  @Test
  void roundsToTheNearestAndToEvenFromTheMiddle() {
    for (int bits = 0; bits < 0x7c00; bits++) {
      float low = HalfFloats.number((short) bits);
      // Beyond the largest half the next power of two stands for infinity.
      float high = bits == 0x7bff ? 65536 : HalfFloats.number((short) (bits + 1));
      float middle = (low + high) / 2;
      short even = (short) (bits + (bits & 1));
      assertRounds(Math.nextDown(middle), (short) bits);
      assertRounds(middle, even);
      assertRounds(Math.nextUp(middle), (short) (bits + 1));
    }
    assertRounds(Float.MAX_VALUE, (short) 0x7c00);
    assertRounds(Float.MIN_VALUE, (short) 0);
  }

  private static void assertRounds(float value, short bits) {
    assertThat(HalfFloats.half(value)).as("%a", value).isEqualTo(bits);
    assertThat(HalfFloats.half(-value)).as("%a", -value).isEqualTo((short) (bits | 0x8000));
  }

  @Test
  void keepsTheOrderOfNumbers() {
    Random random = new Random(1);
    for (int i = 0; i < 10_000; i++) {
      float one = random.nextFloat();
      float other = random.nextFloat();
      assertThat(
              HalfFloats.number(HalfFloats.half(Math.min(one, other)))
                  <= HalfFloats.number(HalfFloats.half(Math.max(one, other))))
          .isTrue();
    }
  }

  @Test
  void packsRowsInCOrderLowByteFirst() {
    List<List<Float>> rows = List.of(List.of(1f, 0x1.554p-2f, 0f), List.of(-2f, 0.5f, 65504f));

    byte[] bytes = HalfFloats.encode(rows);

    assertThat(bytes)
        .containsExactly(0x00, 0x3c, 0x55, 0x35, 0, 0, 0x00, 0xc0, 0x00, 0x38, 0xff, 0x7b);
    assertThat(HalfFloats.decode(bytes, 2, 3)).isEqualTo(rows);
    assertThatThrownBy(() -> HalfFloats.decode(bytes, 2, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Float16 of shape [2, 2] must have 8 bytes, not 12");
  }
}
