package io.sinklens.family.llava;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** LLaVA-1.5, 7B and 13B, as llava-hf publishes it. */
public final class LlavaFamily implements Family {
  static final String NAME = "llava";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    // The original code writes the same model_type, but no vision_config.
    return config.text("model_type", "").equals(NAME) && config.has("vision_config");
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new LlavaBlueprint(folder, LlavaConfig.of(folder.config()));
  }
}
