package io.sinklens.job;

import io.sinklens.dataset.Question;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.result.Annotation;
import java.util.Iterator;
import java.util.function.UnaryOperator;

/**
 * An annotator to whose annotations something happens on their way, one by one.
 *
 * @param inner what annotates
 * @param change what happens
 */
record ChangedAnnotator(Annotator inner, UnaryOperator<Annotation> change) implements Annotator {
  @Override
  public ModelFacts facts() {
    return inner.facts();
  }

  @Override
  public Iterator<Annotation> annotate(Iterator<Question> questions) {
    Iterator<Annotation> annotations = inner.annotate(questions);
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return annotations.hasNext();
      }

      @Override
      public Annotation next() {
        return change.apply(annotations.next());
      }
    };
  }

  @Override
  public void close() {
    inner.close();
  }
}
