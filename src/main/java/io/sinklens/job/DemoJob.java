package io.sinklens.job;

import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.Outcome;
import io.sinklens.table.AnnotationTable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * The main job on what is bundled: every scene and question, as the model is and with VAR.
 *
 * <p>A former demo's output in the folder is replaced; anything else there is left alone and ends
 * the run.
 */
public final class DemoJob {
  private static final String BASELINE = "baseline";
  private static final String VAR = "var";

  private final Path output;
  private final JobProgress progress;

  /**
   * What came out.
   *
   * @param run the job's own counts
   * @param changed questions that VAR answers in other words than the baseline
   * @param layers what sinks did, from the first layer that can have some
   */
  public record Result(AnnotateJob.Result run, long changed, List<Layer> layers) {
    public Result {
      layers = List.copyOf(layers);
    }
  }

  /**
   * What sinks did at one layer, means over all questions.
   *
   * @param layer the layer
   * @param imageSinks sinks among the image tokens
   * @param imageTokens image tokens
   * @param sinkAttention share of attention on all sinks, before VAR
   * @param corrected share of heads that VAR corrected, over answer tokens
   */
  public record Layer(
      int layer, double imageSinks, double imageTokens, double sinkAttention, double corrected) {}

  public DemoJob(Path output, JobProgress progress) {
    this.output = output;
    this.progress = progress;
  }

  /** Runs, and reads the result back as any other program would. */
  public Result run(SparkSession spark) {
    try (Bundled bundled = Bundled.unpack()) {
      AnnotateJob.Settings settings =
          new AnnotateJob.Settings(
              bundled.job(output, List.of()), null, Restart.FROM_SCRATCH, null);
      AnnotateJob.Result run = new AnnotateJob(settings, progress).run(spark);
      List<Annotation> annotations = new ArrayList<>();
      for (Row row : spark.read().parquet(output + "/annotations").collectAsList()) {
        annotations.add(AnnotationTable.fromRow(row));
      }
      return new Result(run, changed(annotations), layers(annotations));
    }
  }

  private static long changed(List<Annotation> annotations) {
    Map<String, String> baseline = new TreeMap<>();
    Map<String, String> corrected = new TreeMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.outcome() instanceof Outcome.Answered answered) {
        (annotation.variant().equals(BASELINE) ? baseline : corrected)
            .put(annotation.sampleId(), answered.answer().text());
      }
    }
    return corrected.entrySet().stream()
        .filter(entry -> !entry.getValue().equals(baseline.get(entry.getKey())))
        .count();
  }

  private static List<Layer> layers(List<Annotation> annotations) {
    Map<Integer, LayerSums> layers = new TreeMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.variant().equals(VAR)
          && annotation.outcome() instanceof Outcome.Answered answered
          && answered.attention() != null) {
        AttentionRecord attention = answered.attention();
        for (int i = 0; i < attention.sinks().size(); i++) {
          layers
              .computeIfAbsent(attention.sinks().get(i).layer(), layer -> new LayerSums())
              .add(attention, i, answered.prompt().imageTokenCount());
        }
      }
    }
    return layers.entrySet().stream().map(entry -> entry.getValue().means(entry.getKey())).toList();
  }

  /** One layer over all questions. */
  private static final class LayerSums {
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
      for (int t = 0; t < attention.headSelection().answerTokens(); t++) {
        for (int h = 0; h < attention.headSelection().heads(); h++) {
          heads++;
          corrected += attention.headSelection().selected(t, sinks.layer(), h) ? 1 : 0;
        }
      }
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
