package io.sinklens.family.llava;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.Tokenizer;
import java.nio.file.Path;

/** What the code a checkpoint was saved by makes of its files. */
interface CheckpointLayout {

  /** Its name, for people and presets. */
  String name();

  LlavaConfig config();

  /** Where settings that belong to the decoder stand in {@code config.json}. */
  ConfigJson decoder();

  /** Where the vision encoder comes from. */
  Path visionPath();

  /** The checkpoint's own way with images. */
  ImageRule imageRule();

  /** The same rule as this code would apply it. */
  ImageRule adopted(ImageRule rule);

  /** How this code would cut an image into tiles. */
  Convention tiling();

  /** How this code takes a prompt apart. */
  PromptEncoder.Encoding encoding();

  /** Opens the tokenizer as this code does; the caller closes it. */
  Tokenizer openTokenizer();
}
