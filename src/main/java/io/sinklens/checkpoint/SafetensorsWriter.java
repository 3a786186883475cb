package io.sinklens.checkpoint;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.sinklens.tensor.Dtype;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;

/**
 * Writes named tensors to one safetensors file.
 *
 * <p>The file appears under its name only when it is complete and on disk.
 */
public final class SafetensorsWriter {
  private static final int CHUNK_ELEMENTS = 1 << 18;
  private static final int DATA_ALIGNMENT = 64;

  private SafetensorsWriter() {}

  /** Writes the elements of a tensor, all of them, in order. */
  interface Elements {
    void writeTo(FileChannel channel, String name) throws IOException;
  }

  /**
   * Writes float32 arrays, replacing a file of that name.
   *
   * @param arrays by name, of any shapes
   * @param metadata remarks for the header
   */
  public static void write(
      Path file, Map<String, ? extends NDArray> arrays, Map<String, String> metadata) {
    SortedMap<String, List<Long>> shapes = new TreeMap<>();
    arrays.forEach(
        (name, array) -> {
          if (array.getDataType() != DataType.FLOAT32) {
            throw new IllegalArgumentException(
                "Cannot write tensor %s to %s: it is %s, not float32"
                    .formatted(name, file, array.getDataType()));
          }
          shapes.put(name, Arrays.stream(array.getShape().getShape()).boxed().toList());
        });
    write(
        file,
        shapes,
        Dtype.FLOAT32,
        metadata,
        (channel, name) -> {
          NDArray array = arrays.get(name);
          if (array != null) {
            writeFloats(channel, array.toFloatArray());
          }
        });
  }

  /** Writes tensors of one type, each asked for when its turn comes. */
  static void write(
      Path file,
      SortedMap<String, List<Long>> shapes,
      Dtype dtype,
      Map<String, String> metadata,
      Elements elements) {
    Path target = file.toAbsolutePath();
    Path partial = target.resolveSibling(target.getFileName() + "." + UUID.randomUUID() + ".part");
    try {
      try (FileChannel channel =
          FileChannel.open(partial, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        drain(channel, ByteBuffer.wrap(header(shapes, dtype, metadata)));
        for (Map.Entry<String, List<Long>> entry : shapes.entrySet()) {
          long expected = channel.position() + bytes(entry.getValue(), dtype);
          elements.writeTo(channel, entry.getKey());
          if (channel.position() != expected) {
            throw new IllegalStateException(
                "Tensor %s ended at byte %d, not %d"
                    .formatted(entry.getKey(), channel.position(), expected));
          }
        }
        channel.force(true); // A crash must not leave a complete name on incomplete bytes.
      }
      Files.move(
          partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write " + file, e);
    } finally {
      deleteQuietly(partial);
    }
  }

  static void drain(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static byte[] header(
      SortedMap<String, List<Long>> shapes, Dtype dtype, Map<String, String> metadata)
      throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.write(new byte[Long.BYTES]);
    try (JsonGenerator json = new JsonFactory().createGenerator(bytes)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(SafetensorsHeader.METADATA);
        for (Map.Entry<String, String> entry : new TreeMap<>(metadata).entrySet()) {
          json.writeStringField(entry.getKey(), entry.getValue());
        }
        json.writeEndObject();
      }
      long begin = 0;
      for (Map.Entry<String, List<Long>> entry : shapes.entrySet()) {
        long[] shape = entry.getValue().stream().mapToLong(Long::longValue).toArray();
        long end = begin + bytes(entry.getValue(), dtype);
        json.writeObjectFieldStart(entry.getKey());
        json.writeStringField("dtype", dtype.safetensorsName());
        json.writeFieldName("shape");
        json.writeArray(shape, 0, shape.length);
        json.writeFieldName("data_offsets");
        json.writeArray(new long[] {begin, end}, 0, 2);
        json.writeEndObject();
        begin = end;
      }
      json.writeEndObject();
    }
    while (bytes.size() % DATA_ALIGNMENT != 0) {
      bytes.write(' ');
    }
    byte[] header = bytes.toByteArray();
    ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length - Long.BYTES);
    return header;
  }

  private static long bytes(List<Long> shape, Dtype dtype) {
    return shape.stream().reduce((long) dtype.bytes(), Math::multiplyExact);
  }

  private static void writeFloats(FileChannel channel, float[] values) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(CHUNK_ELEMENTS * Float.BYTES);
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    for (int from = 0; from < values.length; from += CHUNK_ELEMENTS) {
      int count = Math.min(CHUNK_ELEMENTS, values.length - from);
      bytes.clear();
      bytes.asFloatBuffer().put(values, from, count);
      drain(channel, bytes.limit(count * Float.BYTES));
    }
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // What kept it from being written is already on its way to the caller.
    }
  }
}
