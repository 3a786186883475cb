package io.sinklens.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The directory of a zip file whose entries are stored as they are, as torch writes them.
 *
 * <p>Entries can then be used in place. Compression, encryption, parts, comments and text around
 * the archive are refused, as are entries that share bytes. Sizes beyond 4 GiB (zip64) are
 * understood. The directory is read at once and bounded; an entry's data never is.
 *
 * <p>Source: PKWARE's APPNOTE 6.3.10; every number is little-endian.
 */
final class StoredZip {
  private static final int MAX_DIRECTORY_BYTES = 16 << 20;

  private static final int LOCAL_SIGNATURE = 0x04034b50;
  private static final int LOCAL_BYTES = 30;
  private static final int ENTRY_SIGNATURE = 0x02014b50;
  private static final int ENTRY_BYTES = 46;
  private static final int END_SIGNATURE = 0x06054b50;
  private static final int END_BYTES = 22;
  private static final int LOCATOR_SIGNATURE = 0x07064b50;
  private static final int LOCATOR_BYTES = 20;
  private static final int WIDE_END_SIGNATURE = 0x06064b50;
  private static final int WIDE_END_BYTES = 56;
  private static final int WIDE_SIZES = 1; // The extra field that holds what 32 bits do not.

  private final Path file;
  private final FileChannel channel;

