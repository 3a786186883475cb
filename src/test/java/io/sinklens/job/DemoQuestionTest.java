package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class DemoQuestionTest {
  private static final AttentionMaps MAPS =
      new AttentionMaps(List.of(List.of(1f)), List.of(List.of(1f)));
  private static final AttentionRecord COMPLETE = attention(List.of(0), MAPS);

  @Test
  void prefersOtherImagesThenOtherKinds() {
    List<DemoQuestion> questions =
        List.of(
            same("a-1", "a", "caption"),
            same("a-2", "a", "colour"),
            same("b-1", "b", "caption"),
            same("b-2", "b", "count"),
            same("c-1", "c", "caption"));

    assertThat(chosen(questions, 3)).containsExactly("a-1", "b-2", "c-1");
    assertThat(chosen(questions, 4)).containsExactly("a-1", "a-2", "b-2", "c-1");
    assertThat(chosen(questions, 6)).hasSize(5);
  }

  @Test
  void showsAChangedAnswerWhereThereIsOne() {
    List<DemoQuestion> questions =
        List.of(
            same("a-1", "a", "caption"),
            same("b-1", "b", "colour"),
            question("c-1", "c", "colour", "red", "blue", null));

    assertThat(chosen(questions, 1)).containsExactly("c-1");
    assertThat(chosen(questions, 2)).containsExactly("a-1", "c-1");
  }

  @Test
  void prefersQuestionsWithMapsAndSinks() {
    List<DemoQuestion> questions =
        List.of(
            question("a-1", "a", "caption", "red", "red", null),
            question("b-1", "b", "caption", "red", "red", attention(List.of(0), null)),
            question("c-1", "c", "caption", "red", "red", attention(List.of(), MAPS)),
            same("d-1", "d", "caption"),
            same("d-2", "d", "caption"));

    assertThat(chosen(questions, 2)).containsExactly("d-1", "d-2");
    assertThat(chosen(questions, 3)).containsExactly("a-1", "d-1", "d-2");
  }

  @Test
  void choosesTheSameInWhateverOrderRowsCome() {
    List<DemoQuestion> questions = new ArrayList<>();
    for (int i = 10; i < 40; i++) {
      questions.add(same("q" + i, "image" + i / 3, List.of("count", "shape").get(i % 2)));
    }
    List<String> first = chosen(questions, 6);
    Collections.reverse(questions);

    assertThat(chosen(questions, 6)).isEqualTo(first).hasSize(6).doesNotHaveDuplicates();
  }

  @Test
  void leavesOutWhatFailed() {
    Annotation failed =
        new Annotation(
            "a-1",
            "a",
            "What?",
            "var",
            List.of(),
            new Outcome.Failed(new Failure(FailureKind.NUMERIC_FAILURE, "not finite")));

    assertThat(chosen(List.of(new DemoQuestion("count", failed, failed)), 6)).isEmpty();
  }

  private static List<String> chosen(List<DemoQuestion> questions, int most) {
    return DemoQuestion.choose(questions, most).stream().map(DemoQuestion::id).toList();
  }

  private static DemoQuestion same(String id, String image, String kind) {
    return question(id, image, kind, "red", "red", COMPLETE);
  }

  private static DemoQuestion question(
      String id,
      String image,
      String kind,
      String baseline,
      String var,
      @Nullable AttentionRecord attention) {
    return new DemoQuestion(
        kind, annotation(id, image, baseline, null), annotation(id, image, var, attention));
  }

  private static Annotation annotation(
      String id, String image, String answer, @Nullable AttentionRecord attention) {
    return new Annotation(
        id,
        image,
        "What?",
        "any",
        List.of(),
        new Outcome.Answered(
            new Answer(answer, List.of(), 0, FinishReason.STOP, List.of(), Map.of()),
            new PromptFacts(2, 1, 1, 1, List.of(), List.of()),
            attention));
  }

  private static AttentionRecord attention(List<Integer> sinks, @Nullable AttentionMaps maps) {
    return new AttentionRecord(
        List.of(new LayerSinks(2, sinks, List.of(), 9)),
        HeadSelection.pack(List.of(), 4, 1),
        List.of(),
        maps);
  }
}
