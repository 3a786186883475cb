package io.sinklens.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.Versions;
import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.regex.Pattern;
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
 * @param waves what is committed
 * @param counts of annotations, when complete
 * @param tokens of answered rows, when complete
 * @param wallSeconds from the start of the job to the end of its checks, when complete
 */
record Manifest(
    int format,
    String status,
    Map<String, String> versions,
    JsonNode settings,
    @Nullable Integer limit,
    ModelFacts model,
    Input input,
    List<Wave> waves,
    @Nullable Counts counts,
    @Nullable Tokens tokens,
    @Nullable Double wallSeconds) {

  private static final int FORMAT = 1;
  private static final String RUNNING = "running";
  private static final String COMPLETE = "complete";

  /** What could be user and password in an address; a name alone is no secret. */
  private static final Pattern PASSWORD = Pattern.compile("(?<=://)[^/@\\s\"]*:[^/@\\s\"]*@");

  private static final ObjectMapper JSON =
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
   */
  record Input(long rows, long images) {}

  /**
   * A part of the images, written and committed together.
   *
   * @param number in {@code wave=NNNNN}
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

  /** The manifest of a run that begins. */
  static Manifest begin(
      RunSettings settings,
      @Nullable Integer limit,
      ModelFacts model,
      Input input,
      SparkSession spark) {
    return new Manifest(
        FORMAT,
        RUNNING,
        versions(spark),
        settings(settings),
        limit,
        model,
        input,
        List.of(),
        null,
        null,
        null);
  }

  Manifest with(List<Wave> committed) {
    return new Manifest(
        format, status, versions, settings, limit, model, input, committed, null, null, null);
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
        waves,
        counts,
        tokens,
        wallSeconds);
  }

  String toJson() {
    return withoutPasswords(JSON.<JsonNode>valueToTree(this).toPrettyString()) + "\n";
  }

  /** Settings as they are stored. */
  static ObjectNode settings(RunSettings settings) {
    try {
      String json = JSON.writeValueAsString(JobFile.toMap(settings));
      return (ObjectNode) JSON.readTree(withoutPasswords(json));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write the settings of a run", e);
    }
  }

  /** What a manifest says of itself; one of another format says nothing. */
  static boolean isComplete(JsonNode manifest) {
    return manifest.path("status").asText().equals(COMPLETE);
  }

  /** Whether a manifest was made with these settings; how the job ran does not count. */
  static boolean hasSettings(JsonNode manifest, RunSettings settings, @Nullable Integer limit) {
    ObjectNode ours = settings(settings);
    if (!(manifest.path("settings").deepCopy() instanceof ObjectNode theirs)) {
      return false;
    }
    ours.remove("run");
    theirs.remove("run");
    JsonNode theirLimit = manifest.path("limit");
    boolean sameLimit =
        limit == null
            ? theirLimit.isNull() || theirLimit.isMissingNode()
            : theirLimit.isInt() && theirLimit.intValue() == limit;
    return sameLimit && ours.equals(theirs);
  }

  static JsonNode read(InputStream json) throws IOException {
    return JSON.readTree(json);
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

  /** Text without passwords in addresses. */
  static String withoutPasswords(String text) {
    return PASSWORD.matcher(text).replaceAll("");
  }

  private static Map<String, String> versions(SparkSession spark) {
    Map<String, String> versions = new LinkedHashMap<>(Versions.all());
    versions.put("spark", spark.version());
    versions.put("scala", scala.util.Properties.versionNumberString());
    return versions;
  }
}
