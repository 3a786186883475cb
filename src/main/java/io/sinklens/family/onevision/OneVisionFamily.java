package io.sinklens.family.onevision;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** LLaVA-OneVision as llava-hf publishes it. */
public final class OneVisionFamily implements Family {
  static final String NAME = "llava-onevision";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return config.text("model_type", "").equals("llava_onevision");
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new OneVisionBlueprint(folder, OneVisionConfig.of(folder));
  }
}
