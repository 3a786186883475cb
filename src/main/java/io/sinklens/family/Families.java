package io.sinklens.family;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.internvl.InternVlFamily;
import io.sinklens.family.llava.LlavaFamily;
import io.sinklens.family.qwen25vl.Qwen25VlFamily;
import io.sinklens.family.qwen2vl.Qwen2VlFamily;
import java.util.List;

/** The families there are. */
public final class Families {
  private static final List<Family> ALL =
      List.of(new LlavaFamily(), new Qwen2VlFamily(), new Qwen25VlFamily(), new InternVlFamily());

  private Families() {}

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
