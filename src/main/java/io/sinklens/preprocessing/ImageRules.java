package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.preprocessing.AnyResolution.Packing;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Reads the {@link ImageRule} of a checkpoint from its {@code preprocessor_config.json}, or from
 * the {@code image_processor} of its {@code processor_config.json}.
 *
 * <p>Absent keys have the defaults of transformers 4.57. A key or value that would change the
 * pixels in a way not written here is refused, never ignored.
 */
public final class ImageRules {
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

  private final ImageProcessorSettings settings;

  private ImageRules(ImageProcessorSettings settings) {
    this.settings = settings;
  }

  /**
   * Reads the rule of a checkpoint whose images stay in one piece.
   *
   * @param folder a checkpoint in the layout of transformers
   * @param patchSize pixels of the edges of the square behind one image token, merged patches and
   *     all
   * @throws IllegalArgumentException when there is no such file or a value is not supported
   */
  public static ImageRule fromCheckpoint(Path folder, int patchSize) {
    return new ImageRules(ImageProcessorSettings.of(folder)).rule(patchSize);
  }

  /**
   * Reads the rule of an image processor whose images stay in one piece.
   *
   * @param config the object that describes the image processor
   * @param patchSize pixels of the edges of the square behind one image token
   * @throws IllegalArgumentException when a value is not supported
   */
  public static ImageRule fromConfig(JsonNode config, int patchSize) {
    return new ImageRules(new ImageProcessorSettings(config)).rule(patchSize);
  }

  /** Image processors that cut tiles, with what they take for absent settings. */
  public enum TilingProcessor {
    LLAVA_NEXT("LlavaNextImageProcessor", 224),
    LLAVA_ONEVISION("LlavaOnevisionImageProcessor", 384);

    private final String className;
    private final int defaultSize;

    TilingProcessor(String className, int defaultSize) {
      this.className = className;
      this.defaultSize = defaultSize;
    }

    /** The sizes, height before width, that the model's config has where it does not say. */
    public List<List<Integer>> defaultPinpoints() {
      return switch (this) {
        case LLAVA_NEXT ->
            List.of(
                List.of(336, 672),
                List.of(672, 336),
                List.of(672, 672),
                List.of(1008, 336),
                List.of(336, 1008));
        case LLAVA_ONEVISION ->
            IntStream.range(0, 36)
                .mapToObj(i -> List.of(384 * (1 + i / 6), 384 * (1 + i % 6)))
                .toList();
      };
    }
  }

  /**
   * What a model says about the tiles it takes.
   *
   * @param gridPinpoints sizes of canvases, as its {@code config.json} has them
   * @param size pixels of the edges of a tile
   * @param patchSize pixels of the edges of the square behind one image token
   * @param packing how tokens of tiles become image tokens
   */
  public record Tiles(List<List<Integer>> gridPinpoints, int size, int patchSize, Packing packing) {
    public Tiles {
      gridPinpoints = gridPinpoints.stream().map(List::copyOf).toList();
    }

    /** The rule with these tiles. */
    public AnyResolution rule(Normalization normalization) {
      return new AnyResolution(
          AnyResolution.NAME,
          packing.convention().canvases(gridPinpoints),
          size,
          patchSize,
          normalization,
          packing);
    }
  }

  /**
   * Reads the rule of a checkpoint whose images are cut into tiles.
   *
   * @param folder a checkpoint in the layout of transformers
   * @param processor the kind of its image processor
   * @param tiles what the model takes; the processor must make just that
   * @throws IllegalArgumentException when there is no such file, or a value is not supported or not
   *     the model's
   */
  public static AnyResolution fromCheckpoint(Path folder, TilingProcessor processor, Tiles tiles) {
    return new ImageRules(ImageProcessorSettings.of(folder)).tilingRule(processor, tiles);
  }

