package io.sinklens.checkpoint;

import io.sinklens.tensor.Dtype;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Weights in another type than a checkpoint stores them in, kept in a folder for the next run.
 *
 * <p>What cannot be mapped as it lies (another type, or elements off their alignment) is converted
 * once into safetensors files, one beside each weight file's name in a folder named after the
 * checkpoint's fingerprint and the type; they are then mapped like a checkpoint's own. So a large
 * model needs the memory it touches and no more, and several processes share it. A file is checked
 * against the checkpoint whenever it is used and made anew when it does not fit; deleting it is
 * always safe.
 *
 * @param folder where the files are; made when needed
 * @param minBytes checkpoints with less to convert are converted in memory at every start
 */
record ConvertedWeights(Path folder, long minBytes) {
  private static final long STANDARD_MIN_BYTES = 256L << 20;
  private static final int CHUNK_ELEMENTS = 1 << 18;

  /** In the folder that this machine keeps such things in. */
  static ConvertedWeights standard() {
    return new ConvertedWeights(CacheFolder.standard(), STANDARD_MIN_BYTES);
  }

  /**
   * Where the converted tensors lie, by raw name: all that have to be converted, or none when they
   * are too small to be worth a file.
   */
  SortedMap<String, TensorInfo> of(CheckpointFolder checkpoint, Dtype dtype) {
    SortedMap<Path, SortedMap<String, TensorInfo>> byFile = new TreeMap<>();
    long bytes = 0;
    for (TensorInfo tensor : checkpoint.tensors().values()) {
      if (tensor.weightDtype().isPresent() && !tensor.isMappableAs(dtype)) {
        byFile
            .computeIfAbsent(tensor.file(), ignored -> new TreeMap<>())
            .put(tensor.name(), tensor);
        bytes += tensor.elements() * dtype.bytes();
      }
    }
    SortedMap<String, TensorInfo> converted = new TreeMap<>();
    if (bytes >= minBytes && !byFile.isEmpty()) {
      Path files =
          folder.resolve(
              checkpoint.fingerprint() + "-" + dtype.safetensorsName().toLowerCase(Locale.ROOT));
      Set<String> taken = new HashSet<>();
      byFile.forEach(
          (source, tensors) -> {
            String name = fileName(source);
            while (!taken.add(name)) { // Parts of a checkpoint name their files alike.
              name = "other-" + name;
            }
            converted.putAll(of(source, tensors, dtype, files, name));
          });
    }
    return converted;
  }

  private SortedMap<String, TensorInfo> of(
      Path source, SortedMap<String, TensorInfo> tensors, Dtype dtype, Path files, String name) {
    Path file = files.resolve(name);
    SortedMap<String, List<Long>> shapes = new TreeMap<>();
    tensors.forEach((raw, tensor) -> shapes.put(raw, tensor.shape()));
    Map<String, String> metadata = Map.of("converted-from", remark(source));
    if (!holds(file, shapes, dtype, metadata)) {
      long elements = tensors.values().stream().mapToLong(TensorInfo::elements).sum();
      requireSpace(elements * dtype.bytes(), freeBytes(files));
      SafetensorsWriter.write(
          file, shapes, dtype, metadata, (channel, raw) -> convert(tensors, raw, dtype, channel));
    }
    return SafetensorsHeader.read(file).tensors();
  }

  private static String fileName(Path source) {
    String name = String.valueOf(source.getFileName());
    String ending = WeightFiles.SAFETENSORS_ENDING;
    return name.endsWith(ending) ? name : name + ending;
  }

  /** What the fingerprint may miss, since it samples: when a weight file was last written. */
  private static String remark(Path file) {
    try {
      return "%s, %d bytes of %s"
          .formatted(file.getFileName(), Files.size(file), Files.getLastModifiedTime(file));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  private static boolean holds(
      Path file, SortedMap<String, List<Long>> shapes, Dtype dtype, Map<String, String> metadata) {
    if (!Files.isRegularFile(file)) {
      return false;
    }
    SafetensorsHeader header;
    try {
      header = SafetensorsHeader.read(file);
    } catch (IllegalArgumentException e) {
      return false; // Damaged; it will be made anew.
    }
    SortedMap<String, List<Long>> held = new TreeMap<>();
    header
        .tensors()
        .values()
        .forEach(
            tensor -> {
              if (tensor.isMappableAs(dtype)) {
                held.put(tensor.name(), tensor.shape());
              }
            });
    return header.metadata().equals(metadata) && held.equals(shapes);
  }

  private long freeBytes(Path files) {
    try {
      Files.createDirectories(files);
      return Files.getFileStore(files).getUsableSpace();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot convert weights in " + folder, e);
    }
  }

  void requireSpace(long bytes, long free) {
    if (free < bytes) {
      throw new IllegalArgumentException(
          ("Cannot convert weights in %s: %d bytes are needed, %d are free "
                  + "(another folder can be given as SINKLENS_CACHE)")
              .formatted(folder, bytes, free));
    }
  }

  private static void convert(
      Map<String, TensorInfo> tensors, String name, Dtype dtype, FileChannel target)
      throws IOException {
    TensorInfo tensor = Objects.requireNonNull(tensors.get(name));
    Dtype stored = tensor.weightDtype().orElseThrow();
    ByteBuffer source = ByteBuffer.allocateDirect(CHUNK_ELEMENTS * stored.bytes());
    ByteBuffer converted = ByteBuffer.allocateDirect(CHUNK_ELEMENTS * dtype.bytes());
    float[] values = new float[CHUNK_ELEMENTS];
    try (FileChannel channel = FileChannel.open(tensor.file())) {
      for (long next = tensor.begin(); next < tensor.end(); next += source.capacity()) {
        source.clear().limit((int) Math.min(source.capacity(), tensor.end() - next));
        SafetensorsHeader.fill(channel, next, source);
        int count = source.flip().limit() / stored.bytes();
        FloatCoding.decode(source, stored, values, count);
        FloatCoding.encode(values, count, dtype, converted.clear());
        SafetensorsWriter.drain(target, converted.flip());
      }
    }
  }
}
