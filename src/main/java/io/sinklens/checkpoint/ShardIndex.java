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

/** Reads {@code model.safetensors.index.json}: which file of the folder holds which tensor. */
final class ShardIndex {
  private ShardIndex() {}

  /** The headers of all shards, each agreeing with the index. */
  static List<SafetensorsHeader> headers(Path index) {
    ConfigJson map = ConfigJson.read(index).child("weight_map");
    SortedMap<String, SortedSet<String>> namesByFile = new TreeMap<>();
    for (String name : map.keys()) {
      String file = map.text(name);
      requirePlainName(index, file);
      namesByFile.computeIfAbsent(file, ignored -> new TreeSet<>()).add(name);
    }
    List<SafetensorsHeader> headers = new ArrayList<>();
    for (Map.Entry<String, SortedSet<String>> entry : namesByFile.entrySet()) {
      headers.add(header(index, entry.getKey(), entry.getValue()));
    }
    return headers;
  }

  private static SafetensorsHeader header(Path index, String file, SortedSet<String> names) {
    Path shard = index.resolveSibling(file);
    if (!Files.isRegularFile(shard)) {
      throw StrictJson.refusal(
          index,
          "it places %d tensors in %s, which is not in the folder".formatted(names.size(), file));
    }
    SafetensorsHeader header = SafetensorsHeader.read(shard);
    SortedSet<String> absent = new TreeSet<>(names);
    absent.removeAll(header.tensors().keySet());
    if (!absent.isEmpty()) {
      throw StrictJson.refusal(
          index, "it places %s in %s, which does not hold it".formatted(absent.first(), file));
    }
    SortedSet<String> unlisted = new TreeSet<>(header.tensors().keySet());
    unlisted.removeAll(names);
    if (!unlisted.isEmpty()) {
      throw StrictJson.refusal(
          index, "%s holds %s, which it does not place there".formatted(file, unlisted.first()));
    }
    return header;
  }

  /** Links are fine, since download caches are made of them; a path that leads elsewhere is not. */
  private static void requirePlainName(Path index, String file) {
    if (!file.endsWith(".safetensors")
        || file.contains("/")
        || file.contains("\\")
        || file.codePoints().anyMatch(Character::isISOControl)) {
      throw StrictJson.refusal(
          index,
          "weight_map must name .safetensors files of the folder itself, not '%s'".formatted(file));
    }
  }
}
