package io.sinklens.pipeline;

import io.sinklens.dataset.Question;
import io.sinklens.result.Annotation;
import java.util.Iterator;

/**
 * A loaded model that annotates questions: one an executor and device, shared by its tasks.
 *
 * <p>Questions on one image should follow each other: what they share is computed once.
 */
public interface Annotator extends AutoCloseable {

  /** What was loaded. */
  ModelFacts facts();

  /**
   * Annotates questions lazily: for every question one annotation a variant, in the order of the
   * variants. Several threads may each pull from an iterator of their own.
   *
   * <p>Pulling throws {@link AnnotatorLostException} where only a new process can go on.
   */
  Iterator<Annotation> annotate(Iterator<Question> questions);

  /** What it has done so far; from any thread, and also after it was closed. */
  default EngineFigures figures() {
    return EngineFigures.NONE;
  }

  /**
   * A number that grows with every small step of the work, so that slow can be told from standing
   * still; from any thread.
   */
  default long steps() {
    return 0;
  }

  /** Frees the model. */
  @Override
  void close();
}
