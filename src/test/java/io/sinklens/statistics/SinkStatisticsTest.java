package io.sinklens.statistics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.HeadStatistics;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Both accumulators, on two questions of four image tokens, two layers with sinks, two heads. */
class SinkStatisticsTest {
  private static final Annotation FIRST =
      answered(
          List.of(1f, 1f, 0f, 0.5f),
          attention(
              List.of(0, 1),
              List.of(2),
              // One answer token; layers 0 and 1 have no sinks.
              List.<boolean[][]>of(
                  new boolean[][] {{true, true}, {true, true}, {true, false}, {true, true}}),
              List.of(0.5f, 0.25f)));

  private static final Annotation SECOND =
      answered(
          List.of(0.5f, 0f, 0f, 0f),
          attention(
              List.of(0),
              List.of(),
              List.of(
                  new boolean[][] {{false, false}, {false, false}, {true, true}, {false, false}},
                  new boolean[][] {{false, false}, {false, false}, {true, true}, {false, true}}),
              List.of(0.125f, 0.125f)));

  private static final Annotation UNMEASURED = answered(List.of(1f, 1f, 1f, 1f), null);
  private static final Annotation WITHOUT_MASK =
      answered(
          List.of(),
          attention(List.of(3), List.of(3), List.<boolean[][]>of(new boolean[4][2]), List.of(0f)));
  private static final Annotation FAILED =
      annotation(new Outcome.Failed(new Failure(FailureKind.IMAGE_MISSING, "none")));

  @Test
  void averagesEachLayerOverItsQuestions() {
    SinksByLayer layers = new SinksByLayer();
    List.of(FIRST, SECOND, UNMEASURED, FAILED).forEach(layers::add);

    // Heads: layer 2 has 1 of 2 and 4 of 4, layer 3 has 2 of 2 and 1 of 4.
    assertThat(layers.layers())
        .containsExactly(
            new SinksByLayer.Layer(2, 1.5, 4, (0.375 + 0.125) / 2, 5 / 6.0),
            new SinksByLayer.Layer(3, 0.5, 4, (0.375 + 0.125) / 2, 3 / 6.0));
  }

  @Test
  void comparesTheBackgroundUnderSinksWithThatUnderAllTokens() {
    SinkBackground background = new SinkBackground();
    List.of(FIRST, SECOND, UNMEASURED, WITHOUT_MASK, FAILED).forEach(background::add);

    // Sinks lie on 1, 1 (layer 2), 0 (layer 3) and 0.5; tokens on 2.5 of 4 and 0.5 of 4.
    SinkBackground.Shares shares = background.shares().orElseThrow();
    assertThat(shares.sinks()).isCloseTo(2.5 / 4, within(1e-12));
    assertThat(shares.imageTokens()).isCloseTo(3.0 / 8, within(1e-12));
  }

  @Test
  void saysNothingOfABackgroundWithoutMasksOrWithoutSinks() {
    SinkBackground background = new SinkBackground();
    List.of(UNMEASURED, WITHOUT_MASK).forEach(background::add);

    assertThat(background.shares()).isEmpty();
    assertThat(new SinksByLayer().layers()).isEmpty();
  }

  @Test
  void mergesPartsIntoTheSameAsTheWhole() {
    SinksByLayer layers = new SinksByLayer();
    SinksByLayer otherLayers = new SinksByLayer();
    layers.add(FIRST);
    otherLayers.add(SECOND);
    layers.merge(otherLayers);
    SinksByLayer allLayers = new SinksByLayer();
    SinkBackground background = new SinkBackground();
    SinkBackground otherBackground = new SinkBackground();
    background.add(FIRST);
    otherBackground.add(SECOND);
    background.merge(otherBackground);
    SinkBackground wholeBackground = new SinkBackground();
    for (Annotation annotation : List.of(FIRST, SECOND)) {
      allLayers.add(annotation);
      wholeBackground.add(annotation);
    }

    assertThat(layers.layers()).isEqualTo(allLayers.layers());
    assertThat(background.shares()).isEqualTo(wholeBackground.shares());
  }

  private static AttentionRecord attention(
      List<Integer> layer2, List<Integer> layer3, List<boolean[][]> heads, List<Float> onSinks) {
    return new AttentionRecord(
        List.of(new LayerSinks(2, layer2, List.of(0), 9), new LayerSinks(3, layer3, List.of(0), 9)),
        HeadSelection.pack(heads, 4, 2),
        List.of(
            new HeadStatistics(2, onSinks, onSinks, onSinks, null, null),
            new HeadStatistics(3, onSinks, onSinks, onSinks, null, null)),
        null);
  }

  private static Annotation answered(List<Float> background, @Nullable AttentionRecord attention) {
    return annotation(
        new Outcome.Answered(
            new Answer("red", List.of(), 0, FinishReason.STOP, List.of(), Map.of()),
            new PromptFacts(8, 4, 2, 2, List.of(), background),
            attention));
  }

  private static Annotation annotation(Outcome outcome) {
    return new Annotation("1", null, "What?", "var", List.of(), outcome);
  }
}
