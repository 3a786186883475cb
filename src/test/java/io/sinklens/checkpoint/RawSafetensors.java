package io.sinklens.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Writes safetensors files byte by byte, wrong ones too. */
final class RawSafetensors {
  private final List<String> members = new ArrayList<>();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private String headerEnd = "";

  /** A sound float32 tensor after the others. */
  RawSafetensors floats(String name, List<Integer> shape, float... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return tensor(name, "F32", shape, bytes.array());
  }

  /** A sound tensor of 16-bit elements after the others. */
  RawSafetensors shorts(String name, String dtype, List<Integer> shape, int... bits) {
    ByteBuffer bytes = ByteBuffer.allocate(bits.length * 2).order(ByteOrder.LITTLE_ENDIAN);
    for (int each : bits) {
      bytes.putShort((short) each);
    }
    return tensor(name, dtype, shape, bytes.array());
  }

  /** A tensor after the others; its bytes are taken as they are. */
  RawSafetensors tensor(String name, String dtype, List<Integer> shape, byte... bytes) {
    int begin = data.size();
    data.writeBytes(bytes);
    return member(
        name,
        "{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
            .formatted(dtype, shape, begin, data.size()));
  }

  /** Any member of the header. */
  RawSafetensors member(String name, String json) {
    members.add("\"" + name + "\":" + json);
    return this;
  }

  /** Data that no tensor announces. */
  RawSafetensors data(int bytes) {
    data.writeBytes(new byte[bytes]);
    return this;
  }

  /** Text between the header's last brace and the data. */
  RawSafetensors headerEnd(String text) {
    headerEnd = text;
    return this;
  }

  /** Bytes of the JSON, with what stands behind it. */
  int headerBytes() {
    return header().length;
  }

  private byte[] header() {
    return ("{" + String.join(",", members) + "}" + headerEnd).getBytes(StandardCharsets.UTF_8);
  }

  byte[] bytes() {
    byte[] header = header();
    return ByteBuffer.allocate(8 + header.length + data.size())
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .put(data.toByteArray())
        .array();
  }

  /** The file without its last bytes. */
  Path writeCut(Path file, int length) {
    return write(file, Arrays.copyOf(bytes(), length));
  }

  Path write(Path file) {
    return write(file, bytes());
  }

  static Path write(Path file, byte[] content) {
    try {
      return Files.write(file, content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Path write(Path file, String content) {
    return write(file, content.getBytes(StandardCharsets.UTF_8));
  }
}
