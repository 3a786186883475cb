package io.sinklens.job;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Answers with the question in capitals; blank questions and absent images fail. Forgets the
 * question "forget", and refuses to load a model whose path is "broken".
 *
 * @param name makes factories of different tests different
 */
record Shouting(String name) implements AnnotatorFactory {
  @Override
  public Annotator open(RunSettings settings) {
    if (settings.model().path().equals("broken")) {
      throw new IllegalArgumentException("Cannot read model: it is broken");
    }
    return new Shouter(settings);
  }

  private record Shouter(RunSettings settings) implements Annotator {
    @Override
    public ModelFacts facts() {
      return new ModelFacts(
          "llava",
          settings.model().path(),
          "f00d",
          "float32",
          "cpu",
          null,
          List.of(1, 2),
          null,
          "plain",
          "pad",
          2,
          4,
          List.of());
    }

    @Override
    public Iterator<Annotation> annotate(Iterator<Question> questions) {
      Deque<Annotation> ready = new ArrayDeque<>();
      return new Iterator<>() {
        @Override
        public boolean hasNext() {
          while (ready.isEmpty() && questions.hasNext()) {
            Question question = questions.next();
            for (RunSettings.Variant variant : settings.variants()) {
              if (!"forget".equals(question.text())) {
                ready.add(annotation(question, variant.name()));
              }
            }
          }
          return !ready.isEmpty();
        }

        @Override
        public Annotation next() {
          return ready.remove();
        }
      };
    }

    private static Annotation annotation(Question question, String variant) {
      return new Annotation(
          question.sampleId(),
          question.imageId(),
          question.text(),
          variant,
          question.answers(),
          outcome(question.image(), question.text()));
    }

    private static Outcome outcome(ImageSource image, @Nullable String text) {
      if (image instanceof ImageSource.Unavailable gone) {
        return new Outcome.Failed(gone.failure());
      }
      if (text == null || text.isBlank()) {
        return new Outcome.Failed(new Failure(FailureKind.QUESTION_MISSING, "No question"));
      }
      int length = image instanceof ImageSource.Bytes file ? file.content().length : 0;
      return new Outcome.Answered(
          new Answer(
              text.toUpperCase(Locale.ROOT),
              List.of(1, 2),
              -1,
              FinishReason.STOP,
              List.of(),
              Map.of()),
          new PromptFacts(10, 4, length, length, List.of(), List.of()),
          null);
    }

    @Override
    public void close() {}
  }
}
