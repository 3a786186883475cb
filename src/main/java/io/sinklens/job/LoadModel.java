package io.sinklens.job;

import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.RunSettings;
import java.util.function.UnaryOperator;

/** Loads the model that the settings name. A record, so that all copies of it are equal. */
record LoadModel() implements AnnotatorFactory {
  @Override
  public Annotator open(RunSettings settings) {
    return ModelAnnotator.load(settings.annotator());
  }

  @Override
  public Annotator open(RunSettings settings, UnaryOperator<RunSettings> local) {
    return open(local.apply(settings));
  }
}
