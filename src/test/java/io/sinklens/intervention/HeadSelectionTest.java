package io.sinklens.intervention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.ndarray.types.Shape;
import io.sinklens.intervention.VarSettings.Mode;
import io.sinklens.intervention.VarSettings.VisualSink;
import io.sinklens.model.TinyModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.Notes;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.model.decoder.Segment.Token;
import io.sinklens.sink.JoinedSinks;
import io.sinklens.sink.KeyGroupSums;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.SinkDetector;
import io.sinklens.sink.SinkRule;
import io.sinklens.sink.SinkRule.SinkTokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class HeadSelectionTest {
  private static final int IMAGE_TOKENS = 16;
  private static final int HIDDEN = 4;
  private static final double SEES_THE_SINK = 1.9; // The sink value is 1.9997.
  private static final double SEES_NONE = 2.1;

  @RegisterExtension
  static final TinyModel tiny = TinyModel.of("llava-gqa"); // For its operators and caches alone.

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
    assertThat(select(paper, 0.40001f, 0.39999f, 576)).isFalse();
    assertThat(select(reference, 0.40001f, 0.39999f, 576)).isTrue();
    // 0.402 / 0.800576 = 0.5021: too much for either.
    assertThat(select(reference, 0.402f, 0.398f, 576)).isFalse();
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
    VarSettings withoutSink =
        new VarSettings(mode, SEES_NONE, SinkTokens.PROMPT, 0.5, 0.2, 0.6, VisualSink.REQUIRED);
    VarSettings notRequired =
        new VarSettings(mode, SEES_NONE, SinkTokens.PROMPT, 0.5, 0.2, 0.6, VisualSink.NOT_REQUIRED);
    assertThat(select(withoutSink, 0f, 0.5f)).isFalse();
    assertThat(select(required, 0f, 0.5f)).isTrue();
    assertThat(select(notRequired, 0f, 0.5f)).isTrue();
  }

  @RepeatedTest(30)
  void choosesByEveryRowsOwnSettings(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int heads = 1 + random.nextInt(5);
    List<VarSettings> rows =
        random
            .ints(1 + random.nextInt(4))
            .mapToObj(
                seed -> {
                  Random ofRow = new Random(seed);
                  return new VarSettings(
                      ofRow.nextBoolean() ? Mode.PAPER : Mode.REFERENCE,
                      ofRow.nextBoolean() ? SEES_THE_SINK : SEES_NONE,
                      SinkTokens.PROMPT,
                      ofRow.nextDouble(),
                      ofRow.nextDouble() / 2,
                      0.6,
                      ofRow.nextBoolean() ? VisualSink.REQUIRED : VisualSink.NOT_REQUIRED);
                })
            .toList();
    List<Token> tokens = new ArrayList<>(); // Rows in any order, each with queries of its own.
    int[] queries = new int[rows.size()];
    for (int r : random.ints(8, 0, rows.size()).toArray()) {
      tokens.add(new Token(r, queries[r]++, true));
    }
    int size = heads * tokens.size();
    float[] sinks = new float[size];
    float[] nonsinks = new float[size];
    for (int i = 0; i < size; i++) {
      sinks[i] = random.nextFloat() / 2;
      nonsinks[i] = random.nextInt(5) == 0 ? 0 : random.nextFloat() / 2;
    }

    float[] chosen = select(rows, tokens, sinks, nonsinks, IMAGE_TOKENS);

    assertThat(chosen).hasSize(size);
    for (int i = 0; i < size; i++) {
      VarSettings settings = rows.get(tokens.get(i % tokens.size()).row());
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
              && (settings.sinkThreshold() == SEES_THE_SINK
                  || settings.visualSink() == VisualSink.NOT_REQUIRED);
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
                    Mode.PAPER,
                    SEES_THE_SINK,
                    SinkTokens.PROMPT,
                    0.5,
                    0.2,
                    share,
                    VisualSink.REQUIRED))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Moved share must be from 0 to 1, not " + share);
  }

  private static VarSettings settings(Mode mode, double minNonsinkRatio, double minImageAttention) {
    return new VarSettings(
        mode,
        SEES_THE_SINK,
        SinkTokens.PROMPT,
        minNonsinkRatio,
        minImageAttention,
        0.6,
        VisualSink.REQUIRED);
  }

  private boolean select(VarSettings settings, float visualSinks, float visualNonsinks) {
    return select(settings, visualSinks, visualNonsinks, IMAGE_TOKENS);
  }

  private boolean select(
      VarSettings settings, float visualSinks, float visualNonsinks, int imageTokens) {
    float[] chosen =
        select(
            List.of(settings),
            List.of(new Token(0, 0, true)),
            new float[] {visualSinks},
            new float[] {visualNonsinks},
            imageTokens);
    assertThat(chosen).hasSize(1);
    assertThat(chosen[0]).isIn(0f, 1f);
    return chosen[0] == 1;
  }

  /**
   * Chooses heads on an image of which one token is a sink.
   *
   * @param visualSinks attention to visual sinks {@code [head · token]}
   * @param visualNonsinks to visual non-sinks, as {@code visualSinks}
   */
  private float[] select(
      List<VarSettings> rows,
      List<Token> tokens,
      float[] visualSinks,
      float[] visualNonsinks,
      int imageTokens) {
    KeyValueCache cache =
        tiny.decoder()
            .newCache(tiny.manager(), RotaryPositions.sequential(imageTokens), tokens.size());
    List<SinkRule> rules = rows.stream().map(VarSettings::sinkRule).toList();
    int[] promptLengths = new int[rows.size()];
    Arrays.fill(promptLengths, tokens.size());
    try (PrefixSinkValues values =
            new PrefixSinkValues(tiny.operators(), List.of(3), HIDDEN, SinkRule.FIRST_LAYER + 1);
        SinkDetector sinks = new SinkDetector(tiny.operators(), values, 0, rules, promptLengths)) {
      float[] states = new float[imageTokens * HIDDEN];
      Arrays.fill(states, 1);
      states[states.length - 1] = 100;
      Segment prefix = Segment.ofPrefix(cache, values);
      prefix.enter(tiny.manager(), new Notes(tiny.manager()));
      values.onHiddenStates(
          SinkRule.FIRST_LAYER,
          prefix,
          tiny.manager().create(states, new Shape(imageTokens, HIDDEN)));
      Segment segment = Segment.ofRows(cache, AttentionHook.NONE, 0, tokens);
      segment.enter(tiny.manager(), new Notes(tiny.manager()));
      sinks.onSegment(segment);
      JoinedSegments alone = JoinedSegments.alone(segment);
      return new HeadSelection(
              tiny.operators(),
              alone,
              new JoinedSinks(tiny.operators(), List.of(sinks), alone),
              List.of(new HeadSelection.Rows(rows, imageTokens)))
          .select(SinkRule.FIRST_LAYER, sums(visualSinks, visualNonsinks, tokens.size()))
          .toFloatArray();
    }
  }

  private KeyGroupSums sums(float[] visualSinks, float[] visualNonsinks, int queries) {
    float[] byGroup = new float[3 * visualSinks.length];
    for (int i = 0; i < visualSinks.length; i++) {
      byGroup[3 * i] = visualSinks[i];
      byGroup[3 * i + 1] = visualNonsinks[i];
    }
    return new KeyGroupSums(
        tiny.manager().create(byGroup, new Shape(1, visualSinks.length / queries, queries, 3)));
  }
}
