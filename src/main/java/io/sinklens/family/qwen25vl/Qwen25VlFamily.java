package io.sinklens.family.qwen25vl;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** Qwen2.5-VL, 3B, 7B, 32B and 72B, as Qwen publishes it. */
public final class Qwen25VlFamily implements Family {
  static final String NAME = "qwen2.5-vl";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return config.text("model_type", "").equals("qwen2_5_vl");
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new Qwen25VlBlueprint(folder, Qwen25VlConfig.of(folder.config()));
  }
}
