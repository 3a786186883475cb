package io.sinklens.preprocessing;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;

/**
 * How much there is to decode in a JPEG stream: readers go over all its pixels in every scan.
 *
 * @param width of the largest frame, 0 when there is none
 * @param height of the largest frame, 0 when there is none
 * @param scans at least 1
 * @param bytes of the stream up to its end marker
 */
record JpegSize(int width, int height, int scans, int bytes) {
  private static final int END = 0xd9;
  private static final int SCAN = 0xda;

  /** Reads a stream from a buffer's position to its end marker, or as far as it goes. */
  static JpegSize read(ByteBuffer stream) {
    ByteBuffer buffer = stream.slice();
    int width = 0;
    int height = 0;
    int scans = 0;
    try {
      for (int marker = JpegHeader.nextMarker(buffer);
          marker != END;
          marker = JpegHeader.nextMarker(buffer)) {
        if (standsAlone(marker)) {
          continue;
        }
        int length = buffer.getShort(buffer.position()) & 0xffff;
        if (JpegHeader.isFrame(marker)) {
          int nextHeight = buffer.getShort(buffer.position() + 3) & 0xffff;
          int nextWidth = buffer.getShort(buffer.position() + 5) & 0xffff;
          if ((long) nextWidth * nextHeight > (long) width * height) {
            width = nextWidth;
            height = nextHeight;
          }
        } else if (marker == SCAN) {
          scans++;
        }
        buffer.position(Math.min(buffer.limit(), buffer.position() + length));
      }
    } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
      // Truncated: the reader of the pixels says so.
    }
    return new JpegSize(width, height, Math.max(1, scans), buffer.position());
  }

  /** Pixels times scans. */
  long visits() {
    return (long) width * height * scans;
  }

  /** Markers without content: start of image, restarts, and one for temporary use. */
  private static boolean standsAlone(int marker) {
    return (marker >= 0xd0 && marker <= 0xd8) || marker == 1;
  }
}
