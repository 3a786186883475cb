package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class SceneComparisonTest {
  private final SceneComparison comparison = new SceneComparison();

  @Test
  void countsWhoWasRightByKind() {
    add("colour", "red", "red", "red");
    add("colour", "red", "red", "blue");
    add("count", "2", "3", "2");
    add("count", "2", "3", "1");

    assertThat(comparison.kinds())
        .containsExactly(
            Map.entry("colour", new PairedCounts(1, 1, 0, 0)),
            Map.entry("count", new PairedCounts(0, 0, 1, 1)));
    PairedCounts all = comparison.all();
    assertThat(all).isEqualTo(new PairedCounts(1, 1, 1, 1));
    assertThat(all.questions()).isEqualTo(4);
    assertThat(all.firstRight()).isEqualTo(2);
    assertThat(all.secondRight()).isEqualTo(2);
    assertThat(all.test()).isEqualTo(new PairedTest(1, 1));
    assertThat(comparison.changed()).isEqualTo(3);
  }

  @Test
  void looksPastCaseAndWhiteSpaceAroundAnAnswer() {
    add("position", "Top left", " top LEFT\n", "topleft");

    assertThat(comparison.all()).isEqualTo(new PairedCounts(0, 1, 0, 0));
  }

  @Test
  void comparesCaptionsAsAWholeAndByWhatTheyName() {
    String reference = "A red circle on a noisy background.";
    add("caption", reference, reference, "A red circle and a blue star on a noisy background.");
    add("presence", "no", "A red circle?", "no");

    assertThat(comparison.kinds()).containsEntry("caption", new PairedCounts(0, 1, 0, 0));
    assertThat(comparison.firstMentions()).isEqualTo(new Mentions(1, 0));
    assertThat(comparison.secondMentions()).isEqualTo(new Mentions(2, 1));
  }

  @Test
  void leavesOutWhatOneOfThemCouldNotAnswer() {
    Annotation failed =
        new Annotation(
            "1",
            null,
            "What?",
            "var",
            List.of("red"),
            new Outcome.Failed(new Failure(FailureKind.NUMERIC_FAILURE, "not finite")));

    comparison.add("colour", annotation("1", "red", "red"), failed);

    assertThat(comparison.all()).isEqualTo(PairedCounts.NONE);
  }

  @Test
  void refusesAnswersToDifferentQuestions() {
    assertThatThrownBy(
            () ->
                comparison.add(
                    "colour", annotation("1", "red", "red"), annotation("2", "red", "red")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot compare answers to different questions: 1 and 2");
  }

  private void add(String kind, String reference, String first, String second) {
    comparison.add(kind, annotation("1", reference, first), annotation("1", reference, second));
  }

  private static Annotation annotation(String id, String reference, String answer) {
    return new Annotation(
        id,
        null,
        "What?",
        "any",
        List.of(reference),
        new Outcome.Answered(
            new Answer(answer, List.of(), 0, FinishReason.STOP, List.of(), Map.of()),
            new PromptFacts(8, 4, 2, 2, List.of(), List.of()),
            null));
  }
}
