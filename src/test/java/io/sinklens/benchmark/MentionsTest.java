package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class MentionsTest {

  @Test
  void findsEachObjectOnceInSingularAndPlural() {
    assertThat(
            Mentions.objects(
                "A red circle, two blue stars, three white crosses, a blue star and a green cross"
                    + " on a noisy background."))
        .containsExactlyInAnyOrder("red circle", "blue star", "white cross", "green cross");
    assertThat(Mentions.objects("Four ORANGE diamonds")).containsExactly("orange diamond");
  }

  @Test
  void findsNoObjectInOtherWords() {
    assertThat(Mentions.objects("A pink circle, a red blob, blue starfish, a cross, red. Circle"))
        .isEmpty();
    assertThat(Mentions.objects("")).isEmpty();
  }

  @Test
  void countsWhatTheReferenceDoesNotNameAsHallucinated() {
    assertThat(
            Mentions.of(
                "A red circle, a blue star and a green star on a striped background.",
                "A red circle and two blue stars on a noisy background."))
        .isEqualTo(new Mentions(3, 1));
    assertThat(Mentions.of("A red star.", "A blue star and a red circle."))
        .isEqualTo(new Mentions(1, 1));
    assertThat(Mentions.of("", "A red circle.")).isEqualTo(Mentions.NONE);
    assertThat(new Mentions(3, 1).plus(new Mentions(2, 2))).isEqualTo(new Mentions(5, 3));
  }

  @Test
  void refusesMoreHallucinationsThanMentions() {
    assertThatThrownBy(() -> new Mentions(1, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Hallucinated mentions must be in [0, 1], not 2");
  }
}
