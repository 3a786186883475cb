package io.sinklens.dataset;

import io.sinklens.dataset.ImageSource.Bytes;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One row of the input: a question on one image.
 *
 * @param sampleId what identifies the row in the input and in the output
 * @param imageId the mapped image id; null to use the SHA-256 of the image's bytes
 * @param image where the pixels come from
 * @param text the question as the user wrote it; null or blank gives a failed row
 * @param answers reference answers, possibly none
 * @param mask segmentation mask as an image, 0 = background; null when there is none
 * @param sampled whether the row is one of those whose attention maps are stored
 */
@SuppressWarnings(
    "ArrayRecordComponent") // Bytes of an image file; never compared or hashed as such.
public record Question(
    String sampleId,
    @Nullable String imageId,
    ImageSource image,
    @Nullable String text,
    List<String> answers,
    @Nullable Bytes mask,
    boolean sampled) {

  public Question {
    answers = List.copyOf(answers);
  }
}
