package io.sinklens.job;

import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * The model and dataset that travel in the jar, unpacked for as long as this is open: weights are
 * mapped from files, and a jar cannot be mapped.
 */
final class Bundled implements AutoCloseable {
  private static final String RESOURCES = "/io/sinklens/demo/";
  private static final List<String> CHECKPOINT =
      List.of(
          "config.json",
          "generation_config.json",
          "model.safetensors",
          "preprocessor_config.json",
          "processor_config.json",
          "special_tokens_map.json",
          "tokenizer.json",
          "tokenizer_config.json");

  private final Path folder;

  private Bundled(Path folder) {
    this.folder = folder;
  }

  static Bundled unpack() {
    try {
      Path folder = Files.createTempDirectory("sinklens-bundled-");
      Bundled bundled = new Bundled(folder);
      Files.createDirectory(bundled.checkpoint());
      for (String file : CHECKPOINT) {
        Files.write(bundled.checkpoint().resolve(file), read("checkpoint/" + file));
      }
      Files.write(bundled.scenes(), read("scenes.parquet"));
      return bundled;
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot unpack the bundled model and dataset", e);
    }
  }

  /** The bundled model, trained on scenes, with planted sinks. */
  Path checkpoint() {
    return folder.resolve("checkpoint");
  }

  /** The bundled dataset, rendered scenes with questions. */
  Path scenes() {
    return folder.resolve("scenes.parquet");
  }

  /** A place for files that nobody needs afterwards. */
  Path scratch() {
    return folder;
  }

  /**
   * The job the demo runs.
   *
   * @param overlays more settings, as {@link JobFile#parse} takes them
   */
  RunSettings job(Path output, List<String> overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.path='" + scenes() + "'");
    all.add("model.path='" + checkpoint() + "'");
    all.add("output.path='" + output.toString().replace("'", "''") + "'");
    all.addAll(overlays);
    return JobFile.parse(new String(read("job.yaml"), StandardCharsets.UTF_8), all);
  }

  @Override
  public void close() {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot delete " + folder, e);
    }
  }

  private static byte[] read(String name) {
    try (InputStream resource = Bundled.class.getResourceAsStream(RESOURCES + name)) {
      if (resource == null) {
        throw new IllegalStateException("Cannot find resource " + RESOURCES + name);
      }
      return resource.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read resource " + RESOURCES + name, e);
    }
  }
}
