package io.sinklens.preprocessing;

import org.jspecify.annotations.Nullable;

/**
 * What the vision encoder takes.
 *
 * @param data {@code [view, channel, height, width]}, 3 channels; owned by the values
 * @param views number of views, above 0
 * @param height rows of a view in pixels
 * @param width pixels in a row of a view
 * @param grid where the image tokens of these views lie on the original image
 * @param mosaic how the views after the first are joined, where they are
 */
@SuppressWarnings(
    "ArrayRecordComponent") // Compared by nobody; a defensive copy would cost megabytes.
public record PixelValues(
    float[] data, int views, int height, int width, ImageGrid grid, @Nullable Mosaic mosaic) {

  public PixelValues {
    if (data.length != (long) views * RgbImage.CHANNELS * height * width) {
      throw new IllegalArgumentException(
          "Cannot hold %d values in %d views of %d x %d x %d"
              .formatted(data.length, views, RgbImage.CHANNELS, height, width));
    }
  }

  /** A single view, or views that stay apart. */
  public PixelValues(float[] data, int views, int height, int width, ImageGrid grid) {
    this(data, views, height, width, grid, null);
  }

  /** A single view. */
  static PixelValues of(RgbImage view, ImageGrid grid, Normalization normalization) {
    return new PixelValues(normalization.apply(view), 1, view.height(), view.width(), grid);
  }
}
