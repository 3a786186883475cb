package io.sinklens.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Reads {@code model.safetensors.index.json} or {@code pytorch_model.bin.index.json}: which file of
 * the folder holds which tensor.
 */
final class ShardIndex {
  private ShardIndex() {}

  /** All shards, each agreeing with the index. */
  static List<WeightFile> files(Path index) {
    ConfigJson map = ConfigJson.read(index).child("weight_map");
    SortedMap<String, SortedSet<String>> namesByFile = new TreeMap<>();
    for (String name : map.keys()) {
      String file = map.text(name);
      requirePlainName(index, file);
      namesByFile.computeIfAbsent(file, ignored -> new TreeSet<>()).add(name);
    }
    List<WeightFile> files = new ArrayList<>();
    for (Map.Entry<String, SortedSet<String>> entry : namesByFile.entrySet()) {
      files.add(shard(index, entry.getKey(), entry.getValue()));
    }
    return files;
  }

  private static WeightFile shard(Path index, String file, SortedSet<String> names) {
    Path path = index.resolveSibling(file);
    if (!Files.isRegularFile(path)) {
      throw StrictJson.refusal(
          index,
          "it places %d tensors in %s, which is not in the folder".formatted(names.size(), file));
    }
    WeightFile shard = WeightFiles.readOne(path);
    SortedSet<String> absent = new TreeSet<>(names);
    absent.removeAll(shard.tensors().keySet());
    if (!absent.isEmpty()) {
      throw StrictJson.refusal(
          index, "it places %s in %s, which does not hold it".formatted(absent.first(), file));
    }
    SortedSet<String> unlisted = new TreeSet<>(shard.tensors().keySet());
    unlisted.removeAll(names);
    if (!unlisted.isEmpty()) {
      throw StrictJson.refusal(
          index, "%s holds %s, which it does not place there".formatted(file, unlisted.first()));
    }
    return shard;
  }

  /** Links are fine, since download caches are made of them; a path that leads elsewhere is not. */
  private static void requirePlainName(Path index, String file) {
    String ending =
        index.endsWith(WeightFiles.INDEX_OF_BIN)
            ? WeightFiles.BIN_ENDING
            : WeightFiles.SAFETENSORS_ENDING;
    if (!file.endsWith(ending)
        || file.contains("/")
        || file.contains("\\")
        || file.codePoints().anyMatch(Character::isISOControl)) {
      throw StrictJson.refusal(
          index,
          "weight_map must name %s files of the folder itself, not '%s'".formatted(ending, file));
    }
  }
}
