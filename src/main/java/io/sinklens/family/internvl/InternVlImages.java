package io.sinklens.family.internvl;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.internvl.InternVlConfig.Layout;
import io.sinklens.model.projector.ShuffleProjector.Order;
import io.sinklens.preprocessing.DynamicTiles;
import io.sinklens.preprocessing.DynamicTiles.Thumbnail;
import io.sinklens.preprocessing.DynamicTiles.Tiling;
import io.sinklens.preprocessing.DynamicTiles.TokenOrder;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Normalization;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The image rule of a checkpoint: {@code config.json} says it in the original layout, the settings
 * of {@code GotOcr2ImageProcessor} in that of transformers.
 */
final class InternVlImages {
  private static final Pattern NAME = Pattern.compile("tiles-([1-9]\\d?)");

  private static final Set<String> UNDERSTOOD =
      Set.of(
          "image_processor_type",
          "do_resize",
          "size",
          "resample",
          "min_patches",
          "max_patches",
          "do_rescale",
          "rescale_factor",
          "do_normalize",
          "image_mean",
          "image_std",
          "do_convert_rgb",
          "do_center_crop",
          "do_pad",
          "data_format");

  /** Keys that do not touch pixels; {@code crop_to_patches} is set by the processor around it. */
  private static final Set<String> WITHOUT_EFFECT =
      Set.of(
          "_valid_processor_keys",
          "crop_size",
          "crop_to_patches",
          "default_to_square",
          "device",
          "disable_grouping",
          "input_data_format",
          "pad_size",
          "processor_class",
          "return_tensors");

  private final InternVlConfig config;
  private final DynamicTiles rule;

  InternVlImages(CheckpointFolder folder, InternVlConfig config) {
    this.config = config;
    rule =
        config.layout() == Layout.ORIGINAL
            ? rule(tiling(folder.config()), Normalization.IMAGENET)
            : ofProcessor(processor(folder));
  }

  /** The checkpoint's own. */
  DynamicTiles rule() {
    return rule;
  }

  /** The same with other most tiles, named {@code tiles-6}. */
  Optional<ImageRule> named(String name) {
    Matcher matcher = NAME.matcher(name);
    int most = matcher.matches() ? Integer.parseInt(matcher.group(1)) : 0;
    if (most < 1 || most > Tiling.MOST) {
      return Optional.empty();
    }
    Tiling own = rule.tiling();
    int fewest = Math.min(own.min(), most);
    return Optional.of(
        rule(new Tiling(own.size(), fewest, most, own.thumbnail()), rule.normalization()));
  }

  private DynamicTiles rule(Tiling tiling, Normalization normalization) {
    return new DynamicTiles(
        tiling,
        config.tokenSize(),
        config.order() == Order.ROW_MAJOR ? TokenOrder.ROW_BY_ROW : TokenOrder.COLUMN_BY_COLUMN,
        config.layout() == Layout.ORIGINAL ? Exif.IGNORE : Exif.APPLY,
        normalization);
  }

  /** By {@code config.json}; absent keys have the defaults of {@code InternVLChatConfig}. */
  private Tiling tiling(ConfigJson json) {
    // With fewer tiles ruled out, equally good grids would need the order of Python's sets.
    json.requireOneOf("min_dynamic_patch", "1");
    boolean tiles = json.flag("dynamic_image_size").orElse(false);
    return new Tiling(
        config.vision().imageSize(),
        1,
        tiles ? json.integer("max_dynamic_patch", 6) : 1,
        json.flag("use_thumbnail").orElse(false) ? Thumbnail.WHERE_TILED : Thumbnail.NEVER);
  }

  private static ConfigJson processor(CheckpointFolder folder) {
    return folder
        .json("preprocessor_config.json")
        .or(
            () ->
                folder
                    .json("processor_config.json")
                    .flatMap(processor -> processor.optionalChild("image_processor")))
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "Cannot find the image rule of %s: it has neither preprocessor_config.json nor"
                            .formatted(folder.path())
                        + " image_processor in processor_config.json"));
  }

  /** By the image processor's settings; absent keys have transformers' defaults. */
  private DynamicTiles ofProcessor(ConfigJson json) {
    for (String key : json.keys()) {
      if (!UNDERSTOOD.contains(key) && !WITHOUT_EFFECT.contains(key)) {
        json.requireAbsent(key, "the image processor of InternVL has no such setting");
      }
    }
    json.requireOneOf("image_processor_type", "GotOcr2ImageProcessor", "GotOcr2ImageProcessorFast");
    for (String step : List.of("do_resize", "do_rescale", "do_normalize", "do_convert_rgb")) {
      json.requireOneOf(step, "true");
    }
    json.requireOneOf("do_center_crop", "false");
    json.requireOneOf("do_pad", "false");
    json.requireOneOf("resample", "3"); // Bicubic.
    json.requireOneOf("data_format", "channels_first");
    String size = String.valueOf(config.vision().imageSize());
    ConfigJson sizes = json.child("size");
    for (String edge : List.of("height", "width")) {
      sizes.integer(edge);
      sizes.requireOneOf(edge, size);
    }
    int most = json.integer("max_patches", 12);
    int fewest = most == 1 ? 1 : json.integer("min_patches", 1);
    Tiling tiling = new Tiling(config.vision().imageSize(), fewest, most, Thumbnail.WHERE_TILED);
    return rule(tiling, normalization(json));
  }

  private static Normalization normalization(ConfigJson json) {
    Normalization otherwise = Normalization.CLIP;
    return new Normalization(
        json.has("image_mean") ? json.numbers("image_mean") : otherwise.mean(),
        json.has("image_std") ? json.numbers("image_std") : otherwise.deviation(),
        json.number("rescale_factor", otherwise.rescaleFactor()));
  }
}
