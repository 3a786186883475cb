package io.sinklens.preprocessing;

/**
 * A decoded image: 8-bit red, green and blue, {@code [height, width, channel]}, unsigned, no alpha.
 *
 * @param width pixels in a row, above 0
 * @param height rows, above 0
 * @param samples {@code [height, width, channel]}, 3 channels; owned by the image, not to be
 *     changed
 */
@SuppressWarnings(
    "ArrayRecordComponent") // Compared by nobody; a defensive copy would cost megabytes.
public record RgbImage(int width, int height, byte[] samples) {

  /** Red, green, blue. */
  public static final int CHANNELS = 3;

  public RgbImage {
    if (width < 1 || height < 1) {
      throw new IllegalArgumentException(
          "Image size must be at least 1 x 1, not %d x %d".formatted(width, height));
    }
    if (samples.length != (long) width * height * CHANNELS) {
      throw new IllegalArgumentException(
          "Cannot hold %d samples in an image of %d x %d x %d"
              .formatted(samples.length, width, height, CHANNELS));
    }
  }

  /** One sample, in [0, 255]. */
  public int sample(int x, int y, int channel) {
    return samples[(y * width + x) * CHANNELS + channel] & 0xff;
  }
}
