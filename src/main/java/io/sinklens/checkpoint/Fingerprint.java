package io.sinklens.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Tells checkpoints apart without reading all of them.
 *
 * <p>SHA-256 over the whole of the small files that decide answers and, of each weight file in the
 * order of names, its name, size, header, {@value #BLOCKS} evenly spaced blocks of {@value
 * #BLOCK_BYTES} bytes of data, and the first {@value #TENSOR_BYTES} bytes of every tensor. A file
 * of up to 4 MiB is covered completely; of a larger one every tensor is, in part.
 */
final class Fingerprint {
  private static final List<String> SMALL_FILES =
      List.of(
          "added_tokens.json",
          "chat_template.json",
          "config.json",
          "generation_config.json",
          "preprocessor_config.json",
          "processor_config.json",
          "special_tokens_map.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json");
  private static final int MAX_SMALL_BYTES = 100_000_000;
  private static final int BLOCKS = 64;
  private static final int BLOCK_BYTES = 65536;
  private static final int TENSOR_BYTES = 4096;

  private final MessageDigest digest;

  private Fingerprint() {
    try {
      this.digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java has SHA-256", e);
    }
  }

  /**
   * The fingerprint in hexadecimal.
   *
   * @param parts fingerprints of the checkpoint's parts by name
   */
  static String of(Path folder, Iterable<WeightFile> files, SortedMap<String, String> parts) {
    Fingerprint fingerprint = new Fingerprint();
    try {
      for (String name : SMALL_FILES) {
        Path file = folder.resolve(name);
        if (Files.isRegularFile(file)) {
          fingerprint.add(file);
        }
      }
      SortedMap<String, WeightFile> byFile = new TreeMap<>();
      for (WeightFile weights : files) {
        byFile.put(weights.file().toString(), weights);
      }
      for (WeightFile weights : byFile.values()) {
        fingerprint.add(weights);
      }
      parts.forEach(
          (name, ofPart) ->
              fingerprint.digest.update(
                  "%s %s\n".formatted(name, ofPart).getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read checkpoint " + folder, e);
    }
    return HexFormat.of().formatHex(fingerprint.digest.digest());
  }

  private void add(Path file) throws IOException {
    if (Files.size(file) > MAX_SMALL_BYTES) {
      throw StrictJson.refusal(
          file, "it has %d bytes, more than %d".formatted(Files.size(file), MAX_SMALL_BYTES));
    }
    byte[] content = Files.readAllBytes(file);
    addName(file, content.length);
    digest.update(content);
  }

  private void add(WeightFile weights) throws IOException {
    try (FileChannel channel = FileChannel.open(weights.file())) {
      long size = channel.size();
      addName(weights.file(), size);
      add(channel, weights.headerBegin(), weights.dataBegin());
      long data = size - weights.dataBegin();
      if (data <= (long) BLOCKS * BLOCK_BYTES) {
        add(channel, weights.dataBegin(), size);
        return;
      }
      for (int i = 0; i < BLOCKS; i++) {
        long begin = weights.dataBegin() + (data - BLOCK_BYTES) / (BLOCKS - 1) * i;
        add(channel, begin, begin + BLOCK_BYTES);
      }
      for (TensorInfo tensor : weights.tensors().values()) {
        add(channel, tensor.begin(), Math.min(tensor.end(), tensor.begin() + TENSOR_BYTES));
      }
    }
  }

  private void addName(Path file, long size) {
    digest.update("%s %d\n".formatted(file.getFileName(), size).getBytes(StandardCharsets.UTF_8));
  }

  private void add(FileChannel channel, long begin, long end) throws IOException {
    for (long next = begin; next < end; next += BLOCK_BYTES) {
      ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(BLOCK_BYTES, end - next));
      SafetensorsHeader.fill(channel, next, bytes);
      digest.update(bytes.flip());
    }
  }
}
