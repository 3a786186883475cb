package io.sinklens.job;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * An output on a local disk as any other program sees it, at work or not.
 *
 * @param output the folder, which need not be there
 */
record OutputView(Path output) {
  private static final String WAVE = "wave=";

  static Path folder(Path output, int wave) {
    return output.resolve("annotations").resolve("wave=%05d".formatted(wave));
  }

  String lease() {
    return text("_lease");
  }

  private String text(String name) {
    try {
      return Files.readString(output.resolve(name));
    } catch (NoSuchFileException e) {
      return "";
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + output.resolve(name), e);
    }
  }

  private JsonNode manifest() {
    String json = text("manifest.json");
    try {
      return json.isEmpty() ? MissingNode.getInstance() : Manifest.JSON.readTree(json);
    } catch (IOException e) {
      throw new BrokenInvariantException("No whole manifest lies in " + output);
    }
  }

  /** Of the manifest, below 0 if there is none. */
  int generation() {
    return manifest().path("generation").asInt(-1);
  }

  boolean isComplete() {
    return manifest().path("status").asText().equals("complete");
  }

  /** How many waves there will be at most. */
  int slices() {
    return manifest().path("slices").asInt();
  }

  /** Numbers of the waves that count. */
  Set<Integer> waves() {
    Set<Integer> numbers = new HashSet<>();
    manifest().path("waves").forEach(wave -> numbers.add(wave.path("number").asInt()));
    return numbers;
  }

  /** Rows of the input in the waves that count. */
  long rows() {
    long rows = 0;
    for (JsonNode wave : manifest().path("waves")) {
      rows += wave.path("rows").asLong();
    }
    return rows;
  }

  /** Numbers of the waves that have a folder. */
  Set<Integer> folders() {
    return names(output.resolve("annotations")).stream()
        .filter(name -> name.startsWith(WAVE))
        .map(name -> Integer.valueOf(name.substring(WAVE.length())))
        .collect(Collectors.toSet());
  }

  boolean hasWrittenWaveThatDoesNotCount() {
    Set<Integer> counting = waves();
    return folders().stream()
        .filter(wave -> !counting.contains(wave))
        .anyMatch(wave -> Files.exists(folder(output, wave).resolve("_SUCCESS")));
  }

  /** Whether something is about to take the place of the manifest. */
  boolean hasDraft() {
    return names(output).stream()
        .anyMatch(name -> name.startsWith(".manifest.json.") && name.endsWith(".new"));
  }

  private static Set<String> names(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).collect(Collectors.toSet());
    } catch (NoSuchFileException e) {
      return Set.of();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot list " + folder, e);
    }
  }
}
