package io.sinklens.generation;

/** What a run spends its time on. */
public enum Phase {
  /** Reading image files and making pixel values. */
  DECODE_IMAGE,
  /** Vision encoder and projector. */
  VISION,
  /** The decoder over prompts: the shared prefixes and the rows' own text, hooks left out. */
  PROMPT_PASS,
  /** The decoder over generated tokens, hooks left out. */
  GENERATION,
  /** Inside hooks. */
  HOOK
}
