package io.sinklens.checkpoint;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * The tensors of a checkpoint by canonical name, in one type, ready for the networks.
 *
 * <p>On the CPU a tensor stored in the wanted type is the file's own bytes, mapped, so loading
 * costs no memory and writing into an array would never reach the file. Others are converted: large
 * checkpoints once, into a cache file that is mapped in turn; small ones in memory. Arrays belong
 * to {@link Operators#manager()} and are valid until the operators are closed.
 *
 * <p>Every tensor asked for is remembered, so that {@link #requireAllUsed()} finds those a network
 * would silently leave out. To be used by one thread.
 */
public final class Weights {
  private static final int SHOWN_NAMES = 8;

  private final Source source;
  private final String prefix;

  private Weights(Source source, String prefix) {
    this.source = source;
    this.prefix = prefix;
  }

  /**
   * Opens the weights of a checkpoint.
   *
   * @param canonicalName from a tensor's name in the file to the name networks ask for; empty for a
   *     tensor that is not needed
   * @param dtype the type all arrays are to have
   * @throws IllegalArgumentException if two tensors have one canonical name, or one is not a
   *     floating-point tensor
   */
  public static Weights open(
      CheckpointFolder folder,
      Function<String, Optional<String>> canonicalName,
      Operators operators,
      Dtype dtype) {
    return open(folder, canonicalName, operators, dtype, ConvertedWeights.standard());
  }

  static Weights open(
      CheckpointFolder folder,
      Function<String, Optional<String>> canonicalName,
      Operators operators,
      Dtype dtype,
      ConvertedWeights converted) {
    NavigableMap<String, TensorInfo> tensors = new TreeMap<>();
    for (TensorInfo tensor : folder.tensors().values()) {
      Optional<String> name = canonicalName.apply(tensor.name());
      if (name.isPresent()) {
        requireFloating(folder, tensor);
        TensorInfo other = tensors.put(name.get(), tensor);
        if (other != null) {
          throw new IllegalArgumentException(
              "Cannot use checkpoint %s: both %s and %s are %s"
                  .formatted(folder.path(), other.name(), tensor.name(), name.get()));
        }
      }
    }
    return new Weights(new Source(folder, tensors, operators, dtype, converted), "");
  }

  /** The tensors whose names begin with a prefix and a dot, asked for by what follows. */
  public Weights under(String prefix) {
    return new Weights(source, this.prefix + prefix + ".");
  }

  public boolean has(String name) {
    return source.tensors.containsKey(prefix + name);
  }

  /**
   * A tensor; asked for again, the same array.
   *
   * @param shape the sizes it must have
   * @throws IllegalArgumentException if it is missing or has another shape
   */
  public NDArray get(String name, long... shape) {
    String fullName = prefix + name;
    TensorInfo tensor = source.tensors.get(fullName);
    if (tensor == null) {
      throw new IllegalArgumentException(
          "Cannot find tensor %s in checkpoint %s: %s"
              .formatted(fullName, source.folder.path(), neighbours(fullName)));
    }
    List<Long> expected = Arrays.stream(shape).boxed().toList();
    if (!tensor.shape().equals(expected)) {
      throw new IllegalArgumentException(
          "Cannot use tensor %s of checkpoint %s: its shape is %s, but the configuration makes it %s"
              .formatted(tensor.name(), source.folder.path(), tensor.shape(), expected));
    }
    return source.array(tensor);
  }

  /**
   * Ends the loading of a network: every tensor of this view must have been asked for.
   *
   * @throws IllegalArgumentException naming those that were not
   */
  public void requireAllUsed() {
    List<String> unused = new ArrayList<>();
    for (TensorInfo tensor : view().values()) {
      if (!source.arrays.containsKey(tensor.name())) {
        unused.add(tensor.name());
      }
    }
    if (!unused.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot use checkpoint %s: %d of its tensors have no place in the model: %s"
              .formatted(source.folder.path(), unused.size(), shown(unused)));
    }
  }

  /** Bytes of all tensors of this view in the wanted type. */
  public long bytes() {
    return view().values().stream().mapToLong(TensorInfo::elements).sum() * source.dtype.bytes();
  }

  private SortedMap<String, TensorInfo> view() {
    return under(source.tensors, prefix);
  }

  private static SortedMap<String, TensorInfo> under(
      NavigableMap<String, TensorInfo> tensors, String prefix) {
    return tensors.subMap(prefix, prefix + Character.MAX_VALUE);
  }

  /** What there is instead, under the longest part of the name that leads anywhere. */
  private String neighbours(String name) {
    String parent = name;
    SortedMap<String, TensorInfo> near;
    do {
      String shorter = parent.substring(0, Math.max(0, parent.length() - 1));
      parent = shorter.substring(0, shorter.lastIndexOf('.') + 1);
      near = under(source.tensors, parent);
    } while (near.isEmpty() && !parent.isEmpty());
    return "%s it has %s"
        .formatted(
            parent.isEmpty() ? "at its root" : "under " + parent,
            shown(new ArrayList<>(near.keySet())));
  }

  private static String shown(List<String> names) {
    String first = String.join(", ", names.subList(0, Math.min(SHOWN_NAMES, names.size())));
    return "[" + first + (names.size() <= SHOWN_NAMES ? "]" : ", ...]");
  }

  private static void requireFloating(CheckpointFolder folder, TensorInfo tensor) {
    if (tensor.weightDtype().isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot use tensor %s of checkpoint %s: it is %s, not F32, F16 or BF16"
              .formatted(tensor.name(), folder.path(), tensor.describe()));
    }
  }

  /** What all views of one checkpoint share. */
  private static final class Source {
    private final CheckpointFolder folder;
    private final NavigableMap<String, TensorInfo> tensors;
    private final Operators operators;
    private final Dtype dtype;
    private final SortedMap<String, TensorInfo> converted;

    /** By raw name: all that were asked for. */
    private final Map<String, NDArray> arrays = new HashMap<>();

    /** Every file is mapped once for each type it holds, and stays so while there are views. */
    private final Map<Mapping, NDArray> mappings = new HashMap<>();

    Source(
        CheckpointFolder folder,
        NavigableMap<String, TensorInfo> tensors,
        Operators operators,
        Dtype dtype,
        ConvertedWeights converted) {
      this.folder = folder;
      this.tensors = tensors;
      this.operators = operators;
      this.dtype = dtype;
      this.converted = operators.areOnGpu() ? new TreeMap<>() : converted.of(folder, dtype);
    }

    NDArray array(TensorInfo tensor) {
      return arrays.computeIfAbsent(
          tensor.name(), name -> load(converted.getOrDefault(name, tensor)));
    }

    private NDArray load(TensorInfo tensor) {
      Dtype stored = tensor.weightDtype().orElseThrow();
      NDArray array = tensor.isMappableAs(stored) ? mapped(tensor, stored) : copied(tensor, stored);
      NDArray moved = operators.areOnGpu() ? replace(array, operators.move(array)) : array;
      return replace(moved, operators.to(moved, dtype));
    }

    private NDArray mapped(TensorInfo tensor, Dtype stored) {
      NDArray file = mappings.computeIfAbsent(new Mapping(tensor.file(), stored), this::map);
      return operators.viewRange(
          file, tensor.begin() / stored.bytes(), tensor.end() / stored.bytes(), shape(tensor));
    }

    private NDArray map(Mapping mapping) {
      long bytes = bytes(mapping.file);
      try {
        return operators.mapFile(mapping.file, bytes / mapping.dtype.bytes(), mapping.dtype);
      } catch (EngineException e) {
        // Linux maps no file that is larger than the memory and swap of the machine.
        throw new IllegalArgumentException(
            "Cannot map %s: the system refuses to map %d bytes; is it larger than the memory?"
                .formatted(mapping.file, bytes),
            e);
      }
    }

    private static long bytes(Path file) {
      try {
        return Files.size(file);
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot read " + file, e);
      }
    }

    /** For elements that do not lie at multiples of their size. */
    private NDArray copied(TensorInfo tensor, Dtype stored) {
      if (tensor.bytes() > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "Cannot copy tensor %s of %s: it has %d bytes and is not aligned to its elements"
                .formatted(tensor.name(), tensor.file(), tensor.bytes()));
      }
      try (FileChannel channel = FileChannel.open(tensor.file())) {
        byte[] bytes = SafetensorsHeader.bytes(channel, tensor.begin(), (int) tensor.bytes());
        float[] values = new float[Math.toIntExact(tensor.elements())];
        FloatCoding.decode(ByteBuffer.wrap(bytes), stored, values, values.length);
        NDArray ofJava = operators.manager().create(values, shape(tensor));
        return replace(ofJava, operators.own(ofJava));
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot read " + tensor.file(), e);
      }
    }

    private static NDArray replace(NDArray old, NDArray replacement) {
      old.close();
      return replacement;
    }

    private static Shape shape(TensorInfo tensor) {
      return new Shape(tensor.shape().stream().mapToLong(Long::longValue).toArray());
    }
  }

  private record Mapping(Path file, Dtype dtype) {}
}
