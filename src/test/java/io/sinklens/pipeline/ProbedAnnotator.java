package io.sinklens.pipeline;

import io.sinklens.generation.Phase;
import io.sinklens.generation.PhaseTimes;
import java.util.function.IntConsumer;

/** The annotator with a real model, in whose engine something happens at the end of passes. */
public final class ProbedAnnotator {
  private ProbedAnnotator() {}

  /**
   * Loads the model of a run.
   *
   * @param atEnd of each pass, on the engine's thread, with the tokens that went through; what it
   *     throws, the pass has thrown
   */
  public static Annotator load(RunSettings run, IntConsumer atEnd) {
    return ModelAnnotator.load(
        run.annotator(),
        new PhaseTimes() {
          @Override
          protected void addPass(Phase phase, int tokens, int answers, long elapsedNanos) {
            atEnd.accept(tokens);
            super.addPass(phase, tokens, answers, elapsedNanos);
          }
        });
  }
}
