package io.sinklens.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Writes zip files as torch does, wrong ones too: stored entries whose data is aligned. */
final class RawTorchFile {
  private static final int ALIGNMENT = 64;
  private static final long SATURATED = 0xffffffffL;

  private final List<Entry> entries = new ArrayList<>();
  private int shift;

  private record Entry(String name, ByteBuffer bytes, long size) {}

  /** A file with a pickle, as the first entry, and nothing else yet. */
  static RawTorchFile of(byte[] pickle) {
    return new RawTorchFile().entry("archive/data.pkl", pickle);
  }

  RawTorchFile entry(String name, byte... bytes) {
    entries.add(new Entry(name, ByteBuffer.wrap(bytes), bytes.length));
    return this;
  }

  /** A sound file of float32 tensors of one dimension. */
  static RawTorchFile of(Map<String, float[]> tensors) {
    RawPickle pickle = new RawPickle().op("}");
    RawTorchFile storages = new RawTorchFile();
    tensors.forEach(
        (name, values) -> {
          String key = Integer.toString(storages.entries.size());
          long[] shape = {values.length};
          RawPickle storage = new RawPickle().floats(key, values.length);
          pickle.text(name).tensor(storage, 0, shape, new long[] {1}).op("s");
          storages.floats(key, values);
        });
    RawTorchFile file = of(pickle.end());
    file.entries.addAll(storages.entries);
    return file;
  }

  /** Lays all data so many bytes behind where it belongs. */
  RawTorchFile shifted(int bytes) {
    shift = bytes;
    return this;
  }

  /** A storage of float32. */
  RawTorchFile floats(String key, float... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return entry("archive/data/" + key, bytes.array());
  }

  /** A storage of zeros that takes no room on disk, then some bytes at its end. */
  RawTorchFile sparse(String key, long size, byte... end) {
    entries.add(new Entry("archive/data/" + key, ByteBuffer.wrap(end), size));
    return this;
  }

  /** Where the directory of a whole file has an entry. */
  static int directoryEntry(ByteBuffer file, String name) {
    ByteBuffer wanted = ByteBuffer.wrap(name.getBytes(StandardCharsets.UTF_8));
    for (int at = file.limit() - wanted.limit(); at >= 46; at--) {
      boolean isHere = file.slice(at, wanted.limit()).equals(wanted);
      if (isHere && file.getInt(at - 46) == 0x02014b50) {
        return at - 46;
      }
    }
    throw new IllegalArgumentException("No entry " + name);
  }

  Path write(Path file) {
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      List<ByteBuffer> directory = new ArrayList<>();
      for (Entry entry : entries) {
        long begin = channel.position();
        channel.write(local(entry, begin));
        channel.position(channel.position() + entry.size - entry.bytes.remaining());
        channel.write(entry.bytes.duplicate());
        directory.add(central(entry, begin));
      }
      long begin = channel.position();
      for (ByteBuffer entry : directory) {
        channel.write(entry);
      }
      channel.write(ends(begin, channel.position()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return file;
  }

  private ByteBuffer local(Entry entry, long begin) {
    byte[] name = entry.name.getBytes(StandardCharsets.UTF_8);
    int unpadded = (int) ((begin + 30 + name.length + 4) % ALIGNMENT);
    int padding = 4 + (ALIGNMENT - unpadded) % ALIGNMENT + shift;
    return little(30 + name.length + padding)
        .putInt(0x04034b50)
        .putShort((short) 0)
        .putShort((short) 0x808)
        .position(26)
        .putShort((short) name.length)
        .putShort((short) padding)
        .put(name)
        .putShort((short) 0x4246)
        .putShort((short) (padding - 4))
        .rewind();
  }

  private static ByteBuffer central(Entry entry, long begin) {
    byte[] name = entry.name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer extra = little(4 + 3 * Long.BYTES).putShort((short) 1).putShort((short) 0);
    if (entry.size >= SATURATED) {
      extra.putLong(entry.size).putLong(entry.size);
    }
    if (begin >= SATURATED) {
      extra.putLong(begin);
    }
    extra.flip().putShort(2, (short) (extra.limit() - 4));
    return little(46 + name.length + extra.limit())
        .putInt(0x02014b50)
        .putInt(0)
        .putShort((short) 0x808)
        .position(20)
        .putInt((int) Math.min(entry.size, SATURATED))
        .putInt((int) Math.min(entry.size, SATURATED))
        .putShort((short) name.length)
        .putShort((short) extra.limit())
        .position(42)
        .putInt((int) Math.min(begin, SATURATED))
        .put(name)
        .put(extra)
        .rewind();
  }

  /** The zip64 end, what leads to it, and the end, all of which torch always writes. */
  private ByteBuffer ends(long begin, long end) {
    int count = entries.size();
    return little(56 + 20 + 22)
        .putInt(0x06064b50)
        .putLong(44)
        .position(24)
        .putLong(count)
        .putLong(count)
        .putLong(end - begin)
        .putLong(begin)
        .putInt(0x07064b50)
        .putInt(0)
        .putLong(end)
        .putInt(1)
        .putInt(0x06054b50)
        .putInt(0)
        .putShort((short) count)
        .putShort((short) count)
        .putInt((int) (end - begin))
        .putInt((int) Math.min(begin, SATURATED))
        .putShort((short) 0)
        .rewind();
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
