package io.sinklens.pipeline;

import io.sinklens.intervention.Masking;
import io.sinklens.intervention.Masking.Tokens;
import io.sinklens.intervention.VarSettings;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Statistics.Level;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A variant with what the model's preset adds.
 *
 * @param name the variant's name
 * @param look how to look at attention; null to leave it fused, as a variant does that only
 *     measures where nothing is asked for or no sink dimensions are known
 * @param masking image tokens to hide from all that follows the image
 * @param contributes whether to measure contributions too
 * @param sinkDimensions hidden dimensions that mark sinks, empty without a look
 * @param level what to record
 */
record ResolvedVariant(
    String name,
    @Nullable VarSettings look,
    Masking masking,
    boolean contributes,
    List<Integer> sinkDimensions,
    Level level) {
  private static final double PUBLISHED_THRESHOLD = 20;

  /**
   * Fills in sink dimensions and threshold.
   *
   * @throws IllegalArgumentException when the hook needs sinks and no sink dimensions are known
   */
  static ResolvedVariant of(Variant variant, Optional<ModelPreset> preset, Level level) {
    List<Integer> dimensions =
        variant.sinkDimensions().isEmpty()
            ? preset.map(ModelPreset::sinkDimensions).orElse(List.of())
            : variant.sinkDimensions();
    boolean looks =
        switch (variant.hook()) {
          case NONE -> false;
          case OBSERVE -> level != Level.NONE && !dimensions.isEmpty();
          case CONTRIBUTION -> level != Level.NONE;
          case VAR, KNOCKOUT -> true;
        };
    if (!looks) {
      return new ResolvedVariant(variant.name(), null, Masking.NONE, false, List.of(), level);
    }
    if (dimensions.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot run variant %s: no sink dimensions are known for this model; give them with"
                  .formatted(variant.name())
              + " sink-dimensions (--sink-dimensions of ask), or find them with discover-sinks, which a later version brings");
    }
    Double stated = variant.sinkThreshold();
    double threshold =
        stated != null
            ? stated
            : preset.map(ModelPreset::sinkThreshold).orElse(PUBLISHED_THRESHOLD);
    VarSettings settings =
        new VarSettings(
            Mode.valueOf(variant.mode().toUpperCase(Locale.ROOT)),
            threshold,
            SinkTokens.valueOf(variant.sinkTokens().toUpperCase(Locale.ROOT)),
            variant.minNonsinkRatio(),
            variant.minImageAttention(),
            variant.movedShare(),
            variant.requireVisualSink() ? VisualSink.REQUIRED : VisualSink.NOT_REQUIRED);
    return new ResolvedVariant(
        variant.name(),
        variant.hook() == Hook.VAR ? settings : settings.measuring(),
        variant.hook() == Hook.KNOCKOUT
            ? new Masking(
                Tokens.valueOf(variant.knockout().maskedTokens().toUpperCase(Locale.ROOT)),
                variant.knockout().seed())
            : Masking.NONE,
        variant.hook() == Hook.CONTRIBUTION,
        dimensions,
        level);
  }

  /** Whether maps of sampled rows are recorded. */
  boolean maps() {
    return look != null && level == Level.FULL;
  }

  ModelFacts.VariantFacts facts() {
    return new ModelFacts.VariantFacts(
        name, sinkDimensions, look == null ? null : look.sinkThreshold());
  }
}
