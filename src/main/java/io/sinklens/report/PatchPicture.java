package io.sinklens.report;

import io.sinklens.preprocessing.ImageGrid;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.result.PromptFacts;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.Rectangle;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * One image with something drawn on its patches, the parts that image tokens show. Scaled, with its
 * aspect kept; where views overlap, later ones lie on top.
 */
final class PatchPicture {
  /** Of outlines; no colour of a natural image. */
  static final Color OUTLINE = new Color(255, 0, 160);

  private static final int OUTLINE_WIDTH = 2;

  /** How much of the image is seen through a map, 0 to 1. */
  private static final double SEEN_THROUGH = 0.25;

  private final BufferedImage scaled;
  private final ImageGrid grid;

  /**
   * Scales an image.
   *
   * @param prompt where image tokens lie in it
   * @param longerEdge of the picture, in pixels
   */
  PatchPicture(RgbImage image, PromptFacts prompt, int longerEdge) {
    if (image.width() != prompt.imageWidth() || image.height() != prompt.imageHeight()) {
      throw new IllegalArgumentException(
          "Cannot draw on the image: it is %d x %d, but the annotated one was %d x %d"
              .formatted(image.width(), image.height(), prompt.imageWidth(), prompt.imageHeight()));
    }
    scaled = scaled(image, (double) longerEdge / Math.max(image.width(), image.height()));
    grid =
        new ImageGrid(
            image.width(),
            image.height(),
            prompt.views().stream().map(PatchPicture::view).toList());
  }

  /** The image with some patches outlined. */
  BufferedImage withOutlines(List<Integer> positions) {
    BufferedImage picture = copy();
    Graphics2D pen = picture.createGraphics();
    pen.setColor(OUTLINE);
    for (int position : positions) {
      Rectangle patch = patch(position);
      for (int inset = 0; inset < OUTLINE_WIDTH; inset++) {
        pen.drawRect(
            patch.x + inset,
            patch.y + inset,
            patch.width - 1 - 2 * inset,
            patch.height - 1 - 2 * inset);
      }
    }
    pen.dispose();
    return picture;
  }

  /**
   * The image in grey under a map. Where views lie one over the other, as tiles over the whole
   * image, the smaller patches are seen.
   *
   * @param values 0 to 1, {@code [image token]}
   */
  BufferedImage withMap(double[] values) {
    if (values.length != grid.tokens()) {
      throw new IllegalArgumentException(
          "Map must have a value for each of %d image tokens, not %d"
              .formatted(grid.tokens(), values.length));
    }
    BufferedImage picture = copy();
    for (int y = 0; y < picture.getHeight(); y++) {
      for (int x = 0; x < picture.getWidth(); x++) {
        picture.setRGB(x, y, grey(scaled.getRGB(x, y)));
      }
    }
    int[] largestFirst =
        IntStream.range(0, values.length)
            .boxed()
            .sorted(Comparator.comparingDouble(this::area).reversed())
            .mapToInt(Integer::intValue)
            .toArray();
    for (int position : largestFirst) {
      int rgb = Palette.rgb(values[position]);
      Rectangle patch = patch(position);
      for (int y = patch.y; y < patch.y + patch.height; y++) {
        for (int x = patch.x; x < patch.x + patch.width; x++) {
          picture.setRGB(x, y, mixed(grey(scaled.getRGB(x, y)), rgb));
        }
      }
    }
    return picture;
  }

  /** How a value of a map, 0 to 1, looks where the image is of a medium grey. */
  static Color key(double value) {
    return new Color(mixed(0x808080, Palette.rgb(value)));
  }

  private double area(int position) {
    Region region = grid.token(position);
    return region.width() * region.height();
  }

  /** What of the picture a token shows; empty where that was padding. */
  private Rectangle patch(int position) {
    Region region = grid.token(position);
    double scaleX = (double) scaled.getWidth() / grid.imageWidth();
    double scaleY = (double) scaled.getHeight() / grid.imageHeight();
    int left = (int) Math.round(region.x() * scaleX);
    int top = (int) Math.round(region.y() * scaleY);
    int right = (int) Math.round((region.x() + region.width()) * scaleX);
    int bottom = (int) Math.round((region.y() + region.height()) * scaleY);
    return new Rectangle(left, top, right - left, bottom - top)
        .intersection(new Rectangle(scaled.getWidth(), scaled.getHeight()));
  }

  private static ImageGrid.View view(PromptFacts.View view) {
    return new ImageGrid.View(
        view.row(),
        view.column(),
        view.rows(),
        view.columns(),
        new Region(view.x(), view.y(), view.width(), view.height()));
  }

  private static BufferedImage scaled(RgbImage image, double scale) {
    BufferedImage whole =
        new BufferedImage(image.width(), image.height(), BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < image.height(); y++) {
      for (int x = 0; x < image.width(); x++) {
        whole.setRGB(
            x, y, image.sample(x, y, 0) << 16 | image.sample(x, y, 1) << 8 | image.sample(x, y, 2));
      }
    }
    return drawn(
        whole,
        Math.max(1, (int) Math.round(image.width() * scale)),
        Math.max(1, (int) Math.round(image.height() * scale)));
  }

  private BufferedImage copy() {
    return drawn(scaled, scaled.getWidth(), scaled.getHeight());
  }

  private static BufferedImage drawn(BufferedImage image, int width, int height) {
    BufferedImage picture = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D pen = picture.createGraphics();
    pen.setRenderingHint(
        RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BICUBIC);
    pen.drawImage(image, 0, 0, width, height, null);
    pen.dispose();
    return picture;
  }

  /** Luma by ITU-R 601, as red, green and blue alike. */
  private static int grey(int rgb) {
    int luma = (299 * (rgb >> 16 & 0xff) + 587 * (rgb >> 8 & 0xff) + 114 * (rgb & 0xff)) / 1000;
    return luma << 16 | luma << 8 | luma;
  }

  private static int mixed(int under, int over) {
    int rgb = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
      double value =
          SEEN_THROUGH * (under >> shift & 0xff) + (1 - SEEN_THROUGH) * (over >> shift & 0xff);
      rgb |= (int) Math.round(value) << shift;
    }
    return rgb;
  }
}
