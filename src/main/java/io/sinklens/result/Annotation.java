package io.sinklens.result;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What is stored for one question under one variant.
 *
 * @param sampleId the input row's id
 * @param imageId the mapped image id, else the SHA-256 of the image's bytes; null when the row had
 *     neither
 * @param question as the user wrote it
 * @param variant the variant's name
 * @param answers reference answers
 * @param outcome the answer, or why there is none
 */
public record Annotation(
    String sampleId,
    @Nullable String imageId,
    @Nullable String question,
    String variant,
    List<String> answers,
    Outcome outcome) {

  public Annotation {
    answers = List.copyOf(answers);
  }
}
