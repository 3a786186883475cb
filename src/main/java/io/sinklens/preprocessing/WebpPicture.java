package io.sinklens.preprocessing;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import javax.imageio.IIOException;

/**
 * The compressed picture in the first frame of a WebP file. It says its own size, whatever canvas
 * and frame say, and readers believe the picture.
 *
 * @param width pixels in a row
 * @param height rows
 * @param lossy whether it is VP8, which takes much memory to decode, or VP8L
 */
record WebpPicture(int width, int height, boolean lossy) {
  private static final int ANIMATED = 2;
  private static final int FRAME_HEADER = 16;
  private static final int LOSSLESS_HEADER = 5;
  private static final int COMPRESSED_ALPHA = 1;

  /**
   * Finds the picture.
   *
   * @throws IIOException when there is not exactly one, or its pixels would be gone over more often
   *     than the format allows
   */
  static WebpPicture of(byte[] file) throws IIOException {
    try {
      return inFirstFrame(file);
    } catch (IndexOutOfBoundsException | ArithmeticException e) {
      throw new IIOException("truncated", e);
    }
  }

  private static WebpPicture inFirstFrame(byte[] file) throws IIOException {
    ByteBuffer webp = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int first = 12;
    if (!name(webp, first).equals("VP8X")) {
      return in(webp, first, first + 1);
    }
    if ((webp.get(first + 8) & ANIMATED) == 0) {
      return in(webp, next(webp, first), webp.getInt(4) + 8L);
    }
    int frame = first;
    while (!name(webp, frame).equals("ANMF")) {
      frame = next(webp, frame);
    }
    return in(webp, frame + 8 + FRAME_HEADER, frame + 8 + length(webp, frame));
  }

  /** The picture among the chunks that begin between two places. */
  private static WebpPicture in(ByteBuffer webp, int from, long to) throws IIOException {
    WebpPicture picture = null;
    int alpha = 0; // its place
    for (int chunk = from; chunk < to; chunk = next(webp, chunk)) {
      String name = name(webp, chunk);
      boolean lossy = name.equals("VP8 ");
      if (lossy || name.equals("VP8L")) {
        if (picture != null) {
          throw new IIOException("more than one picture in a frame");
        }
        picture = lossy ? lossy(webp, chunk + 8) : lossless(webp, chunk + 8);
      } else if (name.equals("ALPH")) {
        if (alpha != 0) {
          throw new IIOException("more than one alpha channel in a frame");
        }
        alpha = chunk + 8;
      }
    }
    if (picture == null) {
      throw new IIOException("no picture in the frame");
    }
    if (alpha != 0 && (webp.get(alpha) & 3) == COMPRESSED_ALPHA) {
      LosslessTransforms.requireEachOnce(
          webp.duplicate().position(alpha + 1), picture.width, picture.height);
    }
    return picture;
  }

  private static WebpPicture lossy(ByteBuffer webp, int data) {
    return new WebpPicture(
        webp.getShort(data + 6) & 0x3fff, webp.getShort(data + 8) & 0x3fff, true);
  }

  private static WebpPicture lossless(ByteBuffer webp, int data) throws IIOException {
    int size = webp.getInt(data + 1);
    WebpPicture picture = new WebpPicture(1 + (size & 0x3fff), 1 + (size >>> 14 & 0x3fff), false);
    LosslessTransforms.requireEachOnce(
        webp.duplicate().position(data + LOSSLESS_HEADER), picture.width, picture.height);
    return picture;
  }

  /** Refuses a picture of another size than the frame around it. */
  void requireSize(int frameWidth, int frameHeight) throws IIOException {
    if (width != frameWidth || height != frameHeight) {
      throw new IIOException(
          "a frame of %d x %d holds a picture of %d x %d"
              .formatted(frameWidth, frameHeight, width, height));
    }
  }

  private static int next(ByteBuffer webp, int chunk) {
    long length = length(webp, chunk);
    return Math.toIntExact(chunk + 8 + length + (length & 1));
  }

  private static long length(ByteBuffer webp, int chunk) {
    return webp.getInt(chunk + 4) & 0xffffffffL;
  }

  private static String name(ByteBuffer webp, int chunk) {
    byte[] letters = new byte[4];
    webp.get(chunk, letters);
    return new String(letters, StandardCharsets.ISO_8859_1);
  }
}
