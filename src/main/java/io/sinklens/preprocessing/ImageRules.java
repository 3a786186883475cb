package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.StreamSupport;

/**
 * Reads the {@link ImageRule} of a checkpoint from its {@code preprocessor_config.json}, or from
 * the {@code image_processor} of its {@code processor_config.json}.
 *
 * <p>Absent keys have the defaults of {@code CLIP-}, {@code Siglip-} or {@code
 * Qwen2VLImageProcessor} (transformers 4.57). A key or value that would change the pixels in a way
 * not written here is refused, never ignored.
 */
public final class ImageRules {
  private static final int BICUBIC = 3;
  private static final int DEFAULT_SIZE = 224;
  private static final int SMALLEST_PIXELS = 56 * 56;
  private static final int LARGEST_PIXELS = 28 * 28 * 1280;
  private static final Set<String> CLIP =
      Set.of("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor");
  private static final Set<String> LLAVA = Set.of("LlavaImageProcessor", "LlavaImageProcessorFast");
  private static final Set<String> SIGLIP =
      Set.of("SiglipImageProcessor", "SiglipImageProcessorFast");
  private static final Set<String> QWEN2_VL =
      Set.of("Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast");
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

  /** Keys of {@link #QWEN2_VL} alone; its patch size does touch pixels. */
  private static final Set<String> OF_QWEN2_VL =
      Set.of("min_pixels", "max_pixels", "merge_size", "temporal_patch_size");

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

  private ImageRules(JsonNode config) {
    this.config = config;
  }

  /**
   * Reads the rule of a checkpoint.
   *
   * @param folder a checkpoint in the layout of transformers
   * @param patchSize pixels of the edges of the square behind one image token, merged patches and
   *     all
   * @throws IllegalArgumentException when there is no such file or a value is not supported
   */
  public static ImageRule fromCheckpoint(Path folder, int patchSize) {
    Path preprocessor = folder.resolve("preprocessor_config.json");
    if (Files.exists(preprocessor)) {
      return fromConfig(read(preprocessor), patchSize);
    }
    Path processor = folder.resolve("processor_config.json");
    if (Files.exists(processor)) {
      JsonNode imageProcessor = read(processor).path("image_processor");
      if (imageProcessor.isObject()) {
        return fromConfig(imageProcessor, patchSize);
      }
    }
    throw new IllegalArgumentException(
        "Cannot find the image rule of %s: it has neither preprocessor_config.json nor"
                .formatted(folder)
            + " image_processor in processor_config.json");
  }

  /**
   * Reads the rule of an image processor.
   *
   * @param config the object that describes the image processor
   * @param patchSize pixels of the edges of the square behind one image token
   * @throws IllegalArgumentException when a value is not supported
   */
  public static ImageRule fromConfig(JsonNode config, int patchSize) {
    return new ImageRules(config).rule(patchSize);
  }

