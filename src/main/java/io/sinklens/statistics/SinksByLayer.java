package io.sinklens.statistics;

import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome.Answered;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/** What sinks did at each layer, over questions whose attention was measured. For one thread. */
public final class SinksByLayer {
  private final SortedMap<Integer, Sums> layers = new TreeMap<>();

  /**
   * Means over the questions of one layer.
   *
   * @param layer the layer
   * @param imageSinks sinks among the image tokens of a question
   * @param imageTokens image tokens of a question
   * @param sinkAttention share of attention on all sinks, of image and text, before redistribution;
   *     over heads, 0 to 1
   * @param correctedHeads share of heads that were corrected, or would have been by a variant that
   *     only looks; over answer tokens, 0 to 1
   */
  public record Layer(
      int layer,
      double imageSinks,
      double imageTokens,
      double sinkAttention,
      double correctedHeads) {}

  /** Counts one annotation; one without a record of attention counts nowhere. */
  public void add(Annotation annotation) {
    if (annotation.outcome() instanceof Answered answered && answered.attention() != null) {
      AttentionRecord attention = answered.attention();
      for (int i = 0; i < attention.sinks().size(); i++) {
        sums(attention.sinks().get(i).layer())
            .add(attention, i, answered.prompt().imageTokenCount());
      }
    }
  }

  /** Counts all that the other has counted. */
  public void merge(SinksByLayer other) {
    other.layers.forEach((layer, sums) -> sums(layer).merge(sums));
  }

  /** Means by layer, from the first layer that can have sinks. */
  public List<Layer> layers() {
    return layers.entrySet().stream().map(entry -> entry.getValue().means(entry.getKey())).toList();
  }

  private Sums sums(int layer) {
    return layers.computeIfAbsent(layer, number -> new Sums());
  }

  /** One layer over all questions. */
  private static final class Sums {
    private long questions;
    private long imageSinks;
    private long imageTokens;
    private double sinkAttention;
    private long heads;
    private long corrected;

    void add(AttentionRecord attention, int index, int tokens) {
      LayerSinks sinks = attention.sinks().get(index);
      questions++;
      imageSinks += sinks.imagePositions().size();
      imageTokens += tokens;
      sinkAttention +=
          attention.headStatistics().get(index).sinkAttention().stream()
              .mapToDouble(Float::doubleValue)
              .average()
              .orElse(0);
      HeadSelection selection = attention.headSelection();
      for (int t = 0; t < selection.answerTokens(); t++) {
        for (int h = 0; h < selection.heads(); h++) {
          heads++;
          corrected += selection.selected(t, sinks.layer(), h) ? 1 : 0;
        }
      }
    }

    void merge(Sums other) {
      questions += other.questions;
      imageSinks += other.imageSinks;
      imageTokens += other.imageTokens;
      sinkAttention += other.sinkAttention;
      heads += other.heads;
      corrected += other.corrected;
    }

    Layer means(int layer) {
      return new Layer(
          layer,
          (double) imageSinks / questions,
          (double) imageTokens / questions,
          sinkAttention / questions,
          (double) corrected / Math.max(1, heads));
    }
  }
}
