package io.sinklens.checkpoint;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes pickles opcode by opcode, wrong ones too. */
final class RawPickle {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  /** Begins with the protocol torch uses. */
  RawPickle() {
    raw(0x80, 2);
  }

  RawPickle raw(int... values) {
    for (int value : values) {
      bytes.write(value);
    }
    return this;
  }

  /** Opcodes that are ASCII. */
  RawPickle op(String opcodes) {
    bytes.writeBytes(opcodes.getBytes(StandardCharsets.ISO_8859_1));
    return this;
  }

  RawPickle text(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    op("X").number(utf8.length);
    bytes.writeBytes(utf8);
    return this;
  }

  /** LONG1 of any size. */
  RawPickle whole(long value) {
    byte[] bigEndian = BigInteger.valueOf(value).toByteArray();
    raw(0x8a, bigEndian.length);
    for (int i = bigEndian.length - 1; i >= 0; i--) {
      bytes.write(bigEndian[i]);
    }
    return this;
  }

  RawPickle wholes(long... values) {
    op("(");
    for (long value : values) {
      whole(value);
    }
    return op("t");
  }

  /** Four bytes of an operand. */
  RawPickle number(int value) {
    bytes.writeBytes(
        ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
    return this;
  }

  RawPickle global(String module, String name) {
    return op("c" + module + "\n" + name + "\n");
  }

  /** A reference to a storage of float32. */
  RawPickle floats(String key, long elements) {
    return storage("FloatStorage", key, elements);
  }

  RawPickle storage(String type, String key, long elements) {
    return op("(")
        .text("storage")
        .global("torch", type)
        .text(key)
        .text("cpu")
        .whole(elements)
        .op("tQ");
  }

  /** A call of torch's rebuilding, with a storage that {@code storage} puts on the stack. */
  RawPickle tensor(RawPickle storage, long offset, long[] shape, long[] strides) {
    global("torch._utils", "_rebuild_tensor_v2").op("(").rest(storage);
    return whole(offset).wholes(shape).wholes(strides).raw(0x89).op("}tR");
  }

  /** What another pickle has after its protocol. */
  RawPickle rest(RawPickle other) {
    byte[] all = other.bytes();
    bytes.write(all, 2, all.length - 2);
    return this;
  }

  byte[] bytes() {
    return bytes.toByteArray();
  }

  /** The pickle, ended. */
  byte[] end() {
    return op(".").bytes();
  }
}
