package io.sinklens.family.llava;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/**
 * LLaVA-1.5, 7B and 13B, as llava-hf publishes it and as its authors do, and VILA 1.0, which is the
 * same network.
 */
public final class LlavaFamily implements Family {
  static final String NAME = "llava";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return HfLayout.claims(config) || OriginalLayout.claims(config);
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new LlavaBlueprint(
        folder,
        HfLayout.claims(folder.config()) ? new HfLayout(folder) : new OriginalLayout(folder));
  }
}
