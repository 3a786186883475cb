package io.sinklens.pipeline;

import java.io.Serializable;
import java.util.List;

/**
 * The settings that decide what an annotator answers; the rest of a run's only moves rows about.
 *
 * @param model which model, and how to run it
 * @param generation how answers are generated
 * @param variants what to do about attention
 * @param statistics what to record about it
 * @param maxImagePixels larger images fail before they are decoded
 */
public record AnnotatorSettings(
    RunSettings.Model model,
    RunSettings.Generation generation,
    List<RunSettings.Variant> variants,
    RunSettings.Statistics statistics,
    long maxImagePixels)
    implements Serializable {

  public AnnotatorSettings {
    variants = List.copyOf(variants);
  }
}
