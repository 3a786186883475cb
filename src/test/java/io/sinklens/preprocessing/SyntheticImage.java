package io.sinklens.preprocessing;

import java.util.zip.CRC32;

/** A picture that any language makes in one line, for comparison with numbers made elsewhere. */
final class SyntheticImage {
  private SyntheticImage() {}

  /** Level {@code (7x + 13y + 61c + ((x * y) mod 31)) mod 256} at column x, row y, channel c. */
  static RgbImage of(int width, int height) {
    byte[] samples = new byte[width * height * RgbImage.CHANNELS];
    int to = 0;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        for (int channel = 0; channel < RgbImage.CHANNELS; channel++) {
          samples[to++] = (byte) (7 * x + 13 * y + 61 * channel + x * y % 31);
        }
      }
    }
    return new RgbImage(width, height, samples);
  }

  static String crc(RgbImage image) {
    CRC32 crc = new CRC32();
    crc.update(image.samples());
    return "%08x".formatted(crc.getValue());
  }
}
