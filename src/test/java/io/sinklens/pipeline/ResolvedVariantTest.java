package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.intervention.Masking;
import io.sinklens.intervention.VarSettings;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Statistics.Level;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class ResolvedVariantTest {
  private static final Optional<ModelPreset> DEMO = Optional.of(ModelPreset.named("demo"));

  @Test
  void takesDimensionsAndThresholdOfThePresetUnlessTheVariantNamesItsOwn() {
    ResolvedVariant fromPreset = resolve(Hook.VAR, List.of(), null, DEMO, Level.SUMMARY);
    assertThat(fromPreset.sinkDimensions()).containsExactly(21, 90);
    assertThat(look(fromPreset).sinkThreshold()).isEqualTo(5);

    ResolvedVariant own = resolve(Hook.VAR, List.of(3), 7.5, DEMO, Level.SUMMARY);
    assertThat(own.sinkDimensions()).containsExactly(3);
    assertThat(look(own).sinkThreshold()).isEqualTo(7.5);
  }

  @Test
  void treatsAPresetWithoutDimensionsAsNone() {
    Optional<ModelPreset> unknown = Optional.of(ModelPreset.named("internvl2-8b"));
    assertThatThrownBy(() -> resolve(Hook.VAR, List.of(), null, unknown, Level.SUMMARY))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(
            "Cannot run variant v: no sink dimensions are known for this model; give them with"
                + " sink-dimensions (--sink-dimensions of ask), or find them with discover-sinks");
    assertThat(resolve(Hook.OBSERVE, List.of(), null, unknown, Level.SUMMARY).look()).isNull();
    ResolvedVariant own = resolve(Hook.VAR, List.of(3), null, unknown, Level.SUMMARY);
    assertThat(own.sinkDimensions()).containsExactly(3);
    assertThat(look(own).sinkThreshold()).isEqualTo(20);
  }

  @Test
  void usesThePublishedThresholdWithoutAPreset() {
    ResolvedVariant resolved = resolve(Hook.VAR, List.of(3), null, Optional.empty(), Level.SUMMARY);
    assertThat(look(resolved).sinkThreshold()).isEqualTo(20);
  }

  @Test
  void movesNothingWhenItOnlyObserves() {
    ResolvedVariant observed = resolve(Hook.OBSERVE, List.of(3), null, DEMO, Level.SUMMARY);
    assertThat(look(observed).movedShare()).isZero();
    assertThat(observed.masking()).isEqualTo(Masking.NONE);
    assertThat(observed.contributes()).isFalse();
    assertThat(resolve(Hook.CONTRIBUTION, List.of(3), null, DEMO, Level.SUMMARY))
        .isEqualTo(
            new ResolvedVariant(
                "v", look(observed), Masking.NONE, true, List.of(3), Level.SUMMARY));
    assertThat(look(resolve(Hook.VAR, List.of(3), null, DEMO, Level.SUMMARY)).movedShare())
        .isEqualTo(0.6);
  }

  @Test
  void masksWithoutMoving() {
    Variant random =
        new Variant(
            "v",
            Hook.KNOCKOUT,
            "paper",
            List.of(3),
            null,
            "prompt",
            0.5,
            0.2,
            0.6,
            true,
            new Knockout("random", 7));
    ResolvedVariant masked = ResolvedVariant.of(random, DEMO, Level.SUMMARY);
    assertThat(look(masked).movedShare()).isZero();
    assertThat(masked.masking()).isEqualTo(new Masking(Masking.Tokens.RANDOM, 7));
    assertThat(resolve(Hook.KNOCKOUT, List.of(3), null, DEMO, Level.NONE).masking().tokens())
        .isEqualTo(Masking.Tokens.SINKS);
    assertThat(resolve(Hook.VAR, List.of(3), null, DEMO, Level.SUMMARY).masking())
        .isEqualTo(Masking.NONE);
  }

  @Test
  void looksOnlyWhereSomethingComesOfIt() {
    for (Level level : Level.values()) {
      assertThat(resolve(Hook.NONE, List.of(3), null, DEMO, level).look()).isNull();
      assertThat(resolve(Hook.VAR, List.of(3), null, DEMO, level).look()).isNotNull();
      assertThat(resolve(Hook.KNOCKOUT, List.of(3), null, DEMO, level).look()).isNotNull();
    }
    assertThat(resolve(Hook.OBSERVE, List.of(3), null, DEMO, Level.NONE).look()).isNull();
    assertThat(resolve(Hook.CONTRIBUTION, List.of(3), null, DEMO, Level.NONE).look()).isNull();
    // And without a look no dimensions are needed.
    assertThat(resolve(Hook.OBSERVE, List.of(), null, Optional.empty(), Level.NONE).look())
        .isNull();
    assertThat(resolve(Hook.NONE, List.of(), null, Optional.empty(), Level.SUMMARY).look())
        .isNull();
  }

  @Test
  void passesEverySettingOn() {
    Variant variant =
        new Variant(
            "v",
            Hook.VAR,
            "reference",
            List.of(3),
            9.0,
            "all",
            0.1,
            0.2,
            0.3,
            false,
            Knockout.SINKS);
    assertThat(ResolvedVariant.of(variant, DEMO, Level.SUMMARY).look())
        .isEqualTo(
            new VarSettings(
                Mode.REFERENCE, 9, SinkTokens.ALL, 0.1, 0.2, 0.3, VisualSink.NOT_REQUIRED));
  }

  private static ResolvedVariant resolve(
      Hook hook,
      List<Integer> dimensions,
      @Nullable Double threshold,
      Optional<ModelPreset> preset,
      Level level) {
    return ResolvedVariant.of(
        new Variant(
            "v",
            hook,
            "paper",
            dimensions,
            threshold,
            "prompt",
            0.5,
            0.2,
            0.6,
            true,
            Knockout.SINKS),
        preset,
        level);
  }

  private static VarSettings look(ResolvedVariant variant) {
    return Objects.requireNonNull(variant.look());
  }
}
