package io.sinklens.family.internvl;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Family;

/** InternVL 2, 2.5 and 3, as their authors and as transformers publish them. */
public final class InternVlFamily implements Family {
  static final String NAME = "internvl";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean claims(ConfigJson config) {
    return InternVlConfig.Layout.of(config).isPresent();
  }

  @Override
  public Blueprint read(CheckpointFolder folder) {
    return new InternVlBlueprint(folder, InternVlConfig.of(folder.config()));
  }
}
