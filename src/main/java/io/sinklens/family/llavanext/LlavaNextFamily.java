package io.sinklens.family.llavanext;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** LLaVA-1.6 of Vicuna and of Mistral, as llava-hf publishes it and as its authors do. */
public final class LlavaNextFamily implements Family {
  static final String NAME = "llava-next";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return isTransformers(config) || LlavaNextConfig.isOriginal(config);
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new LlavaNextBlueprint(
        folder,
        isTransformers(folder.config())
            ? LlavaNextConfig.transformers(folder)
            : LlavaNextConfig.original(folder));
  }

  private static boolean isTransformers(ConfigJson config) {
    return config.text("model_type", "").equals("llava_next");
  }
}
