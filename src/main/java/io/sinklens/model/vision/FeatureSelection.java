package io.sinklens.model.vision;

/** Which tokens of the encoder go on to the projector ({@code vision_feature_select_strategy}). */
public enum FeatureSelection {
  /** The patches alone: {@code default}. */
  PATCHES,
  /** The class token before the patches: {@code full}. */
  CLASS_TOKEN_AND_PATCHES
}
