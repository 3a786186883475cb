package io.sinklens.pipeline;

import java.io.Serializable;

/** A recipe for an annotator: what travels to executors in the place of a model. */
@FunctionalInterface
public interface AnnotatorFactory extends Serializable {

  /**
   * Loads the model of a run.
   *
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  Annotator open(RunSettings settings);
}