  private ImageRule rule(int patchSize) {
    boolean qwen = QWEN2_VL.contains(type());
    for (Map.Entry<String, JsonNode> entry : config.properties()) {
      if (!UNDERSTOOD.contains(entry.getKey())
          && !(qwen && OF_QWEN2_VL.contains(entry.getKey()))
          && !WITHOUT_EFFECT.contains(entry.getKey())
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
    if (qwen) {
      return smartResize(patchSize);
    }
    if (SIGLIP.contains(type())) {
      return siglip(patchSize);
    }
    if (padsToSquare()) {
      return new ImageRule.PadToSquare(squareSize("do_pad is set"), patchSize, normalization());
    }
    JsonNode size = value("size");
    if (size.has("height") && size.has("width")) {
      String reason = "size has a height and a width";
      return new ImageRule.Stretch(squareSize(reason), patchSize, normalization());
    }
    requireTrue("do_center_crop");
    return new ImageRule.ResizeAndCrop(edge("size"), edge("crop_size"), patchSize, normalization());
  }

  /** {@code SiglipImageProcessor} knows no crop and no padding. */
  private ImageRule siglip(int patchSize) {
    for (String key : List.of("do_pad", "do_center_crop")) {
      if (flag(key, false)) {
        throw unsupported(key, "false for SiglipImageProcessor");
      }
    }
    if (value("size").has("shortest_edge")) {
      throw unsupported("size", "a height and a width for SiglipImageProcessor");
    }
    return new ImageRule.Stretch(edge("size"), patchSize, normalization(Normalization.SIGLIP));
  }

  private String typeKey() {
    return value("image_processor_type").isMissingNode()
        ? "feature_extractor_type"
        : "image_processor_type";
  }

  private String type() {
    return value(typeKey()).asText();
  }

  private ImageRule smartResize(int tokenSize) {
    if (flag("do_center_crop", false)) {
      throw unsupported("do_center_crop", "false");
    }
    if (flag("do_pad", false)) {
      throw unsupported("do_pad", "false");
    }
    int patch = number("patch_size", 14);
    int merge = number("merge_size", 2);
    if (patch * merge != tokenSize) {
      throw unsupported(
          "patch_size",
          "with merge_size %d, what makes the %d pixels of an image token in config.json"
              .formatted(merge, tokenSize));
    }
    return new SmartResize(
        tokenSize,
        limit("min_pixels", "shortest_edge", SMALLEST_PIXELS),
        limit("max_pixels", "longest_edge", LARGEST_PIXELS),
        normalization());
  }

  /** A limit under its own key or, in newer files, as an edge of the size. */
  private int limit(String key, String edge, int otherwise) {
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

  private int number(String key, int otherwise) {
    JsonNode number = value(key);
    if (!number.isMissingNode() && (!number.isInt() || number.asInt() < 1)) {
      throw unsupported(key, "a whole number above 0");
    }
    return number.asInt(otherwise);
  }

  private boolean padsToSquare() {
    String key = typeKey();
    String type = type();
    if (!CLIP.contains(type) && !LLAVA.contains(type)) {
      throw unsupported(
          key,
          "CLIPImageProcessor, LlavaImageProcessor, SiglipImageProcessor or Qwen2VLImageProcessor");
    }
    boolean pads = flag("do_pad", false);
    if (pads && CLIP.contains(type)) {
      throw unsupported("do_pad", "false, unless image_processor_type is LlavaImageProcessor");
    }
    return pads;
  }

  /** The size of a rule that leaves a square, so that the crop must not change anything. */
  private int squareSize(String reason) {
    int size = edge("size");
    if (flag("do_center_crop", true) && edge("crop_size") != size) {
      throw unsupported("crop_size", "the size %d, as %s".formatted(size, reason));
    }
    return size;
  }

  /** A size written as {@code n}, {@code {shortest_edge: n}} or {@code {height: n, width: n}}. */
  private int edge(String key) {
    JsonNode size = value(key);
    if (size.isMissingNode()) {
      return DEFAULT_SIZE;
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

  private Normalization normalization() {
    return normalization(Normalization.CLIP);
  }

  private Normalization normalization(Normalization otherwise) {
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

  private void requireTrue(String key) {
    if (!flag(key, true)) {
      throw unsupported(key, "true");
    }
  }

  private boolean flag(String key, boolean otherwise) {
    JsonNode flag = value(key);
    if (!flag.isMissingNode() && !flag.isBoolean()) {
      throw unsupported(key, "true or false");
    }
    return flag.asBoolean(otherwise);
  }

  /** The key's value; missing also when it is null, which transformers replaces by the default. */
  private JsonNode value(String key) {
    JsonNode value = config.path(key);
    return value.isNull() ? MissingNode.getInstance() : value;
  }

  private IllegalArgumentException unsupported(String key, String supported) {
    return new IllegalArgumentException(
        "Cannot use image processor setting %s = %s: supported is %s"
            .formatted(key, config.path(key), supported));
  }

  private static JsonNode read(Path file) {
    try {
      return new ObjectMapper().readTree(file.toFile());
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }
}