  private StoredZip(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * An entry.
   *
   * @param name as the directory spells it
   * @param headerBegin where its local header begins in the zip file
   * @param begin where its data begins
   * @param end offset after its data
   */
  record Entry(String name, long headerBegin, long begin, long end) {
    long bytes() {
      return end - begin;
    }
  }

  /** Where the directory lies and what it must hold. */
  private record Directory(long entries, long bytes, long begin) {}

  /**
   * The entries by name.
   *
   * @throws IllegalArgumentException if the file is no such zip file
   */
  static SortedMap<String, Entry> entries(Path file, FileChannel channel) throws IOException {
    return new StoredZip(file, channel).entries();
  }

  private SortedMap<String, Entry> entries() throws IOException {
    Directory directory = directory();
    ByteBuffer bytes = read(directory.begin, (int) directory.bytes);
    SortedMap<String, Entry> entries = new TreeMap<>();
    while (bytes.hasRemaining()) {
      Entry entry = entry(bytes, directory.begin);
      if (entries.put(entry.name, entry) != null) {
        throw refusal("its zip directory has %s twice".formatted(shown(entry.name)));
      }
    }
    if (entries.size() != directory.entries) {
      throw refusal(
          "its zip directory announces %d entries and has %d"
              .formatted(directory.entries, entries.size()));
    }
    requireApart(entries);
    return Collections.unmodifiableSortedMap(entries);
  }

  private Directory directory() throws IOException {
    long endBegin = channel.size() - END_BYTES;
    ByteBuffer end = tail(endBegin, END_BYTES);
    if (end.getInt(0) != END_SIGNATURE || end.getShort(20) != 0) {
      throw refusal("it does not end with a zip directory; is it truncated?");
    }
    Directory narrow =
        new Directory(
            Short.toUnsignedLong(end.getShort(10)),
            Integer.toUnsignedLong(end.getInt(12)),
            Integer.toUnsignedLong(end.getInt(16)));
    long locatorBegin = endBegin - LOCATOR_BYTES;
    ByteBuffer locator = tail(locatorBegin, LOCATOR_BYTES);
    if (locator.getInt(0) != LOCATOR_SIGNATURE) {
      return checked(narrow, endBegin);
    }
    long wideBegin = locatorBegin - WIDE_END_BYTES;
    ByteBuffer wideEnd = tail(wideBegin, WIDE_END_BYTES);
    if (locator.getLong(8) != wideBegin || wideEnd.getInt(0) != WIDE_END_SIGNATURE) {
      throw refusal("its zip64 directory does not end where it should");
    }
    Directory wide = new Directory(wideEnd.getLong(32), wideEnd.getLong(40), wideEnd.getLong(48));
    boolean agrees =
        agrees(narrow.entries, wide.entries, 0xffff)
            && agrees(narrow.bytes, wide.bytes, 0xffffffffL)
            && agrees(narrow.begin, wide.begin, 0xffffffffL);
    if (!agrees) {
      throw refusal("the two ends of its zip directory contradict each other");
    }
    return checked(wide, wideBegin);
  }

  /** Zeros where the file has not as much. */
  private ByteBuffer tail(long begin, int length) throws IOException {
    return begin < 0 ? ByteBuffer.allocate(length) : read(begin, length);
  }

  private static boolean agrees(long narrow, long wide, long saturated) {
    return narrow == wide || narrow == saturated;
  }

  private Directory checked(Directory directory, long end) {
    if (directory.bytes < 0 || directory.bytes > MAX_DIRECTORY_BYTES) {
      throw refusal(
          "its zip directory has %s bytes, more than %d"
              .formatted(Long.toUnsignedString(directory.bytes), MAX_DIRECTORY_BYTES));
    }
    if (directory.begin != end - directory.bytes) {
      throw refusal(
          "its zip directory of %d bytes lies at byte %s, but it ends at %d"
              .formatted(directory.bytes, Long.toUnsignedString(directory.begin), end));
    }
    return directory;
  }

  /** Reads an entry of the directory and the local header it leads to. */
  private Entry entry(ByteBuffer bytes, long limit) throws IOException {
    if (bytes.remaining() < ENTRY_BYTES || bytes.getInt(bytes.position()) != ENTRY_SIGNATURE) {
      throw refusal("its zip directory is damaged");
    }
    ByteBuffer entry = bytes.slice(bytes.position(), ENTRY_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    int nameBytes = Short.toUnsignedInt(entry.getShort(28));
    int extraBytes = Short.toUnsignedInt(entry.getShort(30));
    int commentBytes = Short.toUnsignedInt(entry.getShort(32));
    bytes.position(bytes.position() + ENTRY_BYTES);
    if (bytes.remaining() < nameBytes + extraBytes + commentBytes) {
      throw refusal("its zip directory is damaged");
    }
    byte[] nameInUtf8 = new byte[nameBytes];
    bytes.get(nameInUtf8);
    String name = new String(nameInUtf8, StandardCharsets.UTF_8);
    ByteBuffer extra = bytes.slice(bytes.position(), extraBytes).order(ByteOrder.LITTLE_ENDIAN);
    bytes.position(bytes.position() + extraBytes + commentBytes);

    if ((entry.getShort(8) & 1) != 0) {
      throw refusal("its zip entry %s is encrypted".formatted(shown(name)));
    }
    if (entry.getShort(10) != 0) {
      throw refusal(
          "its zip entry %s is compressed (method %d), and torch.save compresses nothing"
              .formatted(shown(name), Short.toUnsignedInt(entry.getShort(10))));
    }
    // In the order of the extra field, which has only those that are saturated here.
    long[] sizesAndPlace = {
      Integer.toUnsignedLong(entry.getInt(24)),
      Integer.toUnsignedLong(entry.getInt(20)),
      Integer.toUnsignedLong(entry.getInt(42))
    };
    widen(sizesAndPlace, extra, name);
    if (sizesAndPlace[0] != sizesAndPlace[1]) {
      throw refusal("its zip entry %s has two sizes".formatted(shown(name)));
    }
    return placed(name, nameBytes, sizesAndPlace[2], sizesAndPlace[0], limit);
  }

  private void widen(long[] values, ByteBuffer extra, String name) {
    ByteBuffer wide = ByteBuffer.allocate(0);
    while (extra.remaining() >= 4) {
      int id = Short.toUnsignedInt(extra.getShort());
      int length = Math.min(Short.toUnsignedInt(extra.getShort()), extra.remaining());
      if (id == WIDE_SIZES) {
        wide = extra.slice(extra.position(), length).order(ByteOrder.LITTLE_ENDIAN);
      }
      extra.position(extra.position() + length);
    }
    for (int i = 0; i < values.length; i++) {
      if (values[i] == 0xffffffffL) {
        if (wide.remaining() < Long.BYTES) {
          throw refusal("its zip entry %s lacks its zip64 sizes".formatted(shown(name)));
        }
        values[i] = wide.getLong();
      }
    }
  }

  private Entry placed(String name, int nameBytes, long headerBegin, long size, long limit)
      throws IOException {
    if (headerBegin < 0 || headerBegin > limit - LOCAL_BYTES) {
      throw outside(name);
    }
    ByteBuffer local = read(headerBegin, LOCAL_BYTES);
    if (local.getInt(0) != LOCAL_SIGNATURE
        || local.getShort(8) != 0
        || Short.toUnsignedInt(local.getShort(26)) != nameBytes) {
      throw refusal("its zip entry %s is not where the directory says".formatted(shown(name)));
    }
    long begin = headerBegin + LOCAL_BYTES + nameBytes + Short.toUnsignedInt(local.getShort(28));
    if (size < 0 || begin > limit || size > limit - begin) {
      throw outside(name);
    }
    return new Entry(name, headerBegin, begin, begin + size);
  }

  private void requireApart(SortedMap<String, Entry> entries) {
    List<Entry> inOrder = new ArrayList<>(entries.values());
    inOrder.sort(Comparator.comparingLong(Entry::headerBegin));
    for (int i = 1; i < inOrder.size(); i++) {
      if (inOrder.get(i).headerBegin < inOrder.get(i - 1).end) {
        throw refusal(
            "its zip entries %s and %s overlap"
                .formatted(shown(inOrder.get(i - 1).name), shown(inOrder.get(i).name)));
      }
    }
  }

  private ByteBuffer read(long begin, int length) throws IOException {
    return ByteBuffer.wrap(SafetensorsHeader.bytes(channel, begin, length))
        .order(ByteOrder.LITTLE_ENDIAN);
  }

  private IllegalArgumentException outside(String name) {
    return refusal("its zip entry %s lies outside the file".formatted(shown(name)));
  }

  private static String shown(String name) {
    return StrictJson.shown(name);
  }

  private IllegalArgumentException refusal(String reason) {
    return StrictJson.refusal(file, reason);
  }
}
