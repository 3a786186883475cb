package io.sinklens.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * What one safetensors file says it holds, checked against its size.
 *
 * <p>The file is eight bytes of header length, that much JSON, and the data. Everything a tensor's
 * place depends on is checked before a byte of data is read: the tensors fill the data exactly,
 * without holes and without sharing a byte.
 *
 * @param file the file
 * @param tensors by name
 * @param metadata the writer's remarks
 * @param dataBegin offset of the data from the start of the file
 */
record SafetensorsHeader(
    Path file,
    SortedMap<String, TensorInfo> tensors,
    SortedMap<String, String> metadata,
    long dataBegin)
    implements WeightFile {

  static final String METADATA = "__metadata__";

  static final int MAX_DIMENSIONS = 32;

  private static final int LENGTH_BYTES = 8;
  private static final int MAX_HEADER_BYTES = 100_000_000; // As in safetensors itself.
  private static final int MAX_TENSORS = 250_000; // Thrice what the largest checkpoints have.
  private static final int MAX_NAME_LENGTH = 512;

  /** Bytes of an element. */
  private static final Map<String, Integer> DTYPES =
      Map.ofEntries(
          Map.entry("BOOL", 1),
          Map.entry("U8", 1),
          Map.entry("I8", 1),
          Map.entry("F8_E5M2", 1),
          Map.entry("F8_E4M3", 1),
          Map.entry("F8_E8M0", 1),
          Map.entry("U16", 2),
          Map.entry("I16", 2),
          Map.entry("F16", 2),
          Map.entry("BF16", 2),
          Map.entry("U32", 4),
          Map.entry("I32", 4),
          Map.entry("F32", 4),
          Map.entry("U64", 8),
          Map.entry("I64", 8),
          Map.entry("F64", 8),
          Map.entry("C64", 8));

  /**
   * Reads and checks a header.
   *
   * @throws IllegalArgumentException if the file is not sound, naming file and tensor
   */
  static SafetensorsHeader read(Path file) {
    StrictJson.requireFile(file);
    try (FileChannel channel = FileChannel.open(file)) {
      long size = channel.size();
      if (size < LENGTH_BYTES) {
        throw StrictJson.refusal(
            file, "it has %d bytes, too few for a header length".formatted(size));
      }
      byte[] lengthBytes = bytes(channel, 0, LENGTH_BYTES);
      requireNoPointer(file, lengthBytes);
      long length = ByteBuffer.wrap(lengthBytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
      if (Long.compareUnsigned(length, size - LENGTH_BYTES) > 0) {
        throw StrictJson.refusal(
            file,
            "it announces a header of %s bytes, but only %d follow; is it truncated?"
                .formatted(Long.toUnsignedString(length), size - LENGTH_BYTES));
      }
      if (length < 2 || length > MAX_HEADER_BYTES) {
        throw StrictJson.refusal(
            file, "its header has %d bytes, not 2 to %d".formatted(length, MAX_HEADER_BYTES));
      }
      byte[] header = bytes(channel, LENGTH_BYTES, (int) length);
      long dataBegin = LENGTH_BYTES + length;
      try (JsonParser json = StrictJson.parser(new ByteArrayInputStream(header))) {
        return new Parser(file, json, dataBegin, size - dataBegin).header();
      }
    } catch (JsonProcessingException | CharacterCodingException e) {
      throw StrictJson.refusal(file, e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  @Override
  public long headerBegin() {
    return 0;
  }

  /** Refuses what Git LFS leaves in the place of large files, by its first bytes. */
  static void requireNoPointer(Path file, byte[] begin) {
    if (new String(begin, StandardCharsets.ISO_8859_1).startsWith("version ")) {
      throw StrictJson.refusal(
          file, "it is a Git LFS pointer, not the weights; run git lfs pull in its folder");
    }
  }

  static void requireName(Path file, String name) {
    if (name.isEmpty()
        || name.length() > MAX_NAME_LENGTH
        || name.codePoints().anyMatch(SafetensorsHeader::isNoText)) {
      throw StrictJson.refusal(
          file,
          "a tensor's name must be 1 to %d printable characters, not '%s' (%d)"
              .formatted(MAX_NAME_LENGTH, StrictJson.shown(name), name.length()));
    }
  }

  /** Control characters, and halves of characters, which no file in UTF-8 can spell. */
  private static boolean isNoText(int codePoint) {
    return Character.isISOControl(codePoint) || Character.getType(codePoint) == Character.SURROGATE;
  }

  /** Bytes at a place of a file. */
  static byte[] bytes(FileChannel channel, long position, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length);
    fill(channel, position, bytes);
    return bytes.array();
  }

  /** Fills the rest of a buffer from a place of a file. */
  static void fill(FileChannel channel, long position, ByteBuffer bytes) throws IOException {
    long next = position;
    while (bytes.hasRemaining()) {
      int count = channel.read(bytes, next);
      if (count < 0) {
        throw new EOFException("The file ended at byte " + next + " while it was read");
      }
      next += count;
    }
  }

  /** Reads the JSON token by token, so that memory is bounded by what is kept. */
  private static final class Parser {
    private final Path file;
    private final JsonParser json;
    private final long dataBegin;
    private final long dataBytes;

    Parser(Path file, JsonParser json, long dataBegin, long dataBytes) {
      this.file = file;
      this.json = json;
      this.dataBegin = dataBegin;
      this.dataBytes = dataBytes;
    }

    SafetensorsHeader header() throws IOException {
      SortedMap<String, TensorInfo> tensors = new TreeMap<>();
      SortedMap<String, String> metadata = new TreeMap<>();
      expect(json.nextToken(), JsonToken.START_OBJECT, "its header must be a JSON object");
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = json.currentName();
        json.nextToken();
        if (name.equals(METADATA)) {
          readMetadata(metadata);
        } else {
          tensors.put(name, tensor(name));
          if (tensors.size() > MAX_TENSORS) {
            throw StrictJson.refusal(file, "it has more than %d tensors".formatted(MAX_TENSORS));
          }
        }
      }
      expect(json.nextToken(), null, "its header must end after the JSON object");
      requireFilled(tensors);
      return new SafetensorsHeader(
          file,
          Collections.unmodifiableSortedMap(tensors),
          Collections.unmodifiableSortedMap(metadata),
          dataBegin);
    }

    private void readMetadata(SortedMap<String, String> metadata) throws IOException {
      String rule = METADATA + " must map strings to strings";
      expect(json.currentToken(), JsonToken.START_OBJECT, rule);
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        expect(json.nextToken(), JsonToken.VALUE_STRING, rule);
        metadata.put(key, json.getText());
      }
    }

    private TensorInfo tensor(String name) throws IOException {
      requireName(file, name);
      String place = "tensor " + name + " ";
      expect(json.currentToken(), JsonToken.START_OBJECT, place + "must be a JSON object");
      String dtype = null;
      List<Long> shape = null;
      List<Long> offsets = null;
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String member = json.currentName();
        json.nextToken();
        switch (member) {
          case "dtype" -> {
            expect(json.currentToken(), JsonToken.VALUE_STRING, place + "must have a string dtype");
            dtype = json.getText();
          }
          case "shape" -> shape = sizes(place, member);
          case "data_offsets" -> offsets = sizes(place, member);
          default ->
              throw StrictJson.refusal(file, place + "has an unknown member '" + member + "'");
        }
      }
      if (dtype == null || shape == null || offsets == null) {
        throw StrictJson.refusal(file, place + "must have dtype, shape and data_offsets");
      }
      return placed(name, dtype, shape, offsets);
    }

    private List<Long> sizes(String place, String member) throws IOException {
      String rule = place + "must have a list of non-negative integers as " + member;
      expect(json.currentToken(), JsonToken.START_ARRAY, rule);
      List<Long> sizes = new ArrayList<>();
      while (json.nextToken() != JsonToken.END_ARRAY) {
        expect(json.currentToken(), JsonToken.VALUE_NUMBER_INT, rule);
        long size = json.getLongValue();
        if (size < 0) {
          throw StrictJson.refusal(file, rule + ", not " + size);
        }
        if (sizes.size() == MAX_DIMENSIONS) {
          throw StrictJson.refusal(
              file, place + "must have at most " + MAX_DIMENSIONS + " numbers as " + member);
        }
        sizes.add(size);
      }
      return sizes;
    }

    private TensorInfo placed(String name, String dtype, List<Long> shape, List<Long> offsets) {
      Integer elementBytes = DTYPES.get(dtype);
      if (elementBytes == null) {
        throw StrictJson.refusal(file, "tensor %s has unknown dtype %s".formatted(name, dtype));
      }
      if (offsets.size() != 2) {
        throw StrictJson.refusal(
            file, "tensor %s must have two data_offsets, not %s".formatted(name, offsets));
      }
      long begin = offsets.get(0);
      long end = offsets.get(1);
      if (begin > end || end > dataBytes) {
        throw StrictJson.refusal(
            file,
            "tensor %s lies at bytes [%d, %d) of data that has %d bytes%s"
                .formatted(name, begin, end, dataBytes, begin > end ? "" : "; is it truncated?"));
      }
      TensorInfo tensor =
          new TensorInfo(name, dtype, shape, file, dataBegin + begin, dataBegin + end);
      long needed;
      try {
        needed = Math.multiplyExact(tensor.elements(), (long) elementBytes);
      } catch (ArithmeticException e) {
        throw StrictJson.refusal(
            file, "tensor %s is impossibly large: %s".formatted(name, tensor.describe()));
      }
      if (needed != tensor.bytes()) {
        throw StrictJson.refusal(
            file,
            "tensor %s takes %d bytes as %s, but its data_offsets [%d, %d] hold %d"
                .formatted(name, needed, tensor.describe(), begin, end, tensor.bytes()));
      }
      return tensor;
    }

    private void requireFilled(SortedMap<String, TensorInfo> tensors) {
      List<TensorInfo> inOrder = new ArrayList<>(tensors.values());
      inOrder.sort(Comparator.comparingLong(TensorInfo::begin).thenComparing(TensorInfo::end));
      long filled = dataBegin;
      String previous = "";
      for (TensorInfo tensor : inOrder) {
        if (tensor.begin() < filled) {
          throw StrictJson.refusal(
              file, "tensors %s and %s overlap".formatted(previous, tensor.name()));
        }
        requireNoHole(filled, tensor.begin());
        filled = tensor.end();
        previous = tensor.name();
      }
      requireNoHole(filled, dataBegin + dataBytes);
    }

    private void requireNoHole(long filled, long next) {
      if (filled < next) {
        throw StrictJson.refusal(
            file,
            "bytes [%d, %d) of its data belong to no tensor"
                .formatted(filled - dataBegin, next - dataBegin));
      }
    }

    private void expect(@Nullable JsonToken actual, @Nullable JsonToken expected, String rule) {
      if (actual != expected) {
        throw StrictJson.refusal(file, rule);
      }
    }
  }
}
