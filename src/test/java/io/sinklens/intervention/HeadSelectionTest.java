package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class HeadSelectionTest {
  private static final int IMAGE_TOKENS = 16;

  private final NDManager manager = NDManager.newBaseManager("PyTorch");

  @AfterEach
  void free() {
    manager.close();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void countsARatioExactlyAtItsLimitAsEnough(Mode mode) {
    // Numbers that float32 holds exactly; half of the image's attention is on sinks.
    assertThat(select(settings(mode, 0.5, 0.2), 0.25f, 0.25f)).isTrue();
    assertThat(select(settings(mode, 0.5, 0.2), 0.25f, 0.2499f)).isFalse();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void countsImageAttentionExactlyAtItsLimitAsEnough(Mode mode) {
    assertThat(select(settings(mode, 0.5, 0.25), 0.0625f, 0.1875f)).isTrue();
    assertThat(select(settings(mode, 0.5, 0.25), 0.0625f, 0.1874f)).isFalse();
  }

  @Test
  void followsTheReleasedCodeInDividingByALittleMoreThanTheImagesAttention() {
    VarSettings paper = settings(Mode.PAPER, 0.5, 0.2);
    VarSettings reference = settings(Mode.REFERENCE, 0.5, 0.2);
    // 0.40001 / (0.8 + 576 · 1e-6) = 0.4997, but 0.40001 / 0.8 is above one half.
    assertThat(select(paper, 0.40001f, 0.39999f, 1, 576)).isFalse();
    assertThat(select(reference, 0.40001f, 0.39999f, 1, 576)).isTrue();
    // 0.402 / 0.800576 = 0.5021: too much for either.
    assertThat(select(reference, 0.402f, 0.398f, 1, 576)).isFalse();
  }

  @Test
  void reachesALimitOfOneOnlyWithoutSinksInThePaper() {
    assertThat(select(settings(Mode.PAPER, 1, 0), 0f, 0.5f)).isTrue();
    assertThat(select(settings(Mode.PAPER, 1, 0), 1e-4f, 0.5f)).isFalse();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void neverChoosesAQueryWithNowhereToMoveAttentionTo(Mode mode) {
    // Limits of 0 would let everything pass.
    assertThat(select(settings(mode, 0, 0), 0.5f, 0f)).isFalse();
    assertThat(select(settings(mode, 0, 0), 0f, 0f)).isFalse();
    assertThat(select(settings(mode, 0, 0), 0.5f, 0.01f)).isTrue();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void neverChoosesAQueryWhoseShareCannotBeDividedInFloat32(Mode mode) {
    assertThat(select(settings(mode, 0, 0), 0.5f, Float.MIN_VALUE)).isFalse();
    assertThat(select(settings(mode, 0, 0), 0.5f, Float.MIN_NORMAL)).isTrue();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void needsAVisualSinkInTheLayerUnlessToldOtherwise(Mode mode) {
    VarSettings required = settings(mode, 0.5, 0.2);
    VarSettings notRequired =
        new VarSettings(mode, 20, SinkTokens.PROMPT, 0.5, 0.2, 0.6, VisualSink.NOT_REQUIRED);
    assertThat(select(required, 0f, 0.5f, 0, IMAGE_TOKENS)).isFalse();
    assertThat(select(required, 0f, 0.5f, 1, IMAGE_TOKENS)).isTrue();
    assertThat(select(notRequired, 0f, 0.5f, 0, IMAGE_TOKENS)).isTrue();
  }

  @RepeatedTest(30)
  void choosesByEveryRowsOwnSettings(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int heads = 1 + random.nextInt(5);
    int queries = 1 + random.nextInt(4);
    List<VarSettings> rows =
        random
            .ints(1 + random.nextInt(4))
            .mapToObj(
                seed -> {
                  Random ofRow = new Random(seed);
                  return new VarSettings(
                      ofRow.nextBoolean() ? Mode.PAPER : Mode.REFERENCE,
                      20,
                      SinkTokens.PROMPT,
                      ofRow.nextDouble(),
                      ofRow.nextDouble() / 2,
                      0.6,
                      ofRow.nextBoolean() ? VisualSink.REQUIRED : VisualSink.NOT_REQUIRED);
                })
            .toList();
    int size = rows.size() * heads * queries;
    float[] sinks = new float[size];
    float[] nonsinks = new float[size];
    for (int i = 0; i < size; i++) {
      sinks[i] = random.nextFloat() / 2;
      nonsinks[i] = random.nextInt(5) == 0 ? 0 : random.nextFloat() / 2;
    }
    float[] counts = new float[rows.size()];
    for (int r = 0; r < counts.length; r++) {
      counts[r] = random.nextInt(2);
    }
    Shape shape = new Shape(rows.size(), heads, queries);

    float[] chosen =
        new HeadSelection(manager, rows)
            .select(
                sums(sinks, nonsinks, shape),
                manager.create(counts, new Shape(counts.length, 1, 1)),
                IMAGE_TOKENS)
            .toFloatArray();

    for (int i = 0; i < size; i++) {
      int row = i / (heads * queries);
      VarSettings settings = rows.get(row);
      double image = (double) sinks[i] + nonsinks[i];
      double margin =
          settings.mode() == Mode.PAPER
              ? nonsinks[i] / image - settings.minNonsinkRatio()
              : 1 - settings.minNonsinkRatio() - sinks[i] / (image + 1e-6 * IMAGE_TOKENS);
      if (Math.abs(margin) < 1e-5 || Math.abs(image - settings.minImageAttention()) < 1e-5) {
        continue; // Rounding may decide either way.
      }
      boolean expected =
          nonsinks[i] > 0
              && margin >= 0
              && image >= settings.minImageAttention()
              && (counts[row] > 0 || settings.visualSink() == VisualSink.NOT_REQUIRED);
      assertThat(chosen[i]).as("query %d under %s", i, settings).isEqualTo(expected ? 1f : 0f);
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.1, 1.1, Double.NaN})
  void refusesSharesThatAreNone(double share) {
    assertThatThrownBy(() -> settings(Mode.PAPER, share, 0.2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Min non-sink ratio must be from 0 to 1, not " + share);
    assertThatThrownBy(() -> settings(Mode.PAPER, 0.5, share))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Min image attention must be from 0 to 1, not " + share);
    assertThatThrownBy(
            () ->
                new VarSettings(
                    Mode.PAPER, 20, SinkTokens.PROMPT, 0.5, 0.2, share, VisualSink.REQUIRED))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Moved share must be from 0 to 1, not " + share);
  }

  private static VarSettings settings(Mode mode, double minNonsinkRatio, double minImageAttention) {
    return new VarSettings(
        mode, 20, SinkTokens.PROMPT, minNonsinkRatio, minImageAttention, 0.6, VisualSink.REQUIRED);
  }

  private boolean select(VarSettings settings, float visualSinks, float visualNonsinks) {
    return select(settings, visualSinks, visualNonsinks, 1, IMAGE_TOKENS);
  }

  private boolean select(
      VarSettings settings,
      float visualSinks,
      float visualNonsinks,
      int visualSinkCount,
      int imageTokens) {
    Shape one = new Shape(1, 1, 1);
    NDArray chosen =
        new HeadSelection(manager, List.of(settings))
            .select(
                sums(new float[] {visualSinks}, new float[] {visualNonsinks}, one),
                manager.create(new float[] {visualSinkCount}, one),
                imageTokens);
    float value = chosen.toFloatArray()[0];
    assertThat(value).isIn(0f, 1f);
    return value == 1;
  }

  private KeyGroupSums sums(float[] visualSinks, float[] visualNonsinks, Shape shape) {
    float[] none = new float[visualSinks.length];
    return new KeyGroupSums(
        manager.create(visualSinks, shape),
        manager.create(visualNonsinks, shape),
        manager.create(none, shape));
  }
}
