package io.sinklens.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.Versions;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * What {@code manifest.json} holds: which waves count, and how they were made.
 *
 * @param format of this file
 * @param status {@code running} or {@code complete}
 * @param versions of the parts
 * @param settings in the form of a job file, without passwords
 * @param limit first rows that were asked for, or null for all
 * @param model what was loaded
 * @param input what was read
 * @param slices into how many parts images are divided
 * @param generation how many runs have begun to write here before the one at work; a wave's number
 *     is that of its slice, and {@code slices} more for each of them, so that no two runs ever
 *     write into one folder
 * @param waves what is committed
 * @param counts of annotations, when complete
 * @param tokens of answered rows, when complete
 * @param wallSeconds from the start of the job to its last commit or, when complete, to the end of
 *     its checks; of all runs together that went on with it
 */
record Manifest(
    int format,
    String status,
    Map<String, String> versions,
    JsonNode settings,
    @Nullable Integer limit,
    ModelFacts model,
    Input input,
    int slices,
    int generation,
    List<Wave> waves,
    @Nullable Counts counts,
    @Nullable Tokens tokens,
    double wallSeconds) {

  private static final int FORMAT = 2;
  private static final String RUNNING = "running";
  private static final String COMPLETE = "complete";

  /** How everything in an output is written that is not a table. */
  static final ObjectMapper JSON =
      new ObjectMapper()
          .setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

  Manifest {
    waves = List.copyOf(waves);
  }

  /**
   * What was read.
   *
   * @param rows questions
   * @param images different images, as far as bytes or paths tell
   * @param fingerprint of ids, images as far as bytes or paths tell, questions and answers
   * @param files SHA-256 of the names and sizes of the files
   */
  record Input(long rows, long images, String fingerprint, String files) {}

  /**
   * A part of the images, written and committed together.
   *
   * @param number in {@code wave=NNNNN}; modulo the number of slices, that of the slice
   * @param rows questions
   */
  record Wave(int number, long rows) {}

  /**
   * What became of the rows.
   *
   * @param annotations input rows times variants
   * @param answered those with an answer
   * @param failed those without
   * @param variants the same by variant
   */
  record Counts(
      long annotations, long answered, long failed, Map<String, VariantCounts> variants) {}

  /**
   * What became of the rows under one variant.
   *
   * @param answered rows with an answer
   * @param failed rows without, by kind of failure
   */
  record VariantCounts(long answered, SortedMap<String, Long> failed) {}

  /**
   * Tokens of answered rows.
   *
   * @param prompt of prompts, images included
   * @param generated of answers
   */
  record Tokens(long prompt, long generated) {}

  /**
   * The manifest of a run that begins.
   *
   * @param replaced what lies there and counts no more, or null
   */
  static Manifest begin(
      @Nullable Manifest replaced,
      RunSettings settings,
      @Nullable Integer limit,
      ModelFacts model,
      InputQuestions questions,
      SparkSession spark) {
    return new Manifest(
        FORMAT,
        RUNNING,
        versions(spark),
        settings(settings),
        limit,
        model,
        questions.input(),
        questions.slices(),
        replaced == null ? 0 : replaced.generationAbove(questions.slices()),
        List.of(),
        null,
        null,
        0);
  }

  /**
   * The same after one more wave.
   *
   * @param former the wave it takes the place of, or null
   */
  Manifest with(Wave committed, @Nullable Wave former, double wallSeconds) {
    return running(
        generation,
        Stream.concat(waves.stream().filter(wave -> !wave.equals(former)), Stream.of(committed))
            .sorted(Comparator.comparingInt(Wave::number))
            .toList(),
        wallSeconds);
  }

  /** The same for the next run, but for the waves of some numbers. */
  Manifest goneOnWith(IntPredicate lost) {
    return running(
        generationAbove(slices),
        waves.stream().filter(wave -> !lost.test(wave.number())).toList(),
        wallSeconds);
  }

  /** The first generation whose waves have higher numbers than all of this one and before. */
  private int generationAbove(int slicesThen) {
    return Math.toIntExact(((long) slices * (generation + 1) - 1) / slicesThen + 1);
  }

  /** A slice as the run at work writes it. */
  Wave wave(int slice, long rows) {
    return new Wave(Math.toIntExact(slice + (long) slices * generation), rows);
  }

  private Manifest running(int generation, List<Wave> committed, double wallSeconds) {
    return new Manifest(
        format,
        RUNNING,
        versions,
        settings,
        limit,
        model,
        input,
        slices,
        generation,
        committed,
        null,
        null,
        wallSeconds);
  }

  Manifest complete(Counts counts, Tokens tokens, double wallSeconds) {
    return new Manifest(
        format,
        COMPLETE,
        versions,
        settings,
        limit,
        model,
        input,
        slices,
        generation,
        waves,
        counts,
        tokens,
        wallSeconds);
  }

  String toJson() {
    return Addresses.withoutSecrets(JSON.<JsonNode>valueToTree(this).toPrettyString()) + "\n";
  }

  /** Settings as they are stored. */
  static ObjectNode settings(RunSettings settings) {
    try {
      String json = JSON.writeValueAsString(JobFile.toMap(settings));
      return (ObjectNode) JSON.readTree(Addresses.withoutSecrets(json));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write the settings of a run", e);
    }
  }

  boolean isComplete() {
    return status.equals(COMPLETE);
  }

  /** Whether a part of the images is committed. */
  boolean hasSlice(int slice) {
    return waves.stream().anyMatch(wave -> wave.number() % slices == slice);
  }

  /** The numbers of committed waves. */
  Set<Integer> waveNumbers() {
    return waves.stream().map(Wave::number).collect(Collectors.toSet());
  }

  /**
   * Reads a manifest.
   *
   * @return nothing where it is not one of this format
   */
  static Optional<Manifest> read(String json) {
    try {
      JsonNode tree = JSON.readTree(json);
      return tree.path("format").asInt() == FORMAT
          ? Optional.of(JSON.treeToValue(tree, Manifest.class))
          : Optional.empty();
    } catch (JsonProcessingException e) {
      return Optional.empty();
    }
  }

  /** Any part, as it is stored. */
  static JsonNode tree(Object part) {
    return JSON.valueToTree(part);
  }

  static String toJson(ModelFacts facts) {
    try {
      return JSON.writeValueAsString(facts);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write the facts of a model", e);
    }
  }

  static ModelFacts modelFacts(String json) {
    try {
      return JSON.readValue(json, ModelFacts.class);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot read the facts of a model", e);
    }
  }

  private static Map<String, String> versions(SparkSession spark) {
    Map<String, String> versions = new LinkedHashMap<>(Versions.all());
    versions.put("spark", spark.version());
    versions.put("scala", scala.util.Properties.versionNumberString());
    return versions;
  }
}
