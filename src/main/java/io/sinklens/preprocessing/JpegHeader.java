package io.sinklens.preprocessing;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * What stands before the first scan of a JPEG file and decides its colours.
 *
 * @param colours what the components mean, by the rules of libjpeg
 * @param exif the EXIF block, with its prefix; empty when there is none
 */
@SuppressWarnings("ArrayRecordComponent") // A local of one decoding.
record JpegHeader(Colours colours, byte[] exif) {
  private static final int NO_ADOBE_MARKER = -1;

  /** What the components of a JPEG file mean. */
  enum Colours {
    GREY,
    RGB,
    YCC,
    CMYK,
    YCCK,
    /** A number of components that no reader of ours understands. */
    OTHER
  }

  /**
   * Reads the segments up to the first scan.
   *
   * @param file starts as a JPEG file does
   * @return what could be read; {@link Colours#OTHER} when there is no frame
   */
  static JpegHeader read(byte[] file) {
    ByteBuffer buffer = ByteBuffer.wrap(file);
    byte[] exif = {};
    byte[] components = {}; // their ids
    boolean jfif = false;
    int adobeTransform = NO_ADOBE_MARKER;
    try {
      buffer.position(2);
      int marker = nextMarker(buffer);
      while (marker != 0xda && marker != 0xd9) {
        int length = (buffer.getShort() & 0xffff) - 2;
        if (length < 0 || length > buffer.remaining()) {
          break;
        }
        ByteBuffer segment = buffer.slice(buffer.position(), length);
        if (marker == 0xe0 && startsWith(segment, "JFIF\0")) {
          jfif = true;
        } else if (marker == 0xe1 && exif.length == 0 && startsWith(segment, "Exif\0")) {
          exif = new byte[length];
          segment.get(exif);
        } else if (marker == 0xee && length >= 12 && startsWith(segment, "Adobe")) {
          adobeTransform = segment.get(11) & 0xff;
        } else if (isFrame(marker)) {
          components = new byte[segment.get(5) & 0xff];
          for (int i = 0; i < components.length; i++) {
            components[i] = segment.get(6 + 3 * i);
          }
        }
        buffer.position(buffer.position() + length);
        marker = nextMarker(buffer);
      }
    } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
      // Truncated: the reader of the pixels says so.
    }
    return new JpegHeader(colours(components, jfif, adobeTransform), exif);
  }

  private static Colours colours(byte[] components, boolean jfif, int adobeTransform) {
    return switch (components.length) {
      case 1 -> Colours.GREY;
      case 3 -> {
        boolean namedRgb = components[0] == 'R' && components[1] == 'G' && components[2] == 'B';
        boolean rgb = adobeTransform == NO_ADOBE_MARKER ? namedRgb : adobeTransform == 0;
        yield rgb && !jfif ? Colours.RGB : Colours.YCC;
      }
      case 4 -> adobeTransform > 0 ? Colours.YCCK : Colours.CMYK;
      default -> Colours.OTHER;
    };
  }

  /** Skips filling and garbage up to the next marker, and the marker. */
  static int nextMarker(ByteBuffer buffer) {
    int previous = 0;
    while (true) {
      int current = buffer.get() & 0xff;
      if (previous == 0xff && current != 0xff && current != 0) {
        return current;
      }
      previous = current;
    }
  }

  /** SOF0 to SOF15, but for three that are something else. */
  static boolean isFrame(int marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
  }

  private static boolean startsWith(ByteBuffer segment, String prefix) {
    byte[] start = new byte[Math.min(prefix.length(), segment.remaining())];
    segment.get(0, start);
    return new String(start, StandardCharsets.ISO_8859_1).equals(prefix);
  }
}
