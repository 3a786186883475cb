package io.sinklens.preprocessing;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import java.util.List;

/**
 * The rule of the Qwen2-VL and Qwen2.5-VL checkpoints ({@code smart_resize}): the image keeps about
 * its own size and shape. Both edges go to the nearest multiple of {@code tokenSize}, halves to the
 * even one; only an image of too many or too few pixels is scaled as a whole. Nothing is lost.
 *
 * <p>Follows {@code models/qwen2_vl/image_processing_qwen2_vl.py} of transformers 4.57. The network
 * cuts the patches; the pixel values are one view of the whole image.
 *
 * @param tokenSize pixels of the edges of the square behind one image token, above 0: patch size
 *     times merge size
 * @param minPixels pixels the resized image has at least, above 0
 * @param maxPixels pixels it has at most, unless one token in the shorter edge is already more; not
 *     below {@code minPixels}
 * @param normalization applied last
 */
public record SmartResize(int tokenSize, int minPixels, int maxPixels, Normalization normalization)
    implements ImageRule {
  private static final int LARGEST_RATIO = 200;

  public SmartResize {
    if (tokenSize < 1) {
      throw new IllegalArgumentException("Token size must be above 0, not " + tokenSize);
    }
    if (minPixels < 1) {
      throw new IllegalArgumentException("Minimum of pixels must be above 0, not " + minPixels);
    }
    if (maxPixels < minPixels) {
      throw new IllegalArgumentException(
          "Maximum of pixels must not be below the minimum %d, not %d"
              .formatted(minPixels, maxPixels));
    }
  }

  /**
   * Image tokens of a resized image.
   *
   * @param rows rows of image tokens, above 0
   * @param columns image tokens in a row, above 0
   */
  record Grid(int rows, int columns) {}

  /** How many tokens an image becomes; empty rows and columns never. */
  Grid grid(int width, int height) {
    double rows = Math.rint((double) height / tokenSize);
    double columns = Math.rint((double) width / tokenSize);
    double pixels = (double) width * height;
    double resized = rows * columns * tokenSize * tokenSize;
    if (resized > maxPixels) {
      double shrink = Math.sqrt(pixels / maxPixels);
      rows = Math.max(1, Math.floor(height / shrink / tokenSize));
      columns = Math.max(1, Math.floor(width / shrink / tokenSize));
    } else if (resized < minPixels) {
      double grow = Math.sqrt(minPixels / pixels);
      rows = Math.ceil(height * grow / tokenSize);
      columns = Math.ceil(width * grow / tokenSize);
    }
    return new Grid((int) rows, (int) columns);
  }

  @Override
  public PixelValues apply(RgbImage image) throws RowFailedException {
    int longer = Math.max(image.width(), image.height());
    int shorter = Math.min(image.width(), image.height());
    if ((double) longer / shorter > LARGEST_RATIO) {
      throw new RowFailedException(
          FailureKind.UNSUPPORTED_INPUT,
          "Cannot use the image: it is %d x %d, and its longer edge may be at most %d times the shorter"
              .formatted(image.width(), image.height(), LARGEST_RATIO));
    }
    Grid tokens = grid(image.width(), image.height());
    RgbImage resized =
        PillowResize.bicubic(image, tokens.columns * tokenSize, tokens.rows * tokenSize);
    Region region = new Region(0, 0, image.width(), image.height());
    ImageGrid grid =
        new ImageGrid(
            image.width(),
            image.height(),
            List.of(new View(0, 0, tokens.rows, tokens.columns, region)));
    return PixelValues.of(resized, grid, normalization);
  }

  @Override
  public String name() {
    return "smart-resize";
  }

  @Override
  public Exif exif() {
    return Exif.APPLY;
  }
}
