package io.sinklens.preprocessing;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import javax.imageio.IIOException;

/**
 * Where the first frame of a GIF or WebP file lies on its canvas. Pillow gives the whole canvas.
 *
 * @param canvasWidth pixels in a row of the canvas, which grows when the frame is larger
 * @param canvasHeight rows of the canvas, which grows when the frame is larger
 * @param left of the frame's left edge
 * @param top of the frame's upper edge
 * @param background the palette index around the frame; without a palette it is black
 */
record FirstFrame(int canvasWidth, int canvasHeight, int left, int top, int background) {
  private static final int EXTENSION = 0x21;
  private static final int GRAPHIC_CONTROL = 0xf9;
  private static final int IMAGE = 0x2c;

  /** A still image: the frame is all there is. */
  private static final FirstFrame STILL = new FirstFrame(0, 0, 0, 0, 0);

  static FirstFrame ofGif(byte[] file) throws IIOException {
    ByteBuffer gif = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int flags = gif.get(10);
    gif.position(13 + ((flags & 0x80) == 0 ? 0 : RgbImage.CHANNELS << ((flags & 7) + 1)));
    int transparent = 0;
    int block = gif.get();
    while (block == EXTENSION) {
      if ((gif.get() & 0xff) == GRAPHIC_CONTROL && (gif.get(gif.position() + 1) & 1) == 1) {
        transparent = gif.get(gif.position() + 4) & 0xff;
      }
      for (int length = gif.get() & 0xff; length > 0; length = gif.get() & 0xff) {
        gif.position(gif.position() + length);
      }
      block = gif.get();
    }
    if (block != IMAGE) {
      throw new IIOException("no frame");
    }
    return new FirstFrame(
        gif.getShort(6) & 0xffff,
        gif.getShort(8) & 0xffff,
        gif.getShort() & 0xffff,
        gif.getShort() & 0xffff,
        transparent);
  }

  static FirstFrame ofWebp(byte[] file) throws IIOException {
    ByteBuffer webp = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    if ((webp.getInt(4) & 0xffffffffL) > file.length - 8) {
      throw new IIOException("truncated");
    }
    boolean animated = chunkName(webp, 12).equals("VP8X") && (webp.get(20) & 2) != 0;
    if (!animated) {
      return STILL;
    }
    int chunk = 12;
    while (!chunkName(webp, chunk).equals("ANMF")) {
      int length = webp.getInt(chunk + 4);
      chunk = Math.addExact(chunk, 8 + length + (length & 1));
    }
    return new FirstFrame(
        1 + threeBytes(webp, 24),
        1 + threeBytes(webp, 27),
        2 * threeBytes(webp, chunk + 8),
        2 * threeBytes(webp, chunk + 11),
        0);
  }

  private static String chunkName(ByteBuffer webp, int position) {
    byte[] letters = new byte[4];
    webp.get(position, letters);
    return new String(letters, StandardCharsets.ISO_8859_1);
  }

  private static int threeBytes(ByteBuffer webp, int position) {
    return (webp.getShort(position) & 0xffff) | (webp.get(position + 2) & 0xff) << 16;
  }

  /** Width of the canvas that holds a frame of this width. */
  int widthAround(int frameWidth) {
    return Math.max(canvasWidth, left + frameWidth);
  }

  /** Height of the canvas that holds a frame of this height. */
  int heightAround(int frameHeight) {
    return Math.max(canvasHeight, top + frameHeight);
  }

  RgbImage onCanvas(BufferedImage decoded) throws IIOException {
    RgbImage frame = PillowColours.ofImage(decoded);
    int width = widthAround(frame.width());
    int height = heightAround(frame.height());
    if (width == frame.width() && height == frame.height()) {
      return frame;
    }
    byte[] samples = new byte[Math.multiplyExact(width * RgbImage.CHANNELS, height)];
    if (decoded.getColorModel() instanceof IndexColorModel palette) {
      fill(samples, palette.getRGB(Math.min(background, palette.getMapSize() - 1)));
    }
    int rowLength = frame.width() * RgbImage.CHANNELS;
    for (int y = 0; y < frame.height(); y++) {
      System.arraycopy(
          frame.samples(),
          y * rowLength,
          samples,
          ((top + y) * width + left) * RgbImage.CHANNELS,
          rowLength);
    }
    return new RgbImage(width, height, samples);
  }

  private static void fill(byte[] samples, int rgb) {
    byte[] colour = {(byte) (rgb >> 16), (byte) (rgb >> 8), (byte) rgb};
    for (int i = 0; i < samples.length; i++) {
      samples[i] = colour[i % RgbImage.CHANNELS];
    }
  }
}
