package io.sinklens.pipeline;

import io.sinklens.dataset.Question;
import io.sinklens.result.Annotation;
import java.util.Iterator;

/**
 * A loaded model that annotates questions: one an executor and device, shared by its tasks.
 *
 * <p>Questions on one image should follow each other: what they share is computed once.
 */
public final class Annotator implements AutoCloseable {
  private final ModelFacts facts;

  private Annotator(ModelFacts facts) {
    this.facts = facts;
  }

  /**
   * Loads the model of a run.
   *
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  public static Annotator load(RunSettings settings) {
    throw new UnsupportedOperationException(settings.toString());
  }

  public ModelFacts facts() {
    return facts;
  }

  /**
   * Annotates questions lazily: for every question one annotation a variant, in the order of the
   * variants. Several threads may each pull from an iterator of their own.
   */
  public Iterator<Annotation> annotate(Iterator<Question> questions) {
    throw new UnsupportedOperationException(questions.toString());
  }

  @Override
  public void close() {}
}
