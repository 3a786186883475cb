package io.sinklens.family;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;

/** A kind of checkpoint: what its files mean. */
public interface Family {

  /** The part that a vision encoder in a folder of its own becomes. */
  String VISION_PART = "vision_tower";

  /** The name people and presets use, such as {@code llava}. */
  String name();

  /** Whether a {@code config.json} is of this family. */
  boolean claims(ConfigJson config);

  /**
   * Reads and checks everything but the weights' data.
   *
   * @throws IllegalArgumentException naming the value this family cannot compute
   */
  Blueprint read(CheckpointFolder folder);
}
