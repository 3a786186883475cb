package io.sinklens.family.vila;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** VILA1.5 as Efficient-Large-Model publishes it: {@code llm}, {@code vision_tower} and more. */
public final class VilaFamily implements Family {
  static final String NAME = "vila";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return config.text("model_type", "").equals("llava_llama") && config.has("llm_cfg");
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new VilaBlueprint(folder, VilaConfig.of(folder));
  }
}
