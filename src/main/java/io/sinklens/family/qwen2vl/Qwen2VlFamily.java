package io.sinklens.family.qwen2vl;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** Qwen2-VL, 2B, 7B and 72B, as Qwen publishes it. */
public final class Qwen2VlFamily implements Family {
  static final String NAME = "qwen2-vl";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return config.text("model_type", "").equals("qwen2_vl");
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new Qwen2VlBlueprint(folder, Qwen2VlConfig.of(folder.config()));
  }
}
