package io.sinklens.result;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What attention did while one answer was given.
 *
 * @param sinks the prompt's sinks, by layer
 * @param headSelection which heads were corrected, or would have been by a variant that only looks
 * @param headStatistics what heads looked at, by layer
 * @param maps where on the image they looked; null where no maps were asked for
 */
public record AttentionRecord(
    List<LayerSinks> sinks,
    HeadSelection headSelection,
    List<HeadStatistics> headStatistics,
    @Nullable AttentionMaps maps) {

  public AttentionRecord {
    sinks = List.copyOf(sinks);
    headStatistics = List.copyOf(headStatistics);
  }

  /** The same without maps. */
  public AttentionRecord withoutMaps() {
    return new AttentionRecord(sinks, headSelection, headStatistics, null);
  }

  /**
   * The sinks of one prompt at one layer.
   *
   * @param layer the layer the hidden states enter
   * @param imagePositions sinks among the image tokens, from the image's start
   * @param textPositions sinks among the other tokens, from the prompt's start
   * @param maxValue the largest sink value of any image token
   */
  public record LayerSinks(
      int layer, List<Integer> imagePositions, List<Integer> textPositions, float maxValue) {

    public LayerSinks {
      imagePositions = List.copyOf(imagePositions);
      textPositions = List.copyOf(textPositions);
    }
  }

  /**
   * What the heads of one layer looked at, means over the queries that gave answer tokens, before
   * redistribution; one value a head.
   *
   * @param layer the layer
   * @param imageAttention attention to the image, 0 to 1
   * @param nonsinkRatio share of it on tokens that are no sinks, 0 to 1
   * @param sinkAttention attention to all sinks, of image and text, 0 to 1
   * @param sinkContribution length of what a visual sink adds to the residual stream, mean over the
   *     visual sinks, 0 or more; null where this was not measured or there is no visual sink
   * @param nonsinkContribution the same of the other image tokens
   */
  public record HeadStatistics(
      int layer,
      List<Float> imageAttention,
      List<Float> nonsinkRatio,
      List<Float> sinkAttention,
      @Nullable List<Float> sinkContribution,
      @Nullable List<Float> nonsinkContribution) {

    public HeadStatistics {
      imageAttention = List.copyOf(imageAttention);
      nonsinkRatio = List.copyOf(nonsinkRatio);
      sinkAttention = List.copyOf(sinkAttention);
      sinkContribution = sinkContribution == null ? null : List.copyOf(sinkContribution);
      nonsinkContribution = nonsinkContribution == null ? null : List.copyOf(nonsinkContribution);
    }
  }
}
