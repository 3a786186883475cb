package io.sinklens.preprocessing;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Optional;

/** The image file formats that are read, told apart by how a file starts. */
enum ImageFormat {
  JPEG("jpeg"),
  PNG("png"),
  GIF("gif"),
  WEBP("webp"),
  BMP("bmp"),
  TIFF("tiff");

  private static final int SHOWN_BYTES = 16;

  private final String imageIoName;

  ImageFormat(String imageIoName) {
    this.imageIoName = imageIoName;
  }

  /** The name under which ImageIO readers announce the format. */
  String imageIoName() {
    return imageIoName;
  }

  /** The format of a file's bytes, or none when it is no image that is read. */
  static Optional<ImageFormat> of(byte[] file) {
    if (startsWith(file, "\u00ff\u00d8\u00ff")) {
      return Optional.of(JPEG);
    }
    if (startsWith(file, "\u0089PNG\r\n\u001a\n")) {
      return Optional.of(PNG);
    }
    if (startsWith(file, "GIF87a") || startsWith(file, "GIF89a")) {
      return Optional.of(GIF);
    }
    if (startsWith(file, "RIFF") && latin1(file, 8, 4).equals("WEBP")) {
      return Optional.of(WEBP);
    }
    if (startsWith(file, "BM")) {
      return Optional.of(BMP);
    }
    if (startsWith(file, "II*\0") || startsWith(file, "MM\0*")) {
      return Optional.of(TIFF);
    }
    return Optional.empty();
  }

  /** The first bytes of a file, as text where they are text, otherwise in hexadecimal. */
  static String opening(byte[] file) {
    String start = latin1(file, 0, SHOWN_BYTES);
    boolean text = start.chars().allMatch(c -> (c >= ' ' && c < 0x7f) || Character.isWhitespace(c));
    return text
        ? "\"%s\"".formatted(start.strip().replaceAll("\\s+", " "))
        : HexFormat.of().formatHex(file, 0, Math.min(SHOWN_BYTES, file.length));
  }

  private static boolean startsWith(byte[] file, String magic) {
    return latin1(file, 0, magic.length()).equals(magic);
  }

  private static String latin1(byte[] file, int start, int length) {
    int from = Math.min(start, file.length);
    return new String(
        file, from, Math.min(length, file.length - from), StandardCharsets.ISO_8859_1);
  }
}
