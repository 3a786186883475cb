package io.sinklens.statistics;

import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.Outcome.Answered;
import java.util.List;
import java.util.Optional;

/**
 * How much background lies under visual sinks, against that under all image tokens, over questions
 * with a mask and a record of attention. A token counts once for every layer it is a sink at. For
 * one thread.
 */
public final class SinkBackground {
  private long sinks;
  private long tokens;
  private double underSinks;
  private double underTokens;

  /**
   * Mean shares of background, 0 to 1.
   *
   * @param sinks under sinks among the image tokens
   * @param imageTokens under all image tokens
   */
  public record Shares(double sinks, double imageTokens) {}

  /** Counts one annotation. */
  public void add(Annotation annotation) {
    if (annotation.outcome() instanceof Answered answered && answered.attention() != null) {
      List<Float> background = answered.prompt().maskBackground();
      if (background.isEmpty()) {
        return;
      }
      for (float share : background) {
        tokens++;
        underTokens += share;
      }
      for (LayerSinks layer : answered.attention().sinks()) {
        for (int position : layer.imagePositions()) {
          sinks++;
          underSinks += background.get(position);
        }
      }
    }
  }

  /** Counts all that the other has counted. */
  public void merge(SinkBackground other) {
    sinks += other.sinks;
    tokens += other.tokens;
    underSinks += other.underSinks;
    underTokens += other.underTokens;
  }

  /** The shares; none when no question with a mask had a sink on its image. */
  public Optional<Shares> shares() {
    return sinks == 0
        ? Optional.empty()
        : Optional.of(new Shares(underSinks / sinks, underTokens / tokens));
  }
}
