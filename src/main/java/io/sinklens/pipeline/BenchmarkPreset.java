package io.sinklens.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Job files of published benchmarks: columns as the Hub has them, prompts, answer lengths and the
 * method's settings. What they leave open is where things are.
 *
 * <p>The presets are the files of {@code conf/benchmarks}, which also travel in the jar. A path in
 * one is relative to the input that is given.
 */
public final class BenchmarkPreset {

  /** All that ship; a test holds this list against the folder. */
  public static final List<String> NAMES =
      List.of(
          "chair",
          "chair-lmms-eval",
          "cv-bench",
          "cv-bench-lmms-eval",
          "gqa",
          "gqa-lmms-eval",
          "mm-vet",
          "mme",
          "mme-lmms-eval",
          "mmvp",
          "mmvp-lmms-eval",
          "pope",
          "pope-lmms-eval",
          "scienceqa",
          "scienceqa-lmms-eval",
          "textvqa",
          "textvqa-lmms-eval",
          "textvqa-plain",
          "vizwiz",
          "vizwiz-lmms-eval",
          "vqav2",
          "vqav2-lmms-eval");

  private BenchmarkPreset() {}

  /**
   * The settings of a run of a benchmark.
   *
   * @param name which
   * @param model checkpoint folder
   * @param input Parquet files, a folder or a pattern; of benchmarks that join two tables, the
   *     folder that holds both
   * @param output folder for the results
   * @param overlays settings that replace those of the preset, as in {@link JobFile#read}
   * @throws IllegalArgumentException in one line, for a name that is none and for overlays that are
   *     not valid
   */
  public static RunSettings run(
      String name, String model, String input, String output, List<String> overlays) {
    if (!NAMES.contains(name)) {
      throw new IllegalArgumentException(
          "There is no benchmark %s: use one of %s".formatted(name, String.join(", ", NAMES)));
    }
    ObjectNode job = JobFile.tree(text(name), "benchmark " + name);
    ObjectNode inputs = section(job, "input");
    inputs.put("path", below(input, inputs.get("path")));
    if (inputs.get("image-table") instanceof ObjectNode images) {
      images.put("path", below(input, images.get("path")));
    }
    section(job, "output").put("path", output);
    section(job, "model").put("path", model);
    return JobFile.settings(job, overlays);
  }

  private static String below(String folder, @Nullable JsonNode path) {
    return path == null ? folder : folder.replaceFirst("/+$", "") + "/" + path.textValue();
  }

  private static ObjectNode section(ObjectNode job, String key) {
    if (job.get(key) instanceof ObjectNode section) {
      return section;
    }
    ObjectNode section = JsonNodeFactory.instance.objectNode();
    job.set(key, section);
    return section;
  }

  private static String text(String name) {
    try (InputStream file =
        BenchmarkPreset.class.getResourceAsStream("benchmarks/" + name + ".yaml")) {
      if (file == null) {
        throw new IllegalStateException("Cannot find benchmark preset " + name);
      }
      return new String(file.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read benchmark preset " + name, e);
    }
  }
}