  private AnyResolution tilingRule(TilingProcessor processor, Tiles tiles) {
    settings.requireUsual("image_grid_pinpoints", "aspect_ratio_setting");
    if (!settings.text("aspect_ratio_setting", "anyres").equals("anyres")) {
      throw settings.unsupported("aspect_ratio_setting", "anyres");
    }
    if (!Set.of(processor.className, processor.className + "Fast").contains(settings.type())) {
      throw settings.unsupported(settings.typeKey(), processor.className);
    }
    String ofTheModel = "%s, as in config.json";
    if (!settings
        .pairs("image_grid_pinpoints", processor.defaultPinpoints())
        .equals(tiles.gridPinpoints())) {
      throw settings.unsupported(
          "image_grid_pinpoints", ofTheModel.formatted(tiles.gridPinpoints()));
    }
    int size = settings.edge("size", processor.defaultSize);
    if (size != tiles.size()) {
      throw settings.unsupported("size", ofTheModel.formatted(tiles.size()));
    }
    // Without a say, the one cuts out its default and the other nothing.
    int kept = processor == TilingProcessor.LLAVA_NEXT ? processor.defaultSize : size;
    if (settings.edge("crop_size", kept) != size) {
      throw settings.unsupported("crop_size", ofTheModel.formatted(size));
    }
    return tiles.rule(settings.normalization(Normalization.CLIP));
  }

  private ImageRule rule(int patchSize) {
    if (QWEN2_VL.contains(settings.type())) {
      return smartResize(patchSize);
    }
    settings.requireUsual();
    if (SIGLIP.contains(settings.type())) {
      return siglip(patchSize);
    }
    Normalization normalization = settings.normalization(Normalization.CLIP);
    if (padsToSquare()) {
      return new ImageRule.PadToSquare(squareSize("do_pad is set"), patchSize, normalization);
    }
    if (settings.sizeHas("height", "width")) {
      String reason = "size has a height and a width";
      return new ImageRule.Stretch(squareSize(reason), patchSize, normalization);
    }
    settings.requireTrue("do_center_crop");
    return new ImageRule.ResizeAndCrop(
        settings.edge("size", DEFAULT_SIZE),
        settings.edge("crop_size", DEFAULT_SIZE),
        patchSize,
        normalization);
  }

  /** {@code SiglipImageProcessor} knows no crop and no padding. */
  private ImageRule siglip(int patchSize) {
    for (String key : List.of("do_pad", "do_center_crop")) {
      if (settings.flag(key, false)) {
        throw settings.unsupported(key, "false for SiglipImageProcessor");
      }
    }
    if (settings.sizeHas("shortest_edge")) {
      throw settings.unsupported("size", "a height and a width for SiglipImageProcessor");
    }
    return new ImageRule.Stretch(
        settings.edge("size", DEFAULT_SIZE),
        patchSize,
        settings.normalization(Normalization.SIGLIP));
  }

  private ImageRule smartResize(int tokenSize) {
    settings.requireUsual("min_pixels", "max_pixels", "merge_size", "temporal_patch_size");
    for (String key : new String[] {"do_center_crop", "do_pad"}) {
      if (settings.flag(key, false)) {
        throw settings.unsupported(key, "false");
      }
    }
    int patch = settings.number("patch_size", 14);
    int merge = settings.number("merge_size", 2);
    if (patch * merge != tokenSize) {
      throw settings.unsupported(
          "patch_size",
          "with merge_size %d, what makes the %d pixels of an image token in config.json"
              .formatted(merge, tokenSize));
    }
    return new SmartResize(
        tokenSize,
        settings.limit("min_pixels", "shortest_edge", SMALLEST_PIXELS),
        settings.limit("max_pixels", "longest_edge", LARGEST_PIXELS),
        settings.normalization(Normalization.CLIP));
  }

  private boolean padsToSquare() {
    String type = settings.type();
    if (!CLIP.contains(type) && !LLAVA.contains(type)) {
      throw settings.unsupported(
          settings.typeKey(),
          "CLIPImageProcessor, LlavaImageProcessor, SiglipImageProcessor or Qwen2VLImageProcessor");
    }
    boolean pads = settings.flag("do_pad", false);
    if (pads && CLIP.contains(type)) {
      throw settings.unsupported(
          "do_pad", "false, unless image_processor_type is LlavaImageProcessor");
    }
    return pads;
  }

  /** The size of a rule that leaves a square, so that the crop must not change anything. */
  private int squareSize(String reason) {
    int size = settings.edge("size", DEFAULT_SIZE);
    if (settings.flag("do_center_crop", true) && settings.edge("crop_size", DEFAULT_SIZE) != size) {
      throw settings.unsupported("crop_size", "the size %d, as %s".formatted(size, reason));
    }
    return size;
  }
}
