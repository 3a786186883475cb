package io.sinklens.family;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.internvl.InternVlFamily;
import io.sinklens.family.llava.LlavaFamily;
import io.sinklens.family.llavanext.LlavaNextFamily;
import io.sinklens.family.onevision.OneVisionFamily;
import io.sinklens.family.qwen25vl.Qwen25VlFamily;
import io.sinklens.family.qwen2vl.Qwen2VlFamily;
import io.sinklens.family.vila.VilaFamily;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The families there are. */
public final class Families {
  private static final List<Family> ALL =
      List.of(
          new LlavaFamily(),
          new LlavaNextFamily(),
          new OneVisionFamily(),
          new Qwen2VlFamily(),
          new Qwen25VlFamily(),
          new InternVlFamily(),
          new VilaFamily());

  private Families() {}

  /**
   * Opens a checkpoint, with its vision encoder where that lies apart.
   *
   * @param visionPath folder of the vision encoder, for a checkpoint that only names one
   * @throws IllegalArgumentException when either cannot be used, or the checkpoint wants no other
   */
  public static CheckpointFolder open(Path path, @Nullable Path visionPath) {
    CheckpointFolder folder = CheckpointFolder.open(path);
    if (visionPath == null) {
      return folder;
    }
    // Only the original LLaVA code has such a key, and checkpoints made of parts have them all.
    if (!folder.config().has("mm_vision_tower") || folder.part(Family.VISION_PART).isPresent()) {
      throw new IllegalArgumentException(
          "Cannot use vision path %s: checkpoint %s needs no vision encoder from elsewhere; leave it out"
              .formatted(visionPath, path));
    }
    return folder.withPart(Family.VISION_PART, CheckpointFolder.open(visionPath));
  }

  /**
   * Reads a checkpoint by the family that claims it.
   *
   * @throws IllegalArgumentException when none does, or its values cannot be computed
   */
  public static Blueprint read(CheckpointFolder folder) {
    for (Family family : ALL) {
      if (family.claims(folder.config())) {
        return family.read(folder);
      }
    }
    throw new IllegalArgumentException(
        "Cannot load %s: config.json has model_type %s, and supported are %s"
            .formatted(
                folder.path(),
                folder.config().text("model_type", "(none)"),
                ALL.stream().map(Family::name).toList()));
  }
}
