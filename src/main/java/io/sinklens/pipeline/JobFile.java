package io.sinklens.pipeline;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import io.sinklens.pipeline.RunSettings.Columns;
import io.sinklens.pipeline.RunSettings.Generation;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.pipeline.RunSettings.Input;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Model;
import io.sinklens.pipeline.RunSettings.Output;
import io.sinklens.pipeline.RunSettings.Run;
import io.sinklens.pipeline.RunSettings.Statistics;
import io.sinklens.pipeline.RunSettings.Variant;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.yaml.snakeyaml.LoaderOptions;

/**
 * The file that describes a run: YAML with kebab-case keys.
 *
 * <p>A key that nobody knows, a key given twice and a value of the wrong type are errors that name
 * the key. Aliases and tags are refused. Every key is described in {@code settings.md}.
 */
public final class JobFile {

  /** The keys of each section; those of a list item stand under the name of the list. */
  static final Map<String, List<String>> KEYS = keys();

  /** Published settings by name, which a variant can name instead of numbers. */
  private static final String RELEASED = "released";

  private static final double RELEASED_MIN_NONSINK_RATIO = 0.5;
  private static final double RELEASED_MOVED_SHARE = 0.4;

  /** A longer file is no job file. */
  public static final int MAX_BYTES = 1_000_000;

  private static final int MAX_DEPTH = 20;

  private static final ObjectMapper MAPPER =
      new ObjectMapper(yamlFactory()).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private JobFile() {}

