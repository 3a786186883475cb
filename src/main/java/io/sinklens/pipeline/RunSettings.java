package io.sinklens.pipeline;

import io.sinklens.tensor.Devices;
import java.io.Serializable;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * All settings of a run, resolved: what a job file says, with the defaults filled in.
 *
 * @param input where questions come from
 * @param output where annotations go
 * @param model which model, and how to run it
 * @param generation how answers are generated
 * @param variants what to do about attention, each answers every question
 * @param statistics what to store about attention
 * @param run how the job runs; changes nothing in the result
 */
public record RunSettings(
    Input input,
    Output output,
    Model model,
    Generation generation,
    List<Variant> variants,
    Statistics statistics,
    Run run)
    implements Serializable {

  public RunSettings {
    variants = List.copyOf(variants);
    if (variants.isEmpty()) {
      throw new IllegalArgumentException("Variants must not be empty");
    }
    Set<String> names = new HashSet<>();
    for (Variant variant : variants) {
      if (!names.add(variant.name())) {
        throw new IllegalArgumentException(
            "Variants must have different names, not twice " + variant.name());
      }
    }
  }

  /** The same on another device. */
  public RunSettings onDevice(String device) {
    return withModel(model.path(), model.visionPath(), device);
  }

  /** The same with the model's files elsewhere. */
  public RunSettings withModelAt(String path, @Nullable String visionPath) {
    return withModel(path, visionPath, model.device());
  }

  private RunSettings withModel(String path, @Nullable String visionPath, String device) {
    return new RunSettings(
        input,
        output,
        new Model(
            path,
            model.preset(),
            model.template(),
            model.imageRule(),
            model.exif(),
            visionPath,
            device,
            model.dtype(),
            model.promptSuffix()),
        generation,
        variants,
        statistics,
        run);
  }

  /** The part that decides what is answered. */
  public AnnotatorSettings annotator() {
    return new AnnotatorSettings(model, generation, variants, statistics, run.maxImagePixels());
  }

  /**
   * Where questions come from.
   *
   * @param path Parquet files, a folder or a pattern, on any Hadoop file system
   * @param columns which columns mean what
   * @param images folder that image paths are resolved under, or null when images are stored inline
   * @param imageTable where images are, when they are in rows of their own, or null
   * @param derived columns to add, by name, each an SQL expression of those before it
   * @param filter SQL condition on the columns, or null for all rows
   * @param draw how many rows to take, those whose ids have the smallest SHA-256; above 0, or null
   *     for all
   */
  public record Input(
      String path,
      Columns columns,
      @Nullable String images,
      @Nullable ImageTable imageTable,
      Map<String, String> derived,
      @Nullable String filter,
      @Nullable Integer draw)
      implements Serializable {
    public Input {
      derived = Collections.unmodifiableMap(new LinkedHashMap<>(derived));
      if (imageTable != null && columns.imageId() == null) {
        throw new IllegalArgumentException(
            "input.image-table needs input.columns.image-id, which says what image a row is on");
      }
      if (draw != null) {
        requireAtLeast("input.draw", draw, 1);
      }
    }
  }

  /**
   * Images in rows of their own.
   *
   * @param path Parquet files, a folder or a pattern, on any Hadoop file system
   * @param id its column that questions name images by
   * @param image its column with the image, which the questions then have as their image column
   */
  public record ImageTable(String path, String id, String image) implements Serializable {}

  /**
   * Which columns of the input mean what. Nested columns are written {@code a.b}.
   *
   * @param id columns that together identify a row; empty to number rows by file
   * @param image image bytes, {@code struct<bytes, path>}, or a path
   * @param imageId what identifies the image, or null to use the hash of its bytes
   * @param question the question
   * @param answers columns holding reference answers, strings or arrays of strings
   * @param mask segmentation mask, as the image is stored, or null
   */
  public record Columns(
      List<String> id,
      String image,
      @Nullable String imageId,
      String question,
      List<String> answers,
      @Nullable String mask)
      implements Serializable {

    public Columns {
      id = List.copyOf(id);
      answers = List.copyOf(answers);
    }
  }

  /**
   * Where annotations go.
   *
   * @param path folder on any Hadoop file system
   * @param keepColumns input columns to carry along
   */
  public record Output(String path, List<String> keepColumns) implements Serializable {
    public Output {
      keepColumns = List.copyOf(keepColumns);
    }
  }

  /**
   * Which model, and how to run it.
   *
   * @param path checkpoint folder in a Hugging Face layout, on this machine or any Hadoop file
   *     system
   * @param preset name of a model preset, {@code auto} for the one that matches, or {@code none}
   * @param template {@code auto}, or the name of a prompt template of the model's family
   * @param imageRule {@code auto}, or the name of an image rule of the model's family
   * @param exif {@code auto}, {@code apply} or {@code ignore}
   * @param visionPath folder of the vision encoder, for a checkpoint that holds none, else null
   * @param device {@code auto}, {@code cpu}, {@code gpu} or {@code gpu:N}
   * @param dtype {@code auto}, {@code float32}, {@code bfloat16}, or on a GPU {@code float16}
   * @param promptSuffix appended to every question
   */
  public record Model(
      String path,
      String preset,
      String template,
      String imageRule,
      String exif,
      @Nullable String visionPath,
      String device,
      String dtype,
      String promptSuffix)
      implements Serializable {

    public Model {
      requireOneOf("model.exif", exif, "auto", "apply", "ignore");
      if (!Devices.SETTING.matcher(device).matches()) {
        throw new IllegalArgumentException(
            "model.device must be auto, cpu, gpu or gpu:N, not " + device);
      }
      requireOneOf("model.dtype", dtype, "auto", "float32", "float16", "bfloat16");
    }
  }

  /**
   * How answers are generated: greedily.
   *
   * @param maxNewTokens the longest answer, stop token included, above 0
   * @param minNewTokens tokens before which no stop token is chosen, 0 to {@code maxNewTokens}
   * @param batchTokens tokens of prompts and answers that run together, above 0; a row that is
   *     longer runs alone; null for as many as the device has room for
   * @param answerChoices answers whose first-token probabilities to store, possibly none
   * @param topLogprobs most probable tokens to store for every answer token, 0 to 20
   */
  public record Generation(
      int maxNewTokens,
      int minNewTokens,
      @Nullable Integer batchTokens,
      List<String> answerChoices,
      int topLogprobs)
      implements Serializable {

    /** As in the released code's settings. */
    public static final int DEFAULT_MAX_NEW_TOKENS = 128;

    public Generation {
      answerChoices = List.copyOf(answerChoices);
      requireAtLeast("generation.max-new-tokens", maxNewTokens, 1);
      requireAtLeast("generation.min-new-tokens", minNewTokens, 0);
      if (minNewTokens > maxNewTokens) {
        throw new IllegalArgumentException(
            "generation.min-new-tokens must not be above generation.max-new-tokens, %d, but is %d"
                .formatted(maxNewTokens, minNewTokens));
      }
      if (batchTokens != null) {
        requireAtLeast("generation.batch-tokens", batchTokens, 1);
      }
      requireAtLeast("generation.top-logprobs", topLogprobs, 0);
      if (topLogprobs > 20) {
        throw new IllegalArgumentException(
            "generation.top-logprobs must be at most 20, not " + topLogprobs);
      }
    }
  }

  /**
   * What to do about attention.
   *
   * @param name told apart by it in the output
   * @param hook what to do
   * @param mode {@code paper} or {@code reference}
   * @param sinkDimensions hidden dimensions that mark sinks; empty for the preset's
   * @param sinkThreshold sink value from which a token is a sink (τ), above 0; null for the
   *     preset's, else 20
   * @param sinkTokens {@code prompt} or {@code all}
   * @param minNonsinkRatio least share of image attention on non-sinks (ρ), 0 to 1
   * @param minImageAttention least attention on the image, 0 to 1
   * @param movedShare share of sink attention moved away (p), 0 to 1
   * @param requireVisualSink whether layers without a visual sink are left alone
   * @param knockout what a knockout masks
   */
  public record Variant(
      String name,
      Hook hook,
      String mode,
      List<Integer> sinkDimensions,
      @Nullable Double sinkThreshold,
      String sinkTokens,
      double minNonsinkRatio,
      double minImageAttention,
      double movedShare,
      boolean requireVisualSink,
      Knockout knockout)
      implements Serializable {

    /** ρ where nothing is said: the paper's choice against hallucination. */
    public static final double DEFAULT_MIN_NONSINK_RATIO = 0.5;

    /** The paper's, for all tasks. */
    public static final double DEFAULT_MIN_IMAGE_ATTENTION = 0.2;

    /** p, the paper's, for all tasks. */
    public static final double DEFAULT_MOVED_SHARE = 0.6;

    public Variant {
      sinkDimensions = List.copyOf(sinkDimensions);
      if (name.isBlank()) {
        throw new IllegalArgumentException("Variant name must not be blank");
      }
      requireOneOf("mode", mode, "paper", "reference");
      requireOneOf("sink-tokens", sinkTokens, "prompt", "all");
      requireFraction("min-nonsink-ratio", minNonsinkRatio);
      requireFraction("min-image-attention", minImageAttention);
      requireFraction("moved-share", movedShare);
      if (sinkThreshold != null && !(sinkThreshold > 0 && sinkThreshold < 1e6)) {
        throw new IllegalArgumentException("sink-threshold must be above 0, not " + sinkThreshold);
      }
    }
  }

  /**
   * What a knockout masks.
   *
   * @param maskedTokens {@code sinks} or {@code random}
   * @param seed what random tokens are drawn from
   */
  public record Knockout(String maskedTokens, long seed) implements Serializable {
    /** The visual sinks themselves. */
    public static final Knockout SINKS = new Knockout("sinks", 1);

    public Knockout {
      requireOneOf("masked-tokens", maskedTokens, "sinks", "random");
    }
  }

  /** What a variant does; written in lower case. */
  public enum Hook {
    /** Nothing: fused attention, no statistics. */
    NONE,
    /** Measures and changes nothing. */
    OBSERVE,
    /** Redistributes visual attention. */
    VAR,
    /** Hides visual sinks, or as many other image tokens, from all that follows the image. */
    KNOCKOUT,
    /** Measures also what sinks and other image tokens add to the residual stream. */
    CONTRIBUTION
  }

  /**
   * What to store about attention.
   *
   * @param level how much
   * @param samples rows whose attention maps are stored too, 0 or more; above 0 only at level full
   */
  public record Statistics(Level level, int samples) implements Serializable {
    /** Sinks, selected heads and means by head of every row, and no maps. */
    public static final Statistics SUMMARY = new Statistics(Level.SUMMARY, 0);

    public Statistics {
      requireAtLeast("statistics.samples", samples, 0);
      if (samples > 0 && level != Level.FULL) {
        throw new IllegalArgumentException(
            "statistics.samples must be 0 unless statistics.level is full, not %d at level %s"
                .formatted(samples, SettingsMap.lower(level)));
      }
    }

    /** How much; written in lower case. */
    public enum Level {
      /** No sink columns. */
      NONE,
      /** Sinks, selected heads and means by head. */
      SUMMARY,
      /** The same, and attention maps of sampled rows. */
      FULL
    }
  }

  /**
   * How the job runs.
   *
   * @param waveRows input rows committed together, above 0
   * @param maxFailedShare share of failed rows above which the job ends with exit code 3, 0 to 1
   * @param maxImagePixels images above it fail before they are decoded, above 0
   * @param maxStallSeconds how long nothing may move while a task waits for a row, above 0
   */
  public record Run(int waveRows, double maxFailedShare, long maxImagePixels, int maxStallSeconds)
      implements Serializable {

    /** Far above what cameras make, far below what a decompression bomb holds. */
    public static final long DEFAULT_MAX_IMAGE_PIXELS = 100_000_000;

    public Run {
      requireAtLeast("run.wave-rows", waveRows, 1);
      requireFraction("run.max-failed-share", maxFailedShare);
      if (maxImagePixels < 1) {
        throw new IllegalArgumentException(
            "run.max-image-pixels must be above 0, not " + maxImagePixels);
      }
      requireAtLeast("run.max-stall-seconds", maxStallSeconds, 1);
    }
  }

  private static void requireOneOf(String key, String value, String... allowed) {
    if (!List.of(allowed).contains(value)) {
      throw new IllegalArgumentException(
          "%s must be one of %s, not %s".formatted(key, String.join(", ", allowed), value));
    }
  }

  private static void requireFraction(String key, double value) {
    if (!(value >= 0 && value <= 1)) {
      throw new IllegalArgumentException("%s must be from 0 to 1, not %s".formatted(key, value));
    }
  }

  private static void requireAtLeast(String key, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException(
          "%s must be at least %d, not %d".formatted(key, least, value));
    }
  }
}
