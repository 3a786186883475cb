package io.sinklens.checkpoint;

import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Finds and reads the weights of one folder, safetensors or {@code .bin}. */
final class WeightFiles {
  static final String SAFETENSORS_ENDING = ".safetensors";
  static final String BIN_ENDING = ".bin";
  static final String INDEX_OF_BIN = "pytorch_model.bin.index.json";

  /** What leads to the weights, the preferred first, as in transformers. */
  static final List<String> NAMES =
      List.of(
          "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", INDEX_OF_BIN);

  private static final String INDEX_ENDING = ".index.json";

  private WeightFiles() {}

  /** The file of a folder that holds its weights, or lists the files that do. */
  static Optional<Path> find(Path folder) {
    return NAMES.stream()
        .map(folder::resolve)
        .filter(file -> Files.exists(file, LinkOption.NOFOLLOW_LINKS))
        .findFirst();
  }

  /**
   * Reads what {@link #find} found.
   *
   * @throws IllegalArgumentException if a file is not sound, naming file and reason
   */
  static List<WeightFile> read(Path found) {
    return found.toString().endsWith(INDEX_ENDING)
        ? ShardIndex.files(found)
        : List.of(readOne(found));
  }

  /** Reads one file of weights; its name says in which format. */
  static WeightFile readOne(Path file) {
    return file.toString().endsWith(BIN_ENDING)
        ? PickledTensors.read(file)
        : SafetensorsHeader.read(file);
  }
}
