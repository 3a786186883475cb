package io.sinklens.checkpoint;

import io.sinklens.tensor.Dtype;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Where one tensor of a checkpoint lies.
 *
 * @param name as the file spells it, behind the name of the part it belongs to
 * @param dtype the safetensors name of the element type, such as {@code BF16}
 * @param shape sizes of the dimensions; empty for a scalar
 * @param file the weight file, safetensors or {@code .bin}
 * @param begin offset of the first byte, from the start of the file
 * @param end offset after the last byte
 */
public record TensorInfo(
    String name, String dtype, List<Long> shape, Path file, long begin, long end) {

  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** The same place under another name. */
  TensorInfo withName(String other) {
    return new TensorInfo(other, dtype, shape, file, begin, end);
  }

  /** Product of the dimensions. */
  public long elements() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  /** Bytes in the file. */
  public long bytes() {
    return end - begin;
  }

  /** The element type if weights may have it; empty for integers and rarer types. */
  Optional<Dtype> weightDtype() {
    for (Dtype candidate : Dtype.values()) {
      if (candidate.safetensorsName().equals(dtype)) {
        return Optional.of(candidate);
      }
    }
    return Optional.empty();
  }

  /** Whether the bytes can serve as elements of that type where they lie. */
  boolean isMappableAs(Dtype wanted) {
    return wanted.safetensorsName().equals(dtype) && begin % wanted.bytes() == 0;
  }

  /** Type and shape for messages: {@code F32 [2, 3]}. */
  String describe() {
    return dtype + " " + shape;
  }
}
