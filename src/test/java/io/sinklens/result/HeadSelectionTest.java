package io.sinklens.result;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

class HeadSelectionTest {

  @Test
  void packsTheFirstHeadIntoTheLowestBitAndLeavesNoGapsBetweenRows() {
    boolean[][] first = {{true, false, false}, {false, true, false}};
    boolean[][] second = {{false, false, true}, {true, true, true}};

    HeadSelection selection = HeadSelection.pack(List.of(first, second), 2, 3);

    // Elements 0, 4, 8, 9, 10, 11.
    assertThat(selection.bits()).containsExactly(0b0001_0001, 0b0000_1111);
  }

  @RepeatedTest(20)
  void givesBackWhatWasPackedAndHoldsTheStoredFormula(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int layers = 1 + random.nextInt(7);
    int heads = 1 + random.nextInt(9);
    List<boolean[][]> selected = new ArrayList<>();
    for (int t = 1 + random.nextInt(6); t > 0; t--) {
      boolean[][] token = new boolean[layers][heads];
      for (boolean[] layer : token) {
        for (int h = 0; h < heads; h++) {
          layer[h] = random.nextBoolean();
        }
      }
      selected.add(token);
    }

    HeadSelection packed = HeadSelection.pack(selected, layers, heads);

    HeadSelection stored = new HeadSelection(packed.bits(), selected.size(), layers, heads);
    byte[] bits = packed.bits();
    int i = 0;
    for (int t = 0; t < selected.size(); t++) {
      for (int l = 0; l < layers; l++) {
        for (int h = 0; h < heads; h++) {
          boolean expected = selected.get(t)[l][h];
          assertThat(stored.selected(t, l, h)).isEqualTo(expected);
          assertThat(((bits[i / 8] >> (i % 8)) & 1) == 1).isEqualTo(expected);
          i++;
        }
      }
    }
    assertThat(bits).hasSize((i + 7) / 8);
    assertThat(stored).isEqualTo(packed).hasSameHashCodeAs(packed);
  }

  @Test
  void holdsAnAnswerWithoutTokens() {
    assertThat(HeadSelection.pack(List.of(), 5, 4).bits()).isEmpty();
  }

  @Test
  void differsFromTheSameBitsInAnotherShape() {
    byte[] bits = {3};
    assertThat(new HeadSelection(bits, 1, 2, 3)).isNotEqualTo(new HeadSelection(bits, 1, 3, 2));
    assertThat(new HeadSelection(bits, 2, 1, 3)).isNotEqualTo(new HeadSelection(bits, 1, 2, 3));
  }

  @Test
  void keepsItsBitsFromThoseWhoHoldTheArray() {
    byte[] bits = {5};
    HeadSelection selection = new HeadSelection(bits, 1, 1, 3);
    bits[0] = 0;
    selection.bits()[0] = 0;
    assertThat(selection.bits()).containsExactly(5);
  }

  @Test
  void refusesBytesThatDoNotFitTheShape() {
    assertThatThrownBy(() -> new HeadSelection(new byte[2], 2, 5, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Head selection of shape [2, 5, 4] must have 5 bytes, not 2");
  }
}
