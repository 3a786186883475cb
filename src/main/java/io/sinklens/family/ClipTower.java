package io.sinklens.family;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.checkpoint.TensorInfo;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.Normalization;
import io.sinklens.tensor.Activation;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The CLIP of a checkpoint in the layout of the original LLaVA code.
 *
 * @param path the folder it comes from
 * @param inside whether that is the checkpoint's own
 * @param config its shape
 */
public record ClipTower(Path path, boolean inside, VisionConfig config) {
  private static final String OWN = "model.vision_tower.vision_tower.vision_model.";

  /** Width of a head in every CLIP of OpenAI; the tensors' shapes do not tell. */
  private static final int HEAD_SIZE = 64;

  private static final double LAYER_NORM_EPS = 1e-5;

  /** Patch size and, unless it is 224, image size in a name such as clip-vit-large-patch14-336. */
  private static final Pattern NAME =
      Pattern.compile(".*clip-vit-[a-z]+-patch([0-9]{1,4})(?:-([0-9]{1,4}))?");

  private static final int UNNAMED_IMAGE_SIZE = 224;

  /**
   * Finds the tower.
   *
   * @throws IllegalArgumentException when there is none, two, or one of another size than the
   *     checkpoint names
   */
  public static ClipTower of(CheckpointFolder folder) {
    String name = folder.config().text("mm_vision_tower");
    CheckpointFolder apart = folder.part(Family.VISION_PART).orElse(null);
    boolean inside = folder.tensors().keySet().stream().anyMatch(key -> key.startsWith(OWN));
    if (inside && apart != null) {
      throw new IllegalArgumentException(
          "Cannot use vision path %s: checkpoint %s holds its own vision tower; leave it out"
              .formatted(apart.path(), folder.path()));
    }
    if (!inside && apart == null) {
      throw new IllegalArgumentException(
          "Cannot load %s: its vision tower %s is a folder of its own; get it and give its path"
                  .formatted(folder.path(), name)
              + " (model.vision-path, or --vision-path)");
    }
    ClipTower tower =
        apart == null
            ? new ClipTower(folder.path(), true, own(folder, name))
            : new ClipTower(apart.path(), false, config(apart.config()));
    tower.requireSizes(name);
    return tower;
  }

  /**
   * The tower's image processor.
   *
   * @return the rule of its {@code preprocessor_config.json}, or CLIP's own where there is none
   * @throws IllegalArgumentException for one that does not crop to what the tower takes
   */
  public ResizeAndCrop processor() {
    int size = config.imageSize();
    ImageRule rule =
        Files.exists(path.resolve("preprocessor_config.json"), LinkOption.NOFOLLOW_LINKS)
            ? ImageRules.fromCheckpoint(path, config.patchSize())
            : new ResizeAndCrop(size, size, config.patchSize(), Normalization.CLIP);
    if (!(rule instanceof ResizeAndCrop crop) || crop.cropSize() != size) {
      throw new IllegalArgumentException(
          "Cannot use the image processor of %s: it does not crop to the %d pixels of its encoder"
              .formatted(path, size));
    }
    return crop;
  }

  private static VisionConfig config(ConfigJson json) {
    json.requireOneOf("model_type", "clip", "clip_vision_model");
    return VisionConfig.clip(
        json.text("model_type", "").equals("clip_vision_model")
            ? json
            : json.child("vision_config"));
  }

  /** Read off the tensors: the checkpoint's config only names the tower. */
  private static VisionConfig own(CheckpointFolder folder, String name) {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "Cannot use the vision tower in %s: mm_vision_tower must name a CLIP of OpenAI, not %s"
              .formatted(folder.path(), name));
    }
    long[] patches = shape(folder, "embeddings.patch_embedding.weight", 4);
    int patchSize = Math.toIntExact(patches[2]);
    long tokens = shape(folder, "embeddings.position_embedding.weight", 2)[0];
    int side = (int) Math.round(Math.sqrt(tokens - 1.0));
    int layers = 0;
    while (folder.tensors().containsKey(OWN + "encoder.layers." + layers + ".mlp.fc1.weight")) {
      layers++;
    }
    int hidden = Math.toIntExact(patches[0]);
    return new VisionConfig(
        VisionConfig.Kind.CLIP,
        hidden,
        Math.toIntExact(shape(folder, "encoder.layers.0.mlp.fc1.weight", 2)[0]),
        layers,
        Math.max(1, hidden / HEAD_SIZE),
        Math.toIntExact(patches[1]),
        Math.multiplyExact(side, patchSize),
        patchSize,
        LAYER_NORM_EPS,
        Activation.QUICK_GELU);
  }

  private static long[] shape(CheckpointFolder folder, String name, int dimensions) {
    TensorInfo tensor = folder.tensors().get(OWN + name);
    if (tensor == null) {
      throw new IllegalArgumentException(
          "Cannot find tensor %s in checkpoint %s".formatted(OWN + name, folder.path()));
    }
    if (tensor.shape().size() != dimensions) {
      throw new IllegalArgumentException(
          "Cannot use tensor %s of checkpoint %s: its shape is %s"
              .formatted(tensor.name(), folder.path(), tensor.shape()));
    }
    return tensor.shape().stream().mapToLong(Long::longValue).toArray();
  }

  private void requireSizes(String name) {
    Matcher sizes = NAME.matcher(name);
    if (sizes.matches()) {
      int patch = Integer.parseInt(sizes.group(1));
      int image = sizes.group(2) == null ? UNNAMED_IMAGE_SIZE : Integer.parseInt(sizes.group(2));
      if (patch != config.patchSize() || image != config.imageSize()) {
        throw new IllegalArgumentException(
            "Cannot use the vision tower in %s: it takes %d pixels in patches of %d, but mm_vision_tower is %s"
                .formatted(path, config.imageSize(), config.patchSize(), name));
      }
    }
  }
}
