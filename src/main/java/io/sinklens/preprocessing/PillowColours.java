package io.sinklens.preprocessing;

import io.sinklens.preprocessing.JpegHeader.Colours;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import javax.imageio.IIOException;

/**
 * Decoded samples as RGB, by the rules of Pillow's {@code convert("RGB")}.
 *
 * <p>Works on raw samples: {@code BufferedImage.getRGB} would convert between colour spaces, apply
 * embedded profiles and stretch grey levels, none of which Pillow does.
 */
final class PillowColours {
  private static final int MAX = 255;
  private static final int RED = 0;
  private static final int GREEN = 1;
  private static final int BLUE = 2;
  private static final int BLACK = 3;

  private PillowColours() {}

  /**
   * Grey is replicated, alpha dropped, palettes are looked up, CMYK goes through Pillow's formula.
   * Of 16-bit samples the upper byte counts; but plain 16-bit grey is cut at 255, as in Pillow.
   *
   * @throws IIOException when the samples are wider than 16 bits or of another colour space
   */
  static RgbImage ofImage(BufferedImage image) throws IIOException {
    Raster raster = image.getRaster();
    ColorModel colours = image.getColorModel();
    if (colours instanceof IndexColorModel palette) {
      return eachPixel(raster, pixel -> lookUp(palette, pixel));
    }
    int bits = colours.getComponentSize(0);
    int space = colours.getColorSpace().getType();
    boolean grey = space == ColorSpace.TYPE_GRAY;
    if (bits > 16 || !(grey || space == ColorSpace.TYPE_RGB || space == ColorSpace.TYPE_CMYK)) {
      throw new IIOException(
          "samples of %d bits in colour space type %d are not supported".formatted(bits, space));
    }
    boolean cutAt255 = grey && bits > 8 && !colours.hasAlpha();
    return eachPixel(
        raster,
        pixel -> {
          for (int band = 0; band < colours.getNumComponents(); band++) {
            int levels = (1 << colours.getComponentSize(band)) - 1;
            pixel[band] = cutAt255 ? Math.min(pixel[band], MAX) : toByte(pixel[band], levels);
          }
          if (grey) {
            pixel[GREEN] = pixel[RED];
            pixel[BLUE] = pixel[RED];
          } else if (space == ColorSpace.TYPE_CMYK) {
            cmykToRgb(pixel);
          } else if (colours.isAlphaPremultiplied()) {
            divideByAlpha(pixel);
          }
        });
  }

  /**
   * Components of a JPEG file as libjpeg and Pillow turn them into RGB. CMYK is taken for inverted,
   * which is how Adobe's programs and Pillow write it.
   *
   * @param raster components as stored, upsampled
   * @throws IIOException when the number of components is not 1, 3 or 4
   */
  static RgbImage ofJpeg(Raster raster, Colours colours) throws IIOException {
    int bands = raster.getNumBands();
    return switch (colours) {
      case GREY ->
          eachPixel(
              raster,
              pixel -> {
                pixel[GREEN] = pixel[RED];
                pixel[BLUE] = pixel[RED];
              });
      case RGB -> eachPixel(raster, pixel -> {});
      case YCC -> eachPixel(raster, PillowColours::yccToRgb);
      case CMYK ->
          eachPixel(
              raster,
              pixel -> {
                for (int band = 0; band <= BLACK; band++) {
                  pixel[band] = MAX - pixel[band];
                }
                cmykToRgb(pixel);
              });
      case YCCK ->
          eachPixel(
              raster,
              pixel -> {
                yccToRgb(pixel); // gives inverted CMY, inverted
                pixel[BLACK] = MAX - pixel[BLACK];
                cmykToRgb(pixel);
              });
      case OTHER -> throw new IIOException(bands + " components are not supported");
    };
  }

  /** Changes the bands of one pixel, of which there are at least 4, in place: first 3 to RGB. */
  private interface PixelConversion {
    void apply(int[] pixel);
  }

  private static RgbImage eachPixel(Raster raster, PixelConversion conversion) {
    int width = raster.getWidth();
    int height = raster.getHeight();
    int bands = raster.getNumBands();
    byte[] samples = new byte[Math.multiplyExact(width * RgbImage.CHANNELS, height)];
    int[] row = new int[width * bands];
    int[] pixel = new int[Math.max(bands, BLACK + 1)];
    int to = 0;
    for (int y = 0; y < height; y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        System.arraycopy(row, x * bands, pixel, 0, bands);
        conversion.apply(pixel);
        samples[to++] = (byte) pixel[RED];
        samples[to++] = (byte) pixel[GREEN];
        samples[to++] = (byte) pixel[BLUE];
      }
    }
    return new RgbImage(width, height, samples);
  }

  private static void lookUp(IndexColorModel palette, int[] pixel) {
    int index = Math.min(pixel[0], palette.getMapSize() - 1);
    pixel[RED] = palette.getRed(index);
    pixel[GREEN] = palette.getGreen(index);
    pixel[BLUE] = palette.getBlue(index);
  }

  private static int toByte(int level, int levels) {
    if (levels == MAX) {
      return level;
    }
    return levels > MAX ? level >> 8 : level * MAX / levels;
  }

  private static void divideByAlpha(int[] pixel) {
    int alpha = pixel[3];
    for (int band = RED; band <= BLUE; band++) {
      pixel[band] = alpha == 0 ? 0 : Math.min(MAX, pixel[band] * MAX / alpha);
    }
  }

  private static void cmykToRgb(int[] pixel) {
    int light = MAX - pixel[BLACK];
    for (int band = RED; band <= BLUE; band++) {
      int product = pixel[band] * light + 128;
      pixel[band] = clamp(light - (((product >> 8) + product) >> 8));
    }
  }

  /** Fixed-point factors of libjpeg's {@code jdcolor.c}. */
  private static void yccToRgb(int[] pixel) {
    int luminance = pixel[0];
    int cb = pixel[1] - 128;
    int cr = pixel[2] - 128;
    int half = 1 << 15;
    pixel[RED] = clamp(luminance + ((91881 * cr + half) >> 16));
    pixel[GREEN] = clamp(luminance + ((-22554 * cb - 46802 * cr + half) >> 16));
    pixel[BLUE] = clamp(luminance + ((116130 * cb + half) >> 16));
  }

  private static int clamp(int level) {
    return Math.max(0, Math.min(MAX, level));
  }
}
