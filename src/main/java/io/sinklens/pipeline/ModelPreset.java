package io.sinklens.pipeline;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.sinklens.family.Blueprint;
import io.sinklens.model.decoder.LlamaConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What is known of a published model beyond its files: the hidden dimensions that mark its sinks,
 * and how its authors use it, against which {@code inspect} holds a checkpoint's own files.
 *
 * <p>The presets are the files of {@code conf/models}, which also travel in the jar.
 *
 * @param name the file's name
 * @param match the shape that tells the model from others
 * @param usage how its authors use it
 * @param sinkDimensions hidden dimensions of massive activations; empty where they are not known
 * @param sinkThreshold sink value from which a token is a sink
 */
record ModelPreset(
    String name, Match match, Usage usage, List<Integer> sinkDimensions, double sinkThreshold) {

  /** All that ship; a test holds this list against the folder. */
  static final List<String> NAMES =
      List.of(
          "demo",
          "internvl2-8b",
          "internvl3-8b",
          "llava-1.5-13b",
          "llava-1.5-7b",
          "llava-onevision-7b",
          "llava-v1.6-mistral-7b",
          "llava-v1.6-vicuna-13b",
          "llava-v1.6-vicuna-7b",
          "qwen2-vl-2b",
          "qwen2-vl-7b",
          "qwen2.5-vl-3b",
          "qwen2.5-vl-7b",
          "vila-13b",
          "vila1.5-13b");

  private static final ObjectMapper YAML =
      YAMLMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .build();

  ModelPreset {
    sinkDimensions = List.copyOf(sinkDimensions);
  }

  /**
   * The shape of a model.
   *
   * @param layouts those of its files, where only they tell it from others; any where there are
   *     none
   */
  record Match(
      @JsonProperty(required = true) String family,
      @JsonProperty(value = "hidden-size", required = true) int hiddenSize,
      @JsonProperty(required = true) int layers,
      @JsonProperty(value = "key-value-heads", required = true) int keyValueHeads,
      @JsonProperty(value = "intermediate-size", required = true) int intermediateSize,
      @JsonProperty(required = true) List<Integer> vocabulary,
      @JsonProperty(value = "rope-theta", required = true) double ropeTheta,
      @Nullable List<String> layouts) {

    boolean fits(Blueprint blueprint) {
      LlamaConfig decoder = blueprint.decoder();
      return family.equals(blueprint.family())
          && hiddenSize == decoder.hiddenSize()
          && layers == decoder.numHiddenLayers()
          && keyValueHeads == decoder.numKeyValueHeads()
          && intermediateSize == decoder.intermediateSize()
          && vocabulary.contains(decoder.vocabSize())
          && ropeTheta == decoder.ropeTheta()
          && (layouts == null || layouts.contains(blueprint.layout()));
    }
  }

  /**
   * How a model is used.
   *
   * @param templates the prompt templates of its published folders
   * @param imageRules the image rules of its published folders
   * @param stopTokens what ends an answer
   */
  record Usage(
      @JsonProperty(value = "template", required = true)
          @JsonFormat(with = JsonFormat.Feature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          List<String> templates,
      @JsonProperty(value = "image-rules", required = true) List<String> imageRules,
      @JsonProperty(value = "stop-tokens", required = true) List<Integer> stopTokens) {
    Usage {
      templates = List.copyOf(templates);
      imageRules = List.copyOf(imageRules);
      stopTokens = List.copyOf(stopTokens);
    }
  }

  /** What a preset's file holds. */
  private record Content(
      @JsonProperty(required = true) Match match,
      @JsonProperty(required = true) Usage usage,
      @JsonProperty(value = "sink-dimensions", required = true) List<Integer> sinkDimensions,
      @JsonProperty(value = "sink-threshold", required = true) double sinkThreshold) {}

  /**
   * The preset a setting asks for.
   *
   * @param choice a preset's name, {@code none}, or {@code auto} for the only one that fits
   * @throws IllegalArgumentException for a name that is none
   */
  static Optional<ModelPreset> choose(String choice, Blueprint blueprint) {
    if (choice.equals("none")) {
      return Optional.empty();
    }
    if (choice.equals("auto")) {
      List<ModelPreset> fitting =
          NAMES.stream().map(ModelPreset::named).filter(p -> p.match.fits(blueprint)).toList();
      return fitting.size() == 1 ? Optional.of(fitting.get(0)) : Optional.empty();
    }
    if (!NAMES.contains(choice)) {
      throw new IllegalArgumentException(
          "model.preset must be auto, none or one of %s, not %s".formatted(NAMES, choice));
    }
    return Optional.of(named(choice));
  }

  /** Reads a preset that ships. */
  static ModelPreset named(String name) {
    try (InputStream file = ModelPreset.class.getResourceAsStream("models/" + name + ".yaml")) {
      if (file == null) {
        throw new IllegalStateException("Cannot find model preset " + name);
      }
      Content content = YAML.readValue(file, Content.class);
      return new ModelPreset(
          name, content.match, content.usage, content.sinkDimensions, content.sinkThreshold);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read model preset " + name, e);
    }
  }
}
