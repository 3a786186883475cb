package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class RotaryPositionsTest {

  @Test
  void standWhereTheTokensAre() {
    RotaryPositions positions = RotaryPositions.sequential(3);

    assertThat(positions.next()).isEqualTo(3);
    for (int axis = 0; axis < 3; axis++) {
      assertThat(places(positions, axis)).containsExactly(0, 1, 2);
    }
  }

  @Test
  void spreadAnImageInHeightAndWidth() {
    RotaryPositions positions = RotaryPositions.withImage(2, 2, 3);

    assertThat(places(positions, 0)).containsExactly(0, 1, 2, 2, 2, 2, 2, 2);
    assertThat(places(positions, 1)).containsExactly(0, 1, 2, 2, 2, 3, 3, 3);
    assertThat(places(positions, 2)).containsExactly(0, 1, 2, 3, 4, 2, 3, 4);
    assertThat(positions.next()).isEqualTo(5);
  }

  /** Qwen2-VL's prompt with a 640 x 480 image: 17 x 23 tokens behind 15 of text. */
  @Test
  void letTextGoOnAfterTheLargerSide() {
    RotaryPositions positions = RotaryPositions.withImage(15, 17, 23);

    assertThat(positions.tokens()).isEqualTo(15 + 391);
    assertThat(positions.next() - positions.tokens()).isEqualTo(-368);
    assertThat(positions.at(1, 15 + 390)).isEqualTo(31);
    assertThat(positions.at(2, 15 + 390)).isEqualTo(37);
  }

  private static long[] places(RotaryPositions positions, int axis) {
    return LongStream.range(0, positions.tokens())
        .map(token -> positions.at(axis, (int) token))
        .toArray();
  }
}
