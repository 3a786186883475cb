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
import io.sinklens.pipeline.RunSettings.Input;
import io.sinklens.pipeline.RunSettings.Model;
import io.sinklens.pipeline.RunSettings.Output;
import io.sinklens.pipeline.RunSettings.Run;
import io.sinklens.pipeline.RunSettings.Statistics;
import io.sinklens.pipeline.RunSettings.Variant;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
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

  private static final int MAX_CHARACTERS = 1_000_000;
  private static final int MAX_DEPTH = 20;
  private static final int MAX_MESSAGE_LENGTH = 300;

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
      if (Files.size(file) > MAX_CHARACTERS) {
        throw new IllegalArgumentException(
            "Cannot read job file %s: it has %d bytes, more than %d"
                .formatted(file, Files.size(file), MAX_CHARACTERS));
      }
      text = Files.readString(file);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("Cannot read job file %s: not UTF-8".formatted(file), e);
    } catch (IOException e) {
      String reason = Files.exists(file) ? "it is not a readable file" : "no such file";
      throw new UncheckedIOException("Cannot read job file %s: %s".formatted(file, reason), e);
    }
    return parse(text, overlays);
  }

  /** Reads the text of a job file, as {@link #read} does. */
  public static RunSettings parse(String yaml, List<String> overlays) {
    JsonNode root = node(yaml, "the job file");
    if (root.isNull()) {
      root = JsonNodeFactory.instance.objectNode();
    }
    if (!(root instanceof ObjectNode job)) {
      throw new IllegalArgumentException("The job file must hold keys and values, not " + root);
    }
    if (job.path("variants").isMissingNode() || job.path("variants").isNull()) {
      job.set("variants", defaultVariants());
    }
    for (String overlay : overlays) {
      lay(overlay, job);
    }
    return settings(new Section("", "", job));
  }

  /**
   * All settings as the keys and values of a job file, which reads back as equal settings. Pairs of
   * keys that say the same appear under the first name.
   */
  public static Map<String, @Nullable Object> toMap(RunSettings settings) {
    Columns columns = settings.input().columns();
    Model model = settings.model();
    Generation generation = settings.generation();
    List<String> choices = generation.answerChoices();
    return entries(
        "input",
        entries(
            "path",
            settings.input().path(),
            "columns",
            entries(
                "id",
                columns.id(),
                "image",
                columns.image(),
                "image-id",
                columns.imageId(),
                "question",
                columns.question(),
                "answers",
                columns.answers(),
                "mask",
                columns.mask()),
            "images",
            settings.input().images(),
            "filter",
            settings.input().filter()),
        "output",
        entries("path", settings.output().path(), "keep-columns", settings.output().keepColumns()),
        "model",
        entries(
            "path",
            model.path(),
            "preset",
            model.preset(),
            "template",
            model.template(),
            "image-rule",
            model.imageRule(),
            "exif",
            model.exif(),
            "vision-path",
            null,
            "device",
            model.device(),
            "dtype",
            model.dtype(),
            "prompt-suffix",
            model.promptSuffix()),
        "generation",
        entries(
            "max-new-tokens",
            generation.maxNewTokens(),
            "batch-tokens",
            generation.batchTokens(),
            "answer-choices",
            choices.isEmpty() ? null : choices,
            "top-logprobs",
            generation.topLogprobs()),
        "variants",
        settings.variants().stream().map(JobFile::toMap).toList(),
        "statistics",
        entries("level", lower(settings.statistics().level()), "samples", 0),
        "run",
        entries(
            "wave-rows",
            settings.run().waveRows(),
            "max-failed-share",
            settings.run().maxFailedShare(),
            "max-image-pixels",
            settings.run().maxImagePixels()));
  }

  private static Map<String, @Nullable Object> toMap(Variant variant) {
    return entries(
        "name",
        variant.name(),
        "hook",
        lower(variant.hook()),
        "mode",
        variant.mode(),
        "sink-dimensions",
        variant.sinkDimensions().isEmpty() ? null : variant.sinkDimensions(),
        "sink-threshold",
        variant.sinkThreshold(),
        "sink-tokens",
        variant.sinkTokens(),
        "min-nonsink-ratio",
        variant.minNonsinkRatio(),
        "min-image-attention",
        variant.minImageAttention(),
        "moved-share",
        variant.movedShare(),
        "require-visual-sink",
        variant.requireVisualSink());
  }

  private static Map<String, List<String>> keys() {
    Map<String, List<String>> keys = new LinkedHashMap<>();
    keys.put(
        "", List.of("input", "output", "model", "generation", "variants", "statistics", "run"));
    keys.put("input", List.of("path", "columns", "images", "filter"));
    keys.put("input.columns", List.of("id", "image", "image-id", "question", "answers", "mask"));
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
        "generation", List.of("max-new-tokens", "batch-tokens", "answer-choices", "top-logprobs"));
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
            "require-visual-sink"));
    keys.put("statistics", List.of("level", "samples"));
    keys.put("run", List.of("wave-rows", "max-failed-share", "max-image-pixels"));
    return keys;
  }

  private static RunSettings settings(Section job) {
    return new RunSettings(
        input(job.section("input")),
        output(job.section("output")),
        model(job.section("model")),
        generation(job.section("generation")),
        job.items("variants").stream().map(JobFile::variant).toList(),
        statistics(job.section("statistics")),
        run(job.section("run")));
  }

  private static Input input(Section input) {
    Section columns = input.section("columns");
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
        input.optionalText("filter"));
  }

  private static Output output(Section output) {
    return new Output(output.requiredText("path"), output.texts("keep-columns", List.of()));
  }

  private static Model model(Section model) {
    if (model.value("vision-path") != null) {
      throw new IllegalArgumentException(
          "%s is not available in this version; leave it out".formatted(model.path("vision-path")));
    }
    return new Model(
        model.requiredText("path"),
        model.text("preset", "auto"),
        model.text("template", "auto"),
        model.text("image-rule", "auto"),
        model.text("exif", "auto"),
        model.text("device", "auto"),
        model.text("dtype", "auto"),
        model.text("prompt-suffix", ""));
  }

  private static Generation generation(Section generation) {
    return new Generation(
        generation.integer("max-new-tokens", 128),
        generation.integer("batch-tokens", 16_384),
        generation.texts("answer-choices", List.of()),
        generation.integer("top-logprobs", 0));
  }

  private static Variant variant(Section variant) {
    boolean released = RELEASED.equals(variant.optionalOneOf("preset", List.of(RELEASED)));
    String name = variant.requiredText("name");
    Hook hook = variant.requiredConstant("hook", Hook.values());
    String mode = variant.text("mode", released ? "reference" : "paper");
    List<Integer> sinkDimensions = variant.integers("sink-dimensions");
    Double sinkThreshold = variant.optionalNumber("sink-threshold");
    String sinkTokens = variant.text("sink-tokens", "prompt");
    double minNonsinkRatio =
        variant.fractionOrComplement(
            "min-nonsink-ratio", "max-sink-share", released ? RELEASED_MIN_NONSINK_RATIO : 0.5);
    double minImageAttention = variant.number("min-image-attention", 0.2);
    double movedShare =
        variant.fractionOrComplement(
            "moved-share", "kept-share", released ? RELEASED_MOVED_SHARE : 0.6);
    boolean requireVisualSink = variant.flag("require-visual-sink", true);
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
                requireVisualSink));
  }

  private static Statistics statistics(Section statistics) {
    JsonNode level = statistics.value("level");
    if (level != null && level.asText().equals("full")) {
      throw new IllegalArgumentException(
          "%s full is not available in this version; it must be none or summary"
              .formatted(statistics.path("level")));
    }
    if (statistics.integer("samples", 0) != 0) {
      throw new IllegalArgumentException(
          "%s is not available in this version; it must be 0"
              .formatted(statistics.path("samples")));
    }
    return new Statistics(
        statistics.constant("level", Statistics.Level.values(), Statistics.Level.SUMMARY));
  }

  private static Run run(Section run) {
    return new Run(
        run.integer("wave-rows", 100_000),
        run.number("max-failed-share", 0.01),
        run.whole("max-image-pixels", 100_000_000));
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
    try (YAMLParser aliases = (YAMLParser) MAPPER.createParser(yaml)) {
      while (aliases.nextToken() != null) {
        if (aliases.isCurrentAlias()) {
          throw new IllegalArgumentException(
              "Cannot read %s: aliases such as *%s are not supported"
                  .formatted(place, shown(aliases.getText())));
        }
      }
      JsonNode node = MAPPER.readTree(yaml);
      return node.isMissingNode() ? JsonNodeFactory.instance.nullNode() : node;
    } catch (JsonProcessingException e) {
      String line = e.getLocation() == null ? "" : " in line " + e.getLocation().getLineNr();
      throw new IllegalArgumentException(
          "Cannot read %s: malformed%s: %s"
              .formatted(place, line, shown(e.getOriginalMessage().lines().findFirst().orElse(""))),
          e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + place, e);
    }
  }

  private static YAMLFactory yamlFactory() {
    LoaderOptions options = new LoaderOptions();
    options.setCodePointLimit(MAX_CHARACTERS);
    options.setNestingDepthLimit(MAX_DEPTH);
    options.setAllowDuplicateKeys(false);
    return YAMLFactory.builder()
        .loaderOptions(options)
        .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
        .enable(YAMLParser.Feature.PARSE_BOOLEAN_LIKE_WORDS_AS_STRINGS) // yes, no, on, off
        .build();
  }

  /** Text of a stranger as part of a message: one line of bounded length. */
  private static String shown(String text) {
    String start =
        text.length() <= MAX_MESSAGE_LENGTH ? text : text.substring(0, MAX_MESSAGE_LENGTH) + "...";
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?");
  }

  private static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  private static Map<String, @Nullable Object> entries(@Nullable Object... keysAndValues) {
    Map<String, @Nullable Object> entries = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      entries.put((String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return entries;
  }

  /** The known key nearest to one that nobody knows, if any is near. */
  private static Optional<String> nearest(String kind, String path, String key) {
    String best = null;
    int least = Math.max(2, key.length() / 2) + 1;
    for (var section : KEYS.entrySet()) {
      for (String known : section.getValue()) {
        boolean here = section.getKey().equals(kind);
        int distance = distance(key, known) + (here ? 0 : 1);
        if (distance < least) {
          least = distance;
          best = join(here ? path : section.getKey(), known);
        }
      }
    }
    return Optional.ofNullable(best);
  }

  /** Letters to insert, remove or replace to make one word of the other. */
  private static int distance(String one, String other) {
    int[] above = new int[other.length() + 1];
    Arrays.setAll(above, i -> i);
    for (int i = 1; i <= one.length(); i++) {
      int[] row = new int[other.length() + 1];
      row[0] = i;
      for (int j = 1; j <= other.length(); j++) {
        int replaced = above[j - 1] + (one.charAt(i - 1) == other.charAt(j - 1) ? 0 : 1);
        row[j] = Math.min(replaced, Math.min(above[j], row[j - 1]) + 1);
      }
      above = row;
    }
    return above[other.length()];
  }

  private static String join(String path, String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  /**
   * One mapping of the file, with only known keys.
   *
   * @param path where it stands, such as {@code variants.1}
   * @param kind which keys it may have, a key of {@link #KEYS}
   */
  private record Section(String path, String kind, ObjectNode node) {

    Section {
      List<String> known = KEYS.getOrDefault(kind, List.of());
      node.fieldNames()
          .forEachRemaining(
              key -> {
                if (!known.contains(key)) {
                  throw new IllegalArgumentException(
                      "Unknown setting "
                          + shown(join(path, key))
                          + nearest(kind, path, key)
                              .map("; did you mean %s?"::formatted)
                              .orElse("; known here: " + String.join(", ", known)));
                }
              });
    }

    String path(String key) {
      return join(path, key);
    }

    /** What stands under a key, or null for nothing and for YAML's null. */
    @Nullable JsonNode value(String key) {
      JsonNode value = node.get(key);
      return value == null || value.isNull() ? null : value;
    }

    /** Whether the key is there at all, also with YAML's null. */
    boolean states(String key) {
      return node.has(key);
    }

    Section section(String key) {
      JsonNode value = value(key);
      if (value == null) {
        return new Section(path(key), path(key), JsonNodeFactory.instance.objectNode());
      }
      if (value instanceof ObjectNode object) {
        return new Section(path(key), path(key), object);
      }
      throw wrong(key, "a section of keys", value);
    }

    List<Section> items(String key) {
      JsonNode value = value(key);
      if (!(value instanceof ArrayNode array)) {
        throw wrong(key, "a list", value);
      }
      List<Section> items = new ArrayList<>();
      for (int i = 0; i < array.size(); i++) {
        if (!(array.get(i) instanceof ObjectNode item)) {
          throw wrong(key + "." + i, "a section of keys", array.get(i));
        }
        items.add(new Section(path(key) + "." + i, key, item));
      }
      return items;
    }

    String requiredText(String key) {
      String text = optionalText(key);
      if (text == null || text.isBlank()) {
        throw new IllegalArgumentException(path(key) + " must be given");
      }
      return text;
    }

    String text(String key, String ifAbsent) {
      String text = optionalText(key);
      return text == null ? ifAbsent : text;
    }

    @Nullable String optionalText(String key) {
      JsonNode value = value(key);
      return value == null ? null : text(key, value);
    }

    private String text(String key, JsonNode value) {
      if (!value.isTextual()) {
        throw wrong(key, "text", value);
      }
      return value.textValue();
    }

    @Nullable String optionalOneOf(String key, List<String> allowed) {
      String text = optionalText(key);
      if (text != null && !allowed.contains(text)) {
        throw new IllegalArgumentException(
            "%s must be %s, not %s"
                .formatted(
                    path(key),
                    allowed.size() == 1 ? allowed.get(0) : "one of " + String.join(", ", allowed),
                    shown(text)));
      }
      return text;
    }

    <E extends Enum<E>> E constant(String key, E[] constants, E ifAbsent) {
      List<String> names = Arrays.stream(constants).map(JobFile::lower).toList();
      String text = optionalOneOf(key, names);
      return text == null ? ifAbsent : constants[names.indexOf(text)];
    }

    <E extends Enum<E>> E requiredConstant(String key, E[] constants) {
      requiredText(key);
      return constant(key, constants, constants[0]);
    }

    /** A list of texts; one text stands for a list of one. */
    List<String> texts(String key, List<String> ifAbsent) {
      JsonNode value = value(key);
      if (value == null) {
        return ifAbsent;
      }
      if (value.isTextual()) {
        return List.of(value.textValue());
      }
      if (!value.isArray()) {
        throw wrong(key, "text or a list of texts", value);
      }
      List<String> texts = new ArrayList<>();
      for (int i = 0; i < value.size(); i++) {
        texts.add(text(key + "." + i, value.get(i)));
      }
      return texts;
    }

    /** A list of whole numbers from 0, also as text such as {@code 1415,2533}. */
    List<Integer> integers(String key) {
      JsonNode value = value(key);
      if (value == null) {
        return List.of();
      }
      JsonNode list = value;
      if (value.isTextual()) {
        String text = value.textValue();
        if (!text.matches("\\s*[0-9]{1,9}(\\s*,\\s*[0-9]{1,9})*\\s*")) {
          throw wrong(key, "whole numbers such as [1415, 2533]", value);
        }
        ArrayNode numbers = JsonNodeFactory.instance.arrayNode();
        for (String number : text.split(",", -1)) {
          numbers.add(Integer.parseInt(number.strip()));
        }
        list = numbers;
      } else if (value.isInt()) {
        list = JsonNodeFactory.instance.arrayNode().add(value);
      }
      List<Integer> integers = new ArrayList<>();
      for (JsonNode number : list) {
        if (!number.isInt() || number.intValue() < 0) {
          throw wrong(key, "whole numbers such as [1415, 2533]", value);
        }
        integers.add(number.intValue());
      }
      if (!list.isArray()) {
        throw wrong(key, "whole numbers such as [1415, 2533]", value);
      }
      return integers;
    }

    int integer(String key, int ifAbsent) {
      JsonNode value = value(key);
      if (value != null && !value.isInt()) {
        throw wrong(key, "a whole number", value);
      }
      return value == null ? ifAbsent : value.intValue();
    }

    long whole(String key, long ifAbsent) {
      JsonNode value = value(key);
      if (value != null && !(value.isIntegralNumber() && value.canConvertToLong())) {
        throw wrong(key, "a whole number", value);
      }
      return value == null ? ifAbsent : value.longValue();
    }

    double number(String key, double ifAbsent) {
      Double number = optionalNumber(key);
      return number == null ? ifAbsent : number;
    }

    @Nullable Double optionalNumber(String key) {
      JsonNode value = value(key);
      if (value != null && !(value.isNumber() && Double.isFinite(value.doubleValue()))) {
        throw wrong(key, "a number", value);
      }
      return value == null ? null : value.doubleValue();
    }

    /** A share under its own name, or what is left of 1 under the other name; never both. */
    double fractionOrComplement(String key, String complement, double ifAbsent) {
      Double share = fraction(key);
      Double rest = fraction(complement);
      if (share != null && rest != null) {
        throw new IllegalArgumentException(
            "%s and %s say the same; give only one".formatted(path(key), path(complement)));
      }
      if (rest != null) {
        return BigDecimal.ONE.subtract(BigDecimal.valueOf(rest)).doubleValue();
      }
      return share == null ? ifAbsent : share;
    }

    private @Nullable Double fraction(String key) {
      Double share = optionalNumber(key);
      if (share != null && !(share >= 0 && share <= 1)) {
        throw new IllegalArgumentException(
            "%s must be from 0 to 1, not %s".formatted(path(key), share));
      }
      return share;
    }

    boolean flag(String key, boolean ifAbsent) {
      JsonNode value = value(key);
      if (value != null && !value.isBoolean()) {
        throw wrong(key, "true or false", value);
      }
      return value == null ? ifAbsent : value.booleanValue();
    }

    /** Makes a value of this section, whose refusals then say where the section stands. */
    <T> T named(Supplier<T> made) {
      try {
        return made.get();
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException("%s: %s".formatted(path, e.getMessage()), e);
      }
    }

    private IllegalArgumentException wrong(String key, String expected, @Nullable JsonNode value) {
      return new IllegalArgumentException(
          "%s must be %s, not %s".formatted(path(key), expected, shown(String.valueOf(value))));
    }
  }
}
