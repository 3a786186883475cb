package io.sinklens.preprocessing;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Base64;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageDecoderTest {
  private static final int GREY = 0;
  private static final int RGB = 2;
  private static final int GREY_ALPHA = 4;
  private static final int RGB_ALPHA = 6;

  private final ImageDecoder decoder = new ImageDecoder(Exif.IGNORE);

  @Test
  void dropsAlphaWithoutBlending() throws RowFailedException {
    assertThat(decode(png(1, 1, 8, RGB_ALPHA, 10, 20, 30, 0))).containsExactly(10, 20, 30);
    assertThat(decode(png(1, 1, 8, GREY_ALPHA, 40, 0))).containsExactly(40, 40, 40);
  }

  @Test
  void takesGreyLevelsAsTheyAre() throws RowFailedException {
    assertThat(decode(png(1, 1, 8, GREY, 100))).containsExactly(100, 100, 100);
    assertThat(decode(png(1, 1, 4, GREY, 0x70))).containsExactly(7 * 17, 7 * 17, 7 * 17);
    assertThat(decode(png(1, 1, 1, GREY, 0x80))).containsExactly(255, 255, 255);
  }

  // As Pillow 13.0: I;16 is cut at 255, of other 16-bit samples the upper byte counts.
  @Test
  void takesSixteenBitsAsPillowDoes() throws RowFailedException {
    assertThat(decode(png(1, 1, 16, GREY, 0, 200))).containsExactly(200, 200, 200);
    assertThat(decode(png(1, 1, 16, GREY, 1, 0))).containsExactly(255, 255, 255);
    assertThat(decode(png(1, 1, 16, RGB, 1, 255, 2, 0, 3, 128))).containsExactly(1, 2, 3);
  }

  /** A frame of 2 x 1 pixels at column 1, row 2 of a canvas of 4 x 3, as Pillow shows it. */
  @Test
  void putsTheFirstGifFrameOnItsCanvas() throws RowFailedException {
    // Frame indices 0 and 1; index 0 around.
    byte[] gif =
        Base64.getDecoder().decode("R0lGODdhBAADAIEAAAkIBwoUHgAAAAAAACwBAAIAAgABAAAIBQABBAgIADs=");
    RgbImage image = decoder.decode(gif);
    assertThat(image.width()).isEqualTo(4);
    assertThat(redLevels(image)).isEqualTo("9 9 9 9 9 9 9 9 9 9 10 9");
  }

  /** A frame of 2 x 1 pixels at column 2, row 2 of a canvas of 5 x 4, as Pillow shows it. */
  @Test
  void putsTheFirstFrameOfAnAnimatedWebpOnItsCanvas() throws RowFailedException {
    byte[] webp =
        Base64.getDecoder()
            .decode(
                "UklGRoYAAABXRUJQVlA4WAoAAAACAAAABAAAAwAAQU5JTQYAAAAAAAAAAABBTk1GKgAAAAEAAAEAAAEA"
                    + "AAAAAAAAAAJWUDhMEQAAAC8BAAAAB1CKKtSj/4GI6H8AAEFOTUYoAAAAAAAAAAAAAQAAAAAAAAAA"
                    + "AFZQOEwPAAAALwEAAAAHEEWO/gciov8BAA==");
    RgbImage image = decoder.decode(webp);
    assertThat(image.width()).isEqualTo(5);
    assertThat(redLevels(image)).isEqualTo("0 0 0 0 0 0 0 0 0 0 0 0 10 10 0 0 0 0 0 0");
  }

  /** Turns a picture of 3 x 2 pixels, whose upper row is 1 2 3 and lower row 4 5 6. */
  @ParameterizedTest
  @CsvSource({
    "1, 3, 1 2 3 4 5 6",
    "2, 3, 3 2 1 6 5 4",
    "3, 3, 6 5 4 3 2 1",
    "4, 3, 4 5 6 1 2 3",
    "5, 2, 1 4 2 5 3 6",
    "6, 2, 4 1 5 2 6 3",
    "7, 2, 6 3 5 2 4 1",
    "8, 2, 3 6 2 5 1 4"
  })
  void turnsAnImageUprightWhenAsked(int orientation, int width, String levels)
      throws RowFailedException {
    byte[] file = pngWithOrientation(orientation);
    RgbImage stored = new ImageDecoder(Exif.IGNORE).decode(file);
    RgbImage upright = new ImageDecoder(Exif.APPLY).decode(file);
    assertThat(redLevels(stored)).isEqualTo("1 2 3 4 5 6");
    assertThat(upright.width()).isEqualTo(width);
    assertThat(redLevels(upright)).isEqualTo(levels);
  }

  @Test
  void takesAnImageWithABrokenOrientationForUpright() throws RowFailedException {
    assertThat(new ImageDecoder(Exif.APPLY).decode(pngWithOrientation(9)).width()).isEqualTo(3);
    byte[] broken = "II*\0\u00ff\u00ff\u00ff\u007f".getBytes(ISO_8859_1);
    byte[] file = png(1, 1, 8, GREY, chunk("eXIf", broken), new byte[] {7});
    assertThat(new ImageDecoder(Exif.APPLY).decode(file).width()).isEqualTo(1);
  }

  @Test
  void readsWithoutAContextClassLoader() throws RowFailedException {
    ClassLoader before = Thread.currentThread().getContextClassLoader();
    Thread.currentThread().setContextClassLoader(null);
    try {
      assertThat(decode(png(1, 1, 8, GREY, 3))).containsExactly(3, 3, 3);
    } finally {
      Thread.currentThread().setContextClassLoader(before);
    }
  }

  @Test
  void refusesAnImageAboveTheLimitFromItsHeader() {
    byte[] header = Arrays.copyOf(png(50_000, 50_000, 8, RGB), 45);
    requireFailure(
        header,
        FailureKind.IMAGE_TOO_LARGE,
        "Cannot decode the image: 50000 x 50000 pixels are more than the maximum of 100000000");
  }

  @Test
  void takesAnImageAtTheLimit() throws RowFailedException {
    byte[] file = png(1, 2, 8, GREY, 3, 0, 4); // a 0 before each row
    assertThat(new ImageDecoder(Exif.IGNORE, 2).decode(file).height()).isEqualTo(2);
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> new ImageDecoder(Exif.IGNORE, 1).decode(file))
        .withMessage("Cannot decode the image: 1 x 2 pixels are more than the maximum of 1");
  }

  @Test
  void saysWhatIsNoImage() {
    requireFailure(
        new byte[0], FailureKind.IMAGE_UNREADABLE, "Cannot decode the image: it is empty");
    requireFailure(
        "<!DOCTYPE html>\n<html>".getBytes(UTF_8),
        FailureKind.IMAGE_UNREADABLE,
        "Cannot decode the image: not an image: starts with \"<!DOCTYPE html>\"");
    requireFailure(
        new byte[] {0, 1, (byte) 0xfe},
        FailureKind.IMAGE_UNREADABLE,
        "Cannot decode the image: not an image: starts with 0001fe");
  }

  @ParameterizedTest
  @ValueSource(strings = {"jpg", "png", "gif", "bmp", "tiff"})
  void refusesTruncatedFiles(String format) throws IOException {
    byte[] file = written(format);
    for (int length : new int[] {file.length / 2, file.length * 3 / 4, 12, 3}) {
      assertThatExceptionOfType(RowFailedException.class)
          .as("%d of %d bytes", length, file.length)
          .isThrownBy(() -> decoder.decode(Arrays.copyOf(file, length)))
          .extracting(e -> e.failure().kind())
          .isEqualTo(FailureKind.IMAGE_UNREADABLE);
    }
  }

  @RepeatedTest(200)
  void answersOrRefusesDamagedFiles(RepetitionInfo repetition) throws IOException {
    Random random = new Random(repetition.getCurrentRepetition());
    String[] formats = {"jpg", "png", "gif", "bmp", "tiff"};
    byte[] file = written(formats[random.nextInt(formats.length)]);
    for (int damage = 0; damage < 5; damage++) {
      file[random.nextInt(file.length)] = (byte) random.nextInt(256);
    }
    try {
      assertThat(new ImageDecoder(Exif.APPLY, 1_000_000).decode(file)).isNotNull();
    } catch (RowFailedException e) {
      assertThat(e).hasMessageStartingWith("Cannot decode the image: ");
    }
  }

  private void requireFailure(byte[] file, FailureKind kind, String message) {
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> decoder.decode(file))
        .extracting(RowFailedException::failure)
        .isEqualTo(new Failure(kind, message));
  }

  private int[] decode(byte[] file) throws RowFailedException {
    RgbImage image = decoder.decode(file);
    int[] levels = new int[image.samples().length];
    Arrays.setAll(levels, i -> image.samples()[i] & 0xff);
    return levels;
  }

  private static String redLevels(RgbImage image) {
    StringBuilder levels = new StringBuilder();
    for (int i = 0; i < image.samples().length; i += RgbImage.CHANNELS) {
      levels.append(i == 0 ? "" : " ").append(image.samples()[i]);
    }
    return levels.toString();
  }

  private static byte[] written(String format) throws IOException {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    assertThat(ImageIO.write(buffered(SyntheticImage.of(60, 40)), format, file)).isTrue();
    return file.toByteArray();
  }

  private static BufferedImage buffered(RgbImage image) {
    var buffered = new BufferedImage(image.width(), image.height(), BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < image.height(); y++) {
      for (int x = 0; x < image.width(); x++) {
        int rgb = image.sample(x, y, 0) << 16 | image.sample(x, y, 1) << 8 | image.sample(x, y, 2);
        buffered.setRGB(x, y, rgb);
      }
    }
    return buffered;
  }

  /** A PNG file whose first row holds these bytes; a file of one byte after another, unfiltered. */
  private static byte[] png(int width, int height, int bits, int colourType, int... row) {
    byte[] bytes = new byte[row.length];
    for (int i = 0; i < row.length; i++) {
      bytes[i] = (byte) row[i];
    }
    return png(width, height, bits, colourType, new byte[0], bytes);
  }

  private static byte[] png(
      int width, int height, int bits, int colourType, byte[] extraChunk, byte[] row) {
    ByteBuffer header = ByteBuffer.allocate(13).putInt(width).putInt(height);
    header.put((byte) bits).put((byte) colourType).put(new byte[3]);
    byte[] filtered = new byte[row.length + 1];
    System.arraycopy(row, 0, filtered, 1, row.length);
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.writeBytes("\u0089PNG\r\n\u001a\n".getBytes(ISO_8859_1));
    file.writeBytes(chunk("IHDR", header.array()));
    file.writeBytes(extraChunk);
    file.writeBytes(chunk("IDAT", deflate(filtered)));
    file.writeBytes(chunk("IEND", new byte[0]));
    return file.toByteArray();
  }

  private static byte[] chunk(String type, byte[] content) {
    byte[] typed = new byte[4 + content.length];
    System.arraycopy(type.getBytes(ISO_8859_1), 0, typed, 0, 4);
    System.arraycopy(content, 0, typed, 4, content.length);
    CRC32 crc = new CRC32();
    crc.update(typed);
    return ByteBuffer.allocate(typed.length + 8)
        .putInt(content.length)
        .put(typed)
        .putInt((int) crc.getValue())
        .array();
  }

  private static byte[] deflate(byte[] content) {
    Deflater deflater = new Deflater();
    deflater.setInput(content);
    deflater.finish();
    byte[] compressed = new byte[100 + content.length];
    int length = deflater.deflate(compressed);
    deflater.end();
    return Arrays.copyOf(compressed, length);
  }

  private static byte[] pngWithOrientation(int orientation) {
    ByteBuffer exif = ByteBuffer.allocate(26).order(ByteOrder.BIG_ENDIAN);
    exif.put("MM\0*".getBytes(ISO_8859_1)).putInt(8).putShort((short) 1);
    exif.putShort((short) 0x0112).putShort((short) 3).putInt(1).putShort((short) orientation);
    byte[] rows = {1, 2, 3, 0, 4, 5, 6}; // a 0 before each row
    return png(3, 2, 8, GREY, chunk("eXIf", exif.array()), rows);
  }
}
