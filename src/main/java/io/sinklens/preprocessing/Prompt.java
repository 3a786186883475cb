package io.sinklens.preprocessing;

/**
 * A prompt as the decoder takes it.
 *
 * @param ids token ids, {@code [token]}, the image token once for each image embedding; not to be
 *     changed
 * @param image where the image tokens stand
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nobody.
public record Prompt(int[] ids, ImageSpan image) {

  /**
   * The positions of the image tokens in a prompt.
   *
   * @param start the first
   * @param end the one after the last
   */
  public record ImageSpan(int start, int end) {
    public ImageSpan {
      if (start < 0 || end <= start) {
        throw new IllegalArgumentException(
            "Image span must start at 0 or later and not be empty, not [%d, %d)"
                .formatted(start, end));
      }
    }

    /** Number of image tokens. */
    public int length() {
      return end - start;
    }
  }
}