  /**
   * Reads a job file.
   *
   * @param overlays settings that replace those of the file, each {@code a.b=YAML}; items of a list
   *     are addressed by number, such as {@code variants.1.mode=reference}
   * @throws IllegalArgumentException in one line, for anything that is not a valid job
   */
  public static RunSettings read(Path file, List<String> overlays) {
    String text;
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new IllegalArgumentException(
            "Cannot read job file %s: it has %d bytes, more than %d"
                .formatted(file, Files.size(file), MAX_BYTES));
      }
      text = Files.readString(file);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("Cannot read job file %s: not UTF-8".formatted(file), e);
    } catch (IOException e) {
      String reason = Files.exists(file) ? "it is not a readable file" : "no such file";
      throw new UncheckedIOException("Cannot read job file %s: %s".formatted(file, reason), e);
    }
    return parse(text, "job file " + file, overlays);
  }

  /**
   * Reads the content of a job file, as {@link #read} does.
   *
   * @param place what messages call it
   */
  public static RunSettings parse(byte[] content, String place, List<String> overlays) {
    if (content.length > MAX_BYTES) {
      throw new IllegalArgumentException(
          "Cannot read %s: it has more than %d bytes".formatted(place, MAX_BYTES));
    }
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      return parse(text, place, overlays);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("Cannot read %s: not UTF-8".formatted(place), e);
    }
  }

  /** Reads the text of a job file, as {@link #read} does. */
  public static RunSettings parse(String yaml, List<String> overlays) {
    return parse(yaml, "the job file", overlays);
  }

  private static RunSettings parse(String yaml, String place, List<String> overlays) {
    return settings(tree(yaml, place), overlays);
  }

  /** The keys and values of a job file, or of a part of one. */
  static ObjectNode tree(String yaml, String place) {
    JsonNode root = node(yaml, place);
    if (root.isNull()) {
      root = JsonNodeFactory.instance.objectNode();
    }
    if (!(root instanceof ObjectNode job)) {
      throw new IllegalArgumentException("The job file must hold keys and values, not " + root);
    }
    return job;
  }

  /** The settings that keys and values stand for, with others laid over them. */
  static RunSettings settings(ObjectNode job, List<String> overlays) {
    if (job.path("variants").isMissingNode() || job.path("variants").isNull()) {
      job.set("variants", defaultVariants());
    }
    for (String overlay : overlays) {
      lay(overlay, job);
    }
    return settings(new SettingsSection("", "", job));
  }

  /**
   * All settings as the keys and values of a job file, which reads back as equal settings. Pairs of
   * keys that say the same appear under the first name.
   */
  public static Map<String, @Nullable Object> toMap(RunSettings settings) {
    return SettingsMap.of(settings);
  }

  private static Map<String, List<String>> keys() {
    Map<String, List<String>> keys = new LinkedHashMap<>();
    keys.put(
        "", List.of("input", "output", "model", "generation", "variants", "statistics", "run"));
    keys.put(
        "input", List.of("path", "columns", "images", "image-table", "derived", "filter", "draw"));
    keys.put("input.columns", List.of("id", "image", "image-id", "question", "answers", "mask"));
    keys.put("input.image-table", List.of("path", "id", "image"));
    keys.put("output", List.of("path", "keep-columns"));
    keys.put(
        "model",
        List.of(
            "path",
            "preset",
            "template",
            "image-rule",
            "exif",
            "vision-path",
            "device",
            "dtype",
            "prompt-suffix"));
    keys.put(
        "generation",
        List.of(
            "max-new-tokens", "min-new-tokens", "batch-tokens", "answer-choices", "top-logprobs"));
    keys.put(
        "variants",
        List.of(
            "name",
            "hook",
            "preset",
            "mode",
            "sink-dimensions",
            "sink-threshold",
            "sink-tokens",
            "min-nonsink-ratio",
            "max-sink-share",
            "min-image-attention",
            "moved-share",
            "kept-share",
            "require-visual-sink",
            "masked-tokens",
            "seed"));
    keys.put("statistics", List.of("level", "samples"));
    keys.put(
        "run", List.of("wave-rows", "max-failed-share", "max-image-pixels", "max-stall-seconds"));
    return keys;
  }

  private static RunSettings settings(SettingsSection job) {
    return new RunSettings(
        input(job.section("input")),
        output(job.section("output")),
        model(job.section("model")),
        generation(job.section("generation")),
        job.items("variants").stream().map(JobFile::variant).toList(),
        statistics(job.section("statistics")),
        run(job.section("run")));
  }

  private static Input input(SettingsSection input) {
    SettingsSection columns = input.section("columns");
    return new Input(
        input.requiredText("path"),
        new Columns(
            columns.texts("id", List.of()),
            columns.text("image", "image"),
            columns.optionalText("image-id"),
            columns.text("question", "question"),
            columns.states("answers") ? columns.texts("answers", List.of()) : List.of("answer"),
            columns.optionalText("mask")),
        input.optionalText("images"),
        input.value("image-table") == null ? null : imageTable(input.section("image-table")),
        input.textsByName("derived"),
        input.optionalText("filter"),
        input.optionalInteger("draw"));
  }

  private static ImageTable imageTable(SettingsSection table) {
    return new ImageTable(
        table.requiredText("path"), table.text("id", "id"), table.text("image", "image"));
  }

  private static Output output(SettingsSection output) {
    return new Output(output.requiredText("path"), output.texts("keep-columns", List.of()));
  }

  private static Model model(SettingsSection model) {
    return new Model(
        model.requiredText("path"),
        model.text("preset", "auto"),
        model.text("template", "auto"),
        model.text("image-rule", "auto"),
        model.text("exif", "auto"),
        model.optionalText("vision-path"),
        model.text("device", "auto"),
        model.text("dtype", "auto"),
        model.text("prompt-suffix", ""));
  }

  private static Generation generation(SettingsSection generation) {
    return new Generation(
        generation.integer("max-new-tokens", Generation.DEFAULT_MAX_NEW_TOKENS),
        generation.integer("min-new-tokens", 0),
        generation.optionalInteger("batch-tokens"),
        generation.texts("answer-choices", List.of()),
        generation.integer("top-logprobs", 0));
  }

  private static Variant variant(SettingsSection variant) {
    boolean released = RELEASED.equals(variant.optionalOneOf("preset", List.of(RELEASED)));
    String name = variant.requiredText("name");
    Hook hook = variant.requiredConstant("hook", Hook.values());
    String mode = variant.text("mode", released ? "reference" : "paper");
    List<Integer> sinkDimensions = variant.integers("sink-dimensions");
    Double sinkThreshold = variant.optionalNumber("sink-threshold");
    String sinkTokens = variant.text("sink-tokens", "prompt");
    double minNonsinkRatio =
        variant.fractionOrComplement(
            "min-nonsink-ratio",
            "max-sink-share",
            released ? RELEASED_MIN_NONSINK_RATIO : Variant.DEFAULT_MIN_NONSINK_RATIO);
    double minImageAttention =
        variant.number("min-image-attention", Variant.DEFAULT_MIN_IMAGE_ATTENTION);
    double movedShare =
        variant.fractionOrComplement(
            "moved-share",
            "kept-share",
            released ? RELEASED_MOVED_SHARE : Variant.DEFAULT_MOVED_SHARE);
    boolean requireVisualSink = variant.flag("require-visual-sink", true);
    String maskedTokens = variant.text("masked-tokens", Knockout.SINKS.maskedTokens());
    long seed = variant.whole("seed", Knockout.SINKS.seed());
    return variant.named(
        () ->
            new Variant(
                name,
                hook,
                mode,
                sinkDimensions,
                sinkThreshold,
                sinkTokens,
                minNonsinkRatio,
                minImageAttention,
                movedShare,
                requireVisualSink,
                new Knockout(maskedTokens, seed)));
  }

  private static Statistics statistics(SettingsSection statistics) {
    return new Statistics(
        statistics.constant("level", Statistics.Level.values(), Statistics.Level.SUMMARY),
        statistics.integer("samples", 0));
  }

  private static Run run(SettingsSection run) {
    return new Run(
        run.integer("wave-rows", 100_000),
        run.number("max-failed-share", 0.01),
        run.whole("max-image-pixels", Run.DEFAULT_MAX_IMAGE_PIXELS),
        run.integer("max-stall-seconds", 1800));
  }

  private static ArrayNode defaultVariants() {
    ArrayNode variants = JsonNodeFactory.instance.arrayNode();
    variants.addObject().put("name", "baseline").put("hook", "observe");
    variants.addObject().put("name", "var").put("hook", "var");
    return variants;
  }

  /** Puts one {@code a.b=YAML} into the tree. */
  private static void lay(String overlay, ObjectNode job) {
    int equals = overlay.indexOf('=');
    if (equals < 1) {
      throw new IllegalArgumentException(
          "Cannot set %s: it must look like generation.max-new-tokens=64".formatted(overlay));
    }
    String key = overlay.substring(0, equals).strip();
    JsonNode value = node(overlay.substring(equals + 1), key);
    List<String> steps = Arrays.asList(key.split("\\.", -1));
    JsonNode at = job;
    for (int i = 0; i < steps.size(); i++) {
      String step = steps.get(i);
      boolean last = i == steps.size() - 1;
      if (at instanceof ObjectNode object) {
        if (last) {
          object.set(step, value);
        } else if (object.path(step).isMissingNode() || object.path(step).isNull()) {
          at = object.putObject(step);
        } else {
          at = object.path(step);
        }
      } else if (at instanceof ArrayNode array) {
        int index = index(key, String.join(".", steps.subList(0, i)), step, array.size());
        if (last) {
          array.set(index, value);
        } else {
          at = array.path(index);
        }
      } else {
        throw new IllegalArgumentException(
            "Cannot set %s: %s is %s, which has no keys"
                .formatted(key, String.join(".", steps.subList(0, i)), at));
      }
    }
  }

  private static int index(String key, String list, String step, int size) {
    if (step.matches("[0-9]{1,6}") && Integer.parseInt(step) < size) {
      return Integer.parseInt(step);
    }
    throw new IllegalArgumentException(
        size == 0
            ? "Cannot set %s: %s is empty".formatted(key, list)
            : "Cannot set %s: %s has %d items, numbered 0 to %d"
                .formatted(key, list, size, size - 1));
  }

  private static JsonNode node(String yaml, String place) {
    try (YAMLParser tokens = (YAMLParser) MAPPER.createParser(yaml)) {
      while (tokens.nextToken() != null) {
        if (tokens.isCurrentAlias()) {
          throw new IllegalArgumentException(
              "Cannot read %s: aliases such as *%s are not supported"
                  .formatted(place, SettingsSection.shown(tokens.getText())));
        }
        if (tokens.getTypeId() != null) {
          throw new IllegalArgumentException(
              "Cannot read %s: tags such as %s are not supported"
                  .formatted(
                      place,
                      SettingsSection.shown(String.valueOf(tokens.getTypeId()))
                          .replaceFirst("^tag:yaml.org,2002:", "!!")));
        }
      }
      JsonNode node = MAPPER.readTree(yaml);
      return node.isMissingNode() ? JsonNodeFactory.instance.nullNode() : node;
    } catch (JsonProcessingException e) {
      String line = e.getLocation() == null ? "" : " in line " + e.getLocation().getLineNr();
      throw new IllegalArgumentException(
          "Cannot read %s: malformed%s: %s"
              .formatted(
                  place,
                  line,
                  SettingsSection.shown(e.getOriginalMessage().lines().findFirst().orElse(""))),
          e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + place, e);
    }
  }

  private static YAMLFactory yamlFactory() {
    LoaderOptions options = new LoaderOptions();
    options.setCodePointLimit(MAX_BYTES);
    options.setNestingDepthLimit(MAX_DEPTH);
    options.setAllowDuplicateKeys(false);
    return YAMLFactory.builder()
        .loaderOptions(options)
        .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
        .enable(YAMLParser.Feature.PARSE_BOOLEAN_LIKE_WORDS_AS_STRINGS) // yes, no, on, off
        .build();
  }
}
