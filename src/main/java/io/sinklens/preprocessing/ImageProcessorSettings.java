package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.StreamSupport;

/**
 * The settings of a checkpoint's image processor, read key by key. A value that cannot be used is
 * refused with its name.
 */
final class ImageProcessorSettings {
  private static final int BICUBIC = 3;
  private static final Set<String> UNDERSTOOD =
      Set.of(
          "image_processor_type",
          "feature_extractor_type",
          "do_pad",
          "do_resize",
          "size",
          "resample",
          "do_center_crop",
          "crop_size",
          "do_rescale",
          "rescale_factor",
          "do_normalize",
          "image_mean",
          "image_std",
          "do_convert_rgb",
          "data_format");

  /** Keys that do not touch pixels, or whose only effect the processors override. */
  private static final Set<String> WITHOUT_EFFECT =
      Set.of(
          "_valid_processor_keys",
          "default_to_square",
          "disable_grouping",
          "image_seq_length",
          "image_token",
          "num_additional_image_tokens",
          "patch_size",
          "processor_class",
          "vision_feature_select_strategy");

  private final JsonNode config;

  ImageProcessorSettings(JsonNode config) {
    this.config = config;
  }

  /**
   * Those in {@code preprocessor_config.json}, or under {@code image_processor} in {@code
   * processor_config.json}.
   *
   * @throws IllegalArgumentException when there is neither
   */
  static ImageProcessorSettings of(Path folder) {
    Path preprocessor = folder.resolve("preprocessor_config.json");
    if (Files.exists(preprocessor, LinkOption.NOFOLLOW_LINKS)) {
      return new ImageProcessorSettings(read(preprocessor));
    }
    Path processor = folder.resolve("processor_config.json");
    if (Files.exists(processor, LinkOption.NOFOLLOW_LINKS)) {
      JsonNode imageProcessor = read(processor).path("image_processor");
      if (imageProcessor.isObject()) {
        return new ImageProcessorSettings(imageProcessor);
      }
    }
    throw new IllegalArgumentException(
        "Cannot find the image rule of %s: it has neither preprocessor_config.json nor"
                .formatted(folder)
            + " image_processor in processor_config.json");
  }

  /**
   * Checks what all image processors have in common.
   *
   * @param more keys that this kind of processor understands beside the usual ones
   */
  void requireUsual(String... more) {
    for (Map.Entry<String, JsonNode> entry : config.properties()) {
      if (!UNDERSTOOD.contains(entry.getKey())
          && !WITHOUT_EFFECT.contains(entry.getKey())
          && !List.of(more).contains(entry.getKey())
          && !entry.getValue().isNull()) {
        throw unsupported(entry.getKey(), "no such key");
      }
    }
    requireTrue("do_resize");
    requireTrue("do_rescale");
    requireTrue("do_normalize");
    requireTrue("do_convert_rgb");
    if (value("resample").asInt(BICUBIC) != BICUBIC) {
      throw unsupported("resample", "3 (bicubic)");
    }
    if (!value("data_format").asText("channels_first").equals("channels_first")) {
      throw unsupported("data_format", "channels_first");
    }
  }

  /** The key that names the kind of processor. */
  String typeKey() {
    return value("image_processor_type").isMissingNode()
        ? "feature_extractor_type"
        : "image_processor_type";
  }

  String type() {
    return value(typeKey()).asText();
  }

  String text(String key, String otherwise) {
    return value(key).asText(otherwise);
  }

  void requireTrue(String key) {
    if (!flag(key, true)) {
      throw unsupported(key, "true");
    }
  }

  boolean flag(String key, boolean otherwise) {
    JsonNode flag = value(key);
    if (!flag.isMissingNode() && !flag.isBoolean()) {
      throw unsupported(key, "true or false");
    }
    return flag.asBoolean(otherwise);
  }

  /** Whether {@code size} is an object with these keys. */
  boolean sizeHas(String... keys) {
    return Arrays.stream(keys).allMatch(value("size")::has);
  }

  /** A size written as {@code n}, {@code {shortest_edge: n}} or {@code {height: n, width: n}}. */
  int edge(String key, int otherwise) {
    JsonNode size = value(key);
    if (size.isMissingNode()) {
      return otherwise;
    }
    List<String> names = size.properties().stream().map(Map.Entry::getKey).sorted().toList();
    JsonNode edge = size;
    if (names.equals(List.of("shortest_edge"))) {
      edge = size.path("shortest_edge");
    } else if (names.equals(List.of("height", "width"))
        && size.path("height").equals(size.path("width"))) {
      edge = size.path("height");
    }
    if (!edge.isInt() || edge.asInt() < 1) {
      throw unsupported(key, "one edge length above 0");
    }
    return edge.asInt();
  }

  /** A limit under its own key or, in newer files, as an edge of the size. */
  int limit(String key, String edge, int otherwise) {
    JsonNode size = value("size");
    if (!size.isMissingNode() && !size.path(edge).isInt()) {
      throw unsupported("size", "shortest_edge and longest_edge in pixels of the whole image");
    }
    int fromSize = size.path(edge).asInt(number(key, otherwise));
    if (number(key, fromSize) != fromSize) {
      throw unsupported(key, "the %s of size, %d".formatted(edge, fromSize));
    }
    return fromSize;
  }

  int number(String key, int otherwise) {
    JsonNode number = value(key);
    if (!number.isMissingNode() && (!number.isInt() || number.asInt() < 1)) {
      throw unsupported(key, "a whole number above 0");
    }
    return number.asInt(otherwise);
  }

  /** Pairs of numbers. */
  List<List<Integer>> pairs(String key, List<List<Integer>> otherwise) {
    JsonNode list = value(key);
    if (list.isMissingNode()) {
      return otherwise;
    }
    List<List<Integer>> pairs = new ArrayList<>();
    for (JsonNode pair : list) {
      if (pair.size() != 2 || !pair.path(0).isInt() || !pair.path(1).isInt()) {
        throw unsupported(key, "a list of pairs of numbers");
      }
      pairs.add(List.of(pair.get(0).asInt(), pair.get(1).asInt()));
    }
    return pairs;
  }

  /** As the settings say, or else another. */
  Normalization normalization(Normalization otherwise) {
    double factor = otherwise.rescaleFactor();
    if (!value("rescale_factor").isMissingNode()) {
      factor = value("rescale_factor").asDouble();
    }
    return new Normalization(
        numbers("image_mean", otherwise.mean()),
        numbers("image_std", otherwise.deviation()),
        factor);
  }

  private List<Double> numbers(String key, List<Double> otherwise) {
    JsonNode numbers = value(key);
    if (numbers.isMissingNode()) {
      return otherwise;
    }
    if (!numbers.isArray()
        || !StreamSupport.stream(numbers.spliterator(), false).allMatch(JsonNode::isNumber)) {
      throw unsupported(key, "a list of 3 numbers");
    }
    return StreamSupport.stream(numbers.spliterator(), false).map(JsonNode::asDouble).toList();
  }

  /** The key's value; missing also when it is null, which transformers replaces by the default. */
  private JsonNode value(String key) {
    JsonNode value = config.path(key);
    return value.isNull() ? MissingNode.getInstance() : value;
  }

  IllegalArgumentException unsupported(String key, String supported) {
    return new IllegalArgumentException(
        "Cannot use image processor setting %s = %s: supported is %s"
            .formatted(key, config.path(key), supported));
  }

  private static JsonNode read(Path file) {
    try {
      return FolderJson.object(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }
}
