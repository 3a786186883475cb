package io.sinklens.family.llava;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.ClipTower;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AsStored;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Activation;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The layout of the original LLaVA code, which VILA 1.0 shares: a decoder's config with {@code mm_}
 * keys, and CLIP either in a folder of its own or inside.
 *
 * <p>After {@code llava/model/builder.py} and {@code llava/mm_utils.py} of haotian-liu/LLaVA
 * (c121f04) and NVlabs/VILA (v1.0). That code takes CLIP from the folder {@code mm_vision_tower}
 * names; where a checkpoint holds the CLIP it was trained with, that one is used here.
 */
final class OriginalLayout implements CheckpointLayout {
  /** What that code puts between the texts of a prompt for an image. */
  private static final int IMAGE_TOKEN_INDEX = -200;

  private static final int MAX_PROJECTOR_DEPTH = 16;
  private static final Pattern MLP = Pattern.compile("mlp([0-9]{1,3})x_gelu");

  private final CheckpointFolder folder;
  private final ClipTower tower;
  private final LlavaConfig config;
  private final ImageRule imageRule;

  OriginalLayout(CheckpointFolder folder) {
    this.folder = folder;
    ConfigJson json = folder.config();
    json.requireOneOf("mm_use_im_start_end", "false");
    json.requireOneOf("mm_vision_select_feature", "patch");
    json.requireOneOf("mm_patch_merge_type", "flat");
    json.requireOneOf("s2", "false");
    json.requireAbsent("mm_resampler_type", "resamplers are not supported");
    LlamaConfig text = LlamaConfig.as("llama", json);
    tower = ClipTower.of(folder);
    VisionConfig vision = tower.config();
    json.requireOneOf("mm_hidden_size", String.valueOf(vision.hiddenSize()));
    json.requireOneOf("vision_resolution", "-1", String.valueOf(vision.imageSize()));
    config =
        new LlavaConfig(
            vision,
            text,
            IMAGE_TOKEN_INDEX,
            json.integer("mm_vision_select_layer", -2),
            new MlpProjector.Shape(
                projectorDepth(json), Activation.GELU, MlpProjector.Bias.PRESENT));
    imageRule = imageRule(json);
  }

  static boolean claims(ConfigJson json) {
    String type = json.text("model_type", "");
    return (type.equals("llava") || type.equals("llava_llama"))
        && json.has("mm_vision_tower")
        && !json.has("vision_config")
        && !json.has("llm_cfg")
        && !json.text("image_aspect_ratio", "").startsWith("anyres");
  }

  private static int projectorDepth(ConfigJson json) {
    String type = json.text("mm_projector_type", "linear");
    Matcher mlp = MLP.matcher(type);
    int depth = type.equals("linear") ? 1 : mlp.matches() ? Integer.parseInt(mlp.group(1)) : 0;
    if (depth < 1 || depth > MAX_PROJECTOR_DEPTH) {
      json.requireOneOf("mm_projector_type", "linear", "mlp2x_gelu");
    }
    return depth;
  }

  private ImageRule imageRule(ConfigJson json) {
    json.requireOneOf("image_aspect_ratio", "pad", "square");
    ResizeAndCrop crop = tower.processor();
    if (!json.text("image_aspect_ratio", "square").equals("pad")) {
      return new AsStored(crop);
    }
    int size = crop.cropSize();
    if (crop.shortestEdge() != size) {
      throw new IllegalArgumentException(
          "Cannot pad images as image_aspect_ratio asks: the image processor of %s would cut %d pixels to %d"
              .formatted(tower.path(), crop.shortestEdge(), size));
    }
    return new PadToSquare(size, crop.patchSize(), crop.normalization());
  }

  @Override
  public String name() {
    return tower.inside() ? "original-with-tower" : "original";
  }

  @Override
  public LlavaConfig config() {
    return config;
  }

  @Override
  public ConfigJson decoder() {
    return folder.config();
  }

  @Override
  public Path visionPath() {
    return tower.path();
  }

  @Override
  public ImageRule imageRule() {
    return imageRule;
  }

  @Override
  public ImageRule adopted(ImageRule rule) {
    return new AsStored(rule);
  }

  @Override
  public Convention tiling() {
    return Convention.ORIGINAL;
  }

  @Override
  public PromptEncoder.Encoding encoding() {
    return PromptEncoder.Encoding.AROUND_IMAGE;
  }

  @Override
  public Tokenizer openTokenizer() {
    return tower.inside()
        ? Tokenizer.open(
            folder.path(), Tokenizer.Legacy.OFF) // VILA's code, whatever the folder says.
        : Tokenizer.open(folder.path());
  }
}
