package io.sinklens.checkpoint;

import io.sinklens.checkpoint.PickleValue.Dict;
import io.sinklens.checkpoint.PickleValue.PlainData;
import io.sinklens.checkpoint.PickleValue.Storage;
import io.sinklens.checkpoint.PickleValue.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The tensors of a {@code .bin} file: a dict that {@code torch.save} of version 1.6 or later wrote.
 *
 * <p>Such a file is a zip archive. Its entry {@code data.pkl} describes the dict and is read by a
 * {@link PickleMachine}; the numbers are entries of their own, storages, stored as they are. Every
 * tensor must be one piece of one storage in row-major order, so that its numbers are a range of
 * bytes of the file. Tensors may share bytes. What the dict holds beside tensors is ignored if it
 * is plain data.
 *
 * @param file the file
 * @param tensors by name
 * @param headerBegin where {@code data.pkl} begins
 * @param dataBegin where it ends; the storages lie behind it
 */
record PickledTensors(
    Path file, SortedMap<String, TensorInfo> tensors, long headerBegin, long dataBegin)
    implements WeightFile {

  private static final int MAX_PICKLE_BYTES = 64 << 20;
  private static final int MAX_BYTE_ORDER_BYTES = 16;
  private static final String PICKLE = "/data.pkl";

  /** How torch began its files before 1.6: with a pickled magic number, in no archive. */
  private static final byte[] OLD_LAYOUT = {
    (byte) 0x80, 2, (byte) 0x8a, 10, 0x6c, (byte) 0xfc, (byte) 0x9c, 0x46
  };

  /**
   * Reads what a file holds, without the numbers.
   *
   * @throws IllegalArgumentException if it is damaged or holds anything but tensors and plain data
   */
  static PickledTensors read(Path file) {
    StrictJson.requireFile(file);
    try (FileChannel channel = FileChannel.open(file)) {
      requireZip(file, channel);
      return new Reader(file, channel).tensors();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  private static void requireZip(Path file, FileChannel channel) throws IOException {
    int known = (int) Math.min(OLD_LAYOUT.length, channel.size());
    byte[] begin = SafetensorsHeader.bytes(channel, 0, known);
    SafetensorsHeader.requireNoPointer(file, begin);
    if (Arrays.equals(begin, OLD_LAYOUT)) {
      throw StrictJson.refusal(
          file, "it has the layout torch had before 1.6; load and save it with a newer torch");
    }
    if (begin.length < 4 || begin[0] != 'P' || begin[1] != 'K') {
      throw StrictJson.refusal(file, "it is no zip file, as torch.save writes them");
    }
  }

  /** Reads one file. */
  private static final class Reader {
    private final Path file;
    private final FileChannel channel;
    private final SortedMap<String, StoredZip.Entry> entries;
    private final StoredZip.Entry pickle;
    private final String folder;

    /** By key, to see that all tensors describe a storage alike. */
    private final Map<String, Storage> storages = new HashMap<>();

    Reader(Path file, FileChannel channel) throws IOException {
      this.file = file;
      this.channel = channel;
      this.entries = StoredZip.entries(file, channel);
      List<String> pickles =
          entries.keySet().stream()
              .filter(
                  name ->
                      name.endsWith(PICKLE) && name.indexOf('/') == name.length() - PICKLE.length())
              .toList();
      if (pickles.size() != 1) {
        throw refusal(
            "it has %d entries FOLDER%s, and torch.save writes one"
                .formatted(pickles.size(), PICKLE));
      }
      this.pickle = entry(pickles.get(0));
      this.folder = pickle.name().substring(0, pickle.name().length() - PICKLE.length());
    }

    PickledTensors tensors() throws IOException {
      if (entries.containsKey(folder + "/constants.pkl")) {
        throw refusal("it is a TorchScript archive, which holds code");
      }
      requireLittleEndian();
      if (pickle.bytes() > MAX_PICKLE_BYTES) {
        throw refusal(
            "its data.pkl has %d bytes, more than %d".formatted(pickle.bytes(), MAX_PICKLE_BYTES));
      }
      PickleValue root = PickleMachine.read(file, bytes(pickle));
      if (!(root instanceof Dict dict)) {
        throw refusal("it holds %s, not a dict of tensors".formatted(root.kind()));
      }
      SortedMap<String, TensorInfo> tensors = new TreeMap<>();
      PlainData plainData = new PlainData();
      dict.values()
          .forEach(
              (name, value) -> {
                if (value instanceof Tensor tensor) {
                  tensors.put(name, placed(name, tensor));
                } else if (!plainData.isPlain(value)) {
                  throw refusal(
                      ("its entry %s is %s with tensors or types in it, and only"
                              + " tensors at the root are read")
                          .formatted(StrictJson.shown(name), value.kind()));
                }
              });
      return new PickledTensors(
          file, Collections.unmodifiableSortedMap(tensors), pickle.begin(), pickle.end());
    }

    private void requireLittleEndian() throws IOException {
      StoredZip.Entry entry = entries.get(folder + "/byteorder");
      if (entry == null) { // Files of older versions do not say; they are little-endian.
        return;
      }
      String order =
          entry.bytes() > MAX_BYTE_ORDER_BYTES
              ? "of %d bytes".formatted(entry.bytes())
              : new String(bytes(entry), StandardCharsets.UTF_8);
      if (!order.equals("little")) {
        throw refusal("its byteorder must be little, not " + StrictJson.shown(order));
      }
    }

    private TensorInfo placed(String name, Tensor tensor) {
      SafetensorsHeader.requireName(file, name);
      if (name.equals(SafetensorsHeader.METADATA)) {
        throw refusal("a tensor's name must not be " + name);
      }
      StoredZip.Entry entry = entry(name, tensor.storage());
      List<Long> shape = tensor.shape();
      List<Long> strides = tensor.strides();
      if (strides.size() != shape.size()) {
        throw refusal("tensor %s has shape %s, but strides %s".formatted(name, shape, strides));
      }
      if (tensor.offset() < 0
          || shape.stream().anyMatch(size -> size < 0)
          || strides.stream().anyMatch(stride -> stride < 0)) {
        throw refusal(
            "tensor %s must have nothing negative, not shape %s, strides %s, offset %d"
                .formatted(name, shape, strides, tensor.offset()));
      }
      long available = tensor.storage().elements();
      long elements;
      try {
        elements = shape.stream().reduce(1L, Math::multiplyExact);
      } catch (ArithmeticException e) {
        throw refusal("tensor %s is impossibly large: %s".formatted(name, shape));
      }
      if (tensor.offset() > available || elements > available - tensor.offset()) {
        throw refusal(
            "tensor %s takes %d elements from %d on of a storage that has %d"
                .formatted(name, elements, tensor.offset(), available));
      }
      requireRowMajor(name, shape, strides, elements);
      int elementBytes = tensor.storage().type().elementBytes();
      long begin = entry.begin() + tensor.offset() * elementBytes;
      return new TensorInfo(
          name,
          tensor.storage().type().dtype(),
          shape,
          file,
          begin,
          begin + elements * elementBytes);
    }

    /** The entry with the numbers of a storage, which must be as large as the storage. */
    private StoredZip.Entry entry(String name, Storage storage) {
      Storage other = storages.putIfAbsent(storage.key(), storage);
      if (other != null
          && (other.type() != storage.type() || other.elements() != storage.elements())) {
        throw refusal(
            "storage %s is %d elements of %s and %d of %s"
                .formatted(
                    storage.key(),
                    other.elements(),
                    other.type().dtype(),
                    storage.elements(),
                    storage.type().dtype()));
      }
      StoredZip.Entry entry = entries.get("%s/data/%s".formatted(folder, storage.key()));
      if (entry == null) {
        throw refusal(
            "tensor %s lies in storage %s, which is not in the file"
                .formatted(name, storage.key()));
      }
      int elementBytes = storage.type().elementBytes();
      if (entry.bytes() % elementBytes != 0 || entry.bytes() / elementBytes != storage.elements()) {
        throw refusal(
            "storage %s has %d bytes, not %d elements of %s"
                .formatted(
                    storage.key(), entry.bytes(), storage.elements(), storage.type().dtype()));
      }
      if (entry.begin() < pickle.end()) {
        throw refusal("storage %s lies before data.pkl".formatted(storage.key()));
      }
      return entry;
    }

    /** A dimension of one element may have any stride. */
    private void requireRowMajor(String name, List<Long> shape, List<Long> strides, long elements) {
      if (elements == 0) {
        return;
      }
      List<Long> expected = new ArrayList<>(strides);
      long stride = 1;
      for (int i = shape.size() - 1; i >= 0; i--) {
        if (shape.get(i) != 1) {
          expected.set(i, stride);
        }
        stride *= shape.get(i);
      }
      if (!expected.equals(strides)) {
        throw refusal(
            "tensor %s of shape %s has strides %s, not %s; save it again after contiguous()"
                .formatted(name, shape, strides, expected));
      }
    }

    private StoredZip.Entry entry(String name) {
      StoredZip.Entry entry = entries.get(name);
      if (entry == null) {
        throw refusal("it has no entry " + name);
      }
      return entry;
    }

    private byte[] bytes(StoredZip.Entry entry) throws IOException {
      return SafetensorsHeader.bytes(channel, entry.begin(), (int) entry.bytes());
    }

    private IllegalArgumentException refusal(String reason) {
      return StrictJson.refusal(file, reason);
    }
  }
}
