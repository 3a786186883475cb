package io.sinklens.preprocessing;

/** What becomes of the orientation that a camera wrote into an image file. */
public enum Exif {
  /** The image is turned upright, as {@code transformers} does when it opens a file. */
  APPLY,
  /** The image stays as it is stored, as in the original LLaVA code. */
  IGNORE
}
