package io.sinklens.job;

import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.Outcome;
import java.util.List;
import java.util.Map;

/**
 * Answers with a part of the question: what stands before the bar under the baseline, what stands
 * behind it under every other variant. Blank questions fail.
 *
 * @param name makes factories of different tests different
 */
record Scripted(String name) implements AnnotatorFactory {
  @Override
  public Annotator open(RunSettings settings) {
    return new ChangedAnnotator(new Shouting(name).open(settings), Scripted::answered);
  }

  private static Annotation answered(Annotation annotation) {
    if (!(annotation.outcome() instanceof Outcome.Answered answered)) {
      return annotation;
    }
    String question = String.valueOf(annotation.question());
    int bar = question.indexOf('|');
    String text =
        annotation.variant().equals("baseline")
            ? question.substring(0, bar)
            : question.substring(bar + 1);
    return new Annotation(
        annotation.sampleId(),
        annotation.imageId(),
        annotation.question(),
        annotation.variant(),
        annotation.answers(),
        new Outcome.Answered(
            new Answer(text, List.of(1), -1, FinishReason.STOP, List.of(), Map.of()),
            answered.prompt(),
            null));
  }
}
