package io.sinklens.preprocessing;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * How a camera was held: reads the orientation of an image file's EXIF block and turns the image
 * upright. Like Pillow, takes what cannot be read for upright; unlike Pillow, never looks into XMP.
 */
final class Orientation {
  /** The value of an image that is stored as it is to be seen. */
  static final int UPRIGHT = 1;

  private static final int TAG = 0x0112;
  private static final int SHORT = 3;
  private static final byte[] EXIF_PREFIX = "Exif\0\0".getBytes(StandardCharsets.ISO_8859_1);

  private Orientation() {}

  /** The orientation in a file, from 1 (upright) to 8. */
  static int of(byte[] file, ImageFormat format) {
    try {
      return switch (format) {
        case JPEG -> inTiff(JpegHeader.read(file).exif());
        case PNG -> inTiff(pngExif(ByteBuffer.wrap(file)));
        case WEBP -> inTiff(webpExif(ByteBuffer.wrap(file)));
        case TIFF -> inTiff(file);
        case GIF, BMP -> UPRIGHT;
      };
    } catch (BufferUnderflowException | IndexOutOfBoundsException | IllegalArgumentException e) {
      return UPRIGHT; // a broken block: java.nio says so in these ways
    }
  }

  private static byte[] pngExif(ByteBuffer file) {
    file.position(8);
    while (file.remaining() >= 12) {
      int length = file.getInt();
      int type = file.getInt();
      if (type == fourLetters("eXIf")) {
        return bytes(file, length);
      }
      file.position(file.position() + length + 4); // and the checksum
    }
    return new byte[0];
  }

  private static byte[] webpExif(ByteBuffer file) {
    file.position(12);
    while (file.remaining() >= 8) {
      int type = file.getInt();
      int length = Integer.reverseBytes(file.getInt());
      if (type == fourLetters("EXIF")) {
        return bytes(file, length);
      }
      file.position(file.position() + length + (length & 1));
    }
    return new byte[0];
  }

  private static int fourLetters(String letters) {
    return ByteBuffer.wrap(letters.getBytes(StandardCharsets.ISO_8859_1)).getInt();
  }

  private static byte[] bytes(ByteBuffer buffer, int length) {
    byte[] bytes = new byte[Math.min(Math.max(0, length), buffer.remaining())];
    buffer.get(bytes);
    return bytes;
  }

  /** Reads the first directory of a TIFF structure, with or without the prefix of EXIF blocks. */
  private static int inTiff(byte[] block) {
    int start = 0;
    if (block.length >= EXIF_PREFIX.length
        && Arrays.equals(Arrays.copyOf(block, EXIF_PREFIX.length), EXIF_PREFIX)) {
      start = EXIF_PREFIX.length;
    }
    if (block.length < start + 8) {
      return UPRIGHT;
    }
    ByteBuffer tiff = ByteBuffer.wrap(block, start, block.length - start).slice();
    tiff.order(tiff.get(0) == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    tiff.position(tiff.getInt(4));
    int entries = tiff.getShort() & 0xffff;
    for (int entry = 0; entry < entries; entry++) {
      int tag = tiff.getShort() & 0xffff;
      int type = tiff.getShort();
      tiff.getInt(); // count
      int value = tiff.getShort();
      tiff.getShort();
      if (tag == TAG) {
        return type == SHORT && value >= 1 && value <= 8 ? value : UPRIGHT;
      }
    }
    return UPRIGHT;
  }

  /** The image as it is to be seen; orientations from 5 on swap width and height. */
  static RgbImage upright(RgbImage image, int orientation) {
    if (orientation == UPRIGHT) {
      return image;
    }
    boolean swapped = orientation >= 5;
    int width = swapped ? image.height() : image.width();
    int height = swapped ? image.width() : image.height();
    byte[] samples = new byte[image.samples().length];
    int to = 0;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int fromX = swapped ? y : x;
        int fromY = swapped ? x : y;
        if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
          fromX = image.width() - 1 - fromX;
        }
        if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
          fromY = image.height() - 1 - fromY;
        }
        int from = (fromY * image.width() + fromX) * RgbImage.CHANNELS;
        samples[to++] = image.samples()[from];
        samples[to++] = image.samples()[from + 1];
        samples[to++] = image.samples()[from + 2];
      }
    }
    return new RgbImage(width, height, samples);
  }
}
