package io.sinklens.preprocessing;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import io.sinklens.preprocessing.PillowResize.Axis;
import java.util.List;

/**
 * How a model family turns an image into pixel values. Rules are immutable and shared by threads.
 *
 * <p>{@link ImageRules} reads a checkpoint's own.
 */
public interface ImageRule {

  /**
   * Pixel values and the grid of an image.
   *
   * @throws RowFailedException {@link FailureKind#UNSUPPORTED_INPUT} for an image that the rule's
   *     reference code refuses too
   */
  PixelValues apply(RgbImage image) throws RowFailedException;

  /** Its name in settings and manifests, such as {@code crop}. */
  String name();

  /** What the reference code of this rule does with a camera's orientation. */
  Exif exif();

  /**
   * The rule of the llava-hf checkpoints ({@code CLIPImageProcessor}): the shorter edge is resized
   * to {@code shortestEdge}, then the central square is cut out, black where it leaves the image.
   * Borders of the longer edge are lost.
   *
   * @param shortestEdge pixels of the shorter edge after resizing, above 0
   * @param cropSize pixels of the square's edges, above 0, a multiple of {@code patchSize}
   * @param patchSize pixels of the edges of the square behind one image token, above 0
   * @param normalization applied last
   */
  record ResizeAndCrop(int shortestEdge, int cropSize, int patchSize, Normalization normalization)
      implements ImageRule {

    public ResizeAndCrop {
      requirePositive("Shortest edge", shortestEdge);
      requirePatches(cropSize, patchSize);
    }

    @Override
    public PixelValues apply(RgbImage image) {
      int shorter = Math.min(image.width(), image.height());
      // Longer edges are cut to whole pixels.
      long width = (long) shortestEdge * image.width() / shorter;
      long height = (long) shortestEdge * image.height() / shorter;
      long left = Math.floorDiv(width - cropSize, 2);
      long top = Math.floorDiv(height - cropSize, 2);
      RgbImage cropped =
          PillowResize.bicubic(
              image,
              new Axis(image.width(), 0, image.width(), width, left, cropSize),
              new Axis(image.height(), 0, image.height(), height, top, cropSize),
              new int[RgbImage.CHANNELS]);
      double columnScale = (double) image.width() / width;
      double rowScale = (double) image.height() / height;
      Region region =
          new Region(
              left * columnScale, top * rowScale, cropSize * columnScale, cropSize * rowScale);
      return singleView(image, cropped, cropSize / patchSize, region, normalization);
    }

    @Override
    public String name() {
      return "crop";
    }

    @Override
    public Exif exif() {
      return Exif.APPLY;
    }
  }

  /**
   * The rule of the original LLaVA code ({@code image_aspect_ratio: pad}): the image is put into
   * the middle of a square of the mean colour, and the square is resized. Nothing is lost.
   *
   * @param size pixels of the square's edges after resizing
   * @param patchSize pixels of the edges of the square behind one image token, above 0 and at most
   *     {@code size}; what is left over at the right and the bottom belongs to no token
   * @param normalization applied last; its mean is the colour of the padding
   */
  record PadToSquare(int size, int patchSize, Normalization normalization) implements ImageRule {

    public PadToSquare {
      requirePatch(size, patchSize);
    }

    @Override
    public PixelValues apply(RgbImage image) {
      int square = Math.max(image.width(), image.height());
      int left = (square - image.width()) / 2;
      int top = (square - image.height()) / 2;
      RgbImage resized =
          PillowResize.bicubic(
              image,
              new Axis(square, left, image.width(), size, 0, size),
              new Axis(square, top, image.height(), size, 0, size),
              normalization.meanColour());
      int patches = size / patchSize;
      double seen = (double) patches * patchSize / size * square;
      return singleView(
          image, resized, patches, new Region(-left, -top, seen, seen), normalization);
    }

    @Override
    public String name() {
      return "pad";
    }

    @Override
    public Exif exif() {
      return Exif.IGNORE;
    }
  }

  /**
   * The rule of processors whose size is a height and a width ({@code {height: n, width: n}}
   * without a crop): both edges are resized to {@code size}, whatever the image's shape. Nothing is
   * lost.
   *
   * @param size pixels of the square's edges after resizing
   * @param patchSize pixels of the edges of the square behind one image token, above 0 and at most
   *     {@code size}; what is left over at the right and the bottom belongs to no token
   * @param normalization applied last
   */
  record Stretch(int size, int patchSize, Normalization normalization) implements ImageRule {

    public Stretch {
      requirePatch(size, patchSize);
    }

    @Override
    public PixelValues apply(RgbImage image) {
      RgbImage resized =
          PillowResize.bicubic(
              image,
              new Axis(image.width(), 0, image.width(), size, 0, size),
              new Axis(image.height(), 0, image.height(), size, 0, size),
              new int[RgbImage.CHANNELS]);
      int patches = size / patchSize;
      double seen = (double) patches * patchSize / size;
      Region region = new Region(0, 0, seen * image.width(), seen * image.height());
      return singleView(image, resized, patches, region, normalization);
    }

    @Override
    public String name() {
      return "stretch";
    }

    @Override
    public Exif exif() {
      return Exif.APPLY;
    }
  }

  private static PixelValues singleView(
      RgbImage image, RgbImage view, int patches, Region region, Normalization normalization) {
    ImageGrid grid =
        new ImageGrid(
            image.width(), image.height(), List.of(new View(0, 0, patches, patches, region)));
    return PixelValues.of(view, grid, normalization);
  }

  private static void requirePatch(int size, int patchSize) {
    requirePositive("Patch size", patchSize);
    if (size < patchSize) {
      throw new IllegalArgumentException(
          "Image size must be at least the patch size %d, not %d".formatted(patchSize, size));
    }
  }

  private static void requirePatches(int size, int patchSize) {
    requirePositive("Patch size", patchSize);
    if (size < patchSize || size % patchSize != 0) {
      throw new IllegalArgumentException(
          "Image size must be a multiple of the patch size %d, not %d".formatted(patchSize, size));
    }
  }

  private static void requirePositive(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " must be above 0, not " + value);
    }
  }
}
