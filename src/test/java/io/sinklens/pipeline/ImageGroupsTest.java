package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class ImageGroupsTest {
  private static final ImageSource GONE =
      new ImageSource.Unavailable(new Failure(FailureKind.IMAGE_MISSING, "No such file"));

  @Test
  void cutsWhereTheBytesOfTheImageChange() {
    List<List<String>> groups =
        groups(
            List.of(
                question("a", image(1)),
                question("b", image(1)), // Other arrays, equal bytes.
                question("c", image(2)),
                question("d", image(1))));
    assertThat(groups).containsExactly(List.of("a", "b"), List.of("c"), List.of("d"));
  }

  @Test
  void keepsRowsWithoutAnImageApart() {
    List<List<String>> groups =
        groups(List.of(question("a", GONE), question("b", GONE), question("c", image(1))));
    assertThat(groups).containsExactly(List.of("a"), List.of("b"), List.of("c"));
  }

  @Test
  void cutsLongRunsOfOneImage() {
    List<Question> questions =
        Collections.nCopies(2 * ImageGroups.MAX_QUESTIONS + 1, question("a", image(1)));
    assertThat(groups(questions))
        .extracting(List::size)
        .containsExactly(ImageGroups.MAX_QUESTIONS, ImageGroups.MAX_QUESTIONS, 1);
  }

  @Test
  void hasNothingToCutWithoutQuestions() {
    assertThat(groups(List.of())).isEmpty();
  }

  private static List<List<String>> groups(List<Question> questions) {
    List<List<String>> groups = new ArrayList<>();
    new ImageGroups(questions.iterator())
        .forEachRemaining(
            group -> groups.add(group.questions().stream().map(Question::sampleId).toList()));
    return groups;
  }

  private static ImageSource image(int content) {
    return new ImageSource.Bytes(new byte[] {(byte) content});
  }

  private static Question question(String id, ImageSource image) {
    return new Question(id, null, image, "What?", List.of(), null, false);
  }
}
