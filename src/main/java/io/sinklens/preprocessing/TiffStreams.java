package io.sinklens.preprocessing;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import javax.imageio.IIOException;

/**
 * The JPEG streams inside the first page of a TIFF file. Each says its own size, whatever the
 * directory says, and readers believe the stream.
 */
final class TiffStreams {
  private static final int COMPRESSION = 259;
  private static final int STRIP_OFFSETS = 273;
  private static final int TILE_OFFSETS = 324;
  private static final int JPEG_OFFSET = 513;
  private static final int OLD_JPEG = 6;
  private static final int JPEG = 7;
  private static final int SHORT = 3;
  private static final int LONG = 4;
  private static final int ENTRY_BYTES = 12;

  /** Streams may be shared, but not so that reading them all would take for ever. */
  private static final int MAX_OVERLAP = 4;

  private final ByteBuffer file;
  private final Map<Integer, Integer> entries = new HashMap<>(); // places, by tag

  private TiffStreams(byte[] bytes) {
    file = ByteBuffer.wrap(bytes);
    file.order(bytes[0] == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    int directory = file.getInt(4);
    int count = file.getShort(directory) & 0xffff;
    for (int i = 0; i < count; i++) {
      int place = directory + 2 + i * ENTRY_BYTES;
      entries.putIfAbsent(file.getShort(place) & 0xffff, place);
    }
  }

  /**
   * The largest stream, and the pixels times scans of all.
   *
   * @param largest none has more pixels
   * @param visits of all streams together
   */
  record Total(JpegSize largest, long visits) {}

  /**
   * Adds up the streams of a file.
   *
   * @throws IIOException when they lie outside the file, or across each other
   */
  static Total of(byte[] file) throws IIOException {
    try {
      return new TiffStreams(file).total();
    } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
      throw new IIOException("its directory lies outside the file", e);
    }
  }

  private Total total() throws IIOException {
    JpegSize largest = new JpegSize(0, 0, 1, 0);
    long visits = 0;
    long read = 0;
    long[] compression = values(COMPRESSION);
    if (compression.length > 0 && (compression[0] == JPEG || compression[0] == OLD_JPEG)) {
      Map<Long, JpegSize> sizes = new HashMap<>();
      for (int tag : new int[] {STRIP_OFFSETS, TILE_OFFSETS, JPEG_OFFSET}) {
        for (long offset : values(tag)) {
          JpegSize size = sizes.get(offset);
          if (size == null) {
            size = size(offset);
            sizes.put(offset, size);
            read += size.bytes();
            if (read > (long) MAX_OVERLAP * file.limit()) {
              throw new IIOException("its JPEG streams lie across each other");
            }
          }
          visits += size.visits();
          if (size.visits() > largest.visits()) {
            largest = size;
          }
        }
      }
    }
    return new Total(largest, visits);
  }

  private JpegSize size(long offset) throws IIOException {
    if (offset > file.limit()) {
      throw new IIOException("a JPEG stream lies outside the file");
    }
    return JpegSize.read(file.duplicate().position((int) offset));
  }

  /** The values of an entry; none when it is missing. */
  private long[] values(int tag) throws IIOException {
    Integer place = entries.get(tag);
    if (place == null) {
      return new long[0];
    }
    int type = file.getShort(place + 2);
    if (type != SHORT && type != LONG) {
      throw new IIOException("tag %d is of type %d".formatted(tag, type));
    }
    int bytes = type == SHORT ? Short.BYTES : Integer.BYTES;
    long count = file.getInt(place + 4) & 0xffffffffL;
    long from = count * bytes <= Integer.BYTES ? place + 8 : file.getInt(place + 8) & 0xffffffffL;
    if (from + count * bytes > file.limit()) {
      throw new IIOException("tag %d has %d values, more than the file".formatted(tag, count));
    }
    long[] values = new long[(int) count];
    for (int i = 0; i < values.length; i++) {
      int at = (int) from + i * bytes;
      values[i] = type == SHORT ? file.getShort(at) & 0xffff : file.getInt(at) & 0xffffffffL;
    }
    return values;
  }
}
