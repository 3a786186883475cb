package io.sinklens.pipeline;

import java.io.Serializable;
import java.util.function.UnaryOperator;

/** A recipe for an annotator: what travels to executors in the place of a model. */
@FunctionalInterface
public interface AnnotatorFactory extends Serializable {

  /**
   * Loads the model of a run.
   *
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  Annotator open(RunSettings settings);

  /**
   * Loads the model of a run, whose files may lie elsewhere.
   *
   * @param local brings them to this machine, and names them there
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  default Annotator open(RunSettings settings, UnaryOperator<RunSettings> local) {
    return open(settings);
  }
}
