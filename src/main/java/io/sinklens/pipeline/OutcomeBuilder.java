package io.sinklens.pipeline;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.generation.Generated;
import io.sinklens.generation.Generated.Finish;
import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.AttentionTotals;
import io.sinklens.intervention.Var;
import io.sinklens.pipeline.RunSettings.Statistics.Level;
import io.sinklens.preprocessing.ImageGrid;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.HeadStatistics;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.sink.SinkRule;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Turns what the engine gives into what is stored. */
final class OutcomeBuilder {
  private final Tokenizer tokenizer;
  private final List<String> choices;
  private final int layers;
  private final int heads;

  OutcomeBuilder(Tokenizer tokenizer, List<String> choices, int layers, int heads) {
    this.tokenizer = tokenizer;
    this.choices = choices;
    this.layers = layers;
    this.heads = heads;
  }

  Outcome outcome(
      ImageTask.Row row, ImageGrid grid, Generated generated, @Nullable AttentionRecord attention) {
    if (generated.finish() == Finish.NUMERIC_FAILURE) {
      return new Outcome.Failed(
          new Failure(
              FailureKind.NUMERIC_FAILURE,
              "Model gave logits that are not finite for answer token "
                  + generated.tokenIds().size()));
    }
    int[] ids = generated.tokenIds().stream().mapToInt(Integer::intValue).toArray();
    Map<String, Double> choiceProbabilities = new LinkedHashMap<>();
    for (int i = 0; i < generated.choiceProbabilities().size(); i++) {
      choiceProbabilities.put(choices.get(i), generated.choiceProbabilities().get(i));
    }
    Answer answer =
        new Answer(
            tokenizer.decode(ids).strip(),
            generated.tokenIds(),
            generated.logprob(),
            generated.finish() == Finish.STOP ? FinishReason.STOP : FinishReason.LENGTH,
            generated.topLogprobs().stream()
                .map(
                    top ->
                        top.stream()
                            .map(token -> new Answer.TokenLogprob(token.tokenId(), token.logprob()))
                            .toList())
                .toList(),
            choiceProbabilities);
    return new Outcome.Answered(
        answer,
        new PromptFacts(
            row.prompt().ids().length,
            row.prompt().image().length(),
            grid.imageWidth(),
            grid.imageHeight(),
            grid.views().stream().map(OutcomeBuilder::view).toList(),
            List.of()),
        attention);
  }

  /** What a row's attention did; null where the variant records nothing. */
  @Nullable AttentionRecord attention(ImageTask.Row row, BatchLook look, int index) {
    if (row.variant().level() == Level.NONE) {
      return null;
    }
    Var hook = look.var();
    List<LayerSinks> sinks =
        hook.promptSinks(index).stream()
            .map(
                layer ->
                    new LayerSinks(
                        layer.layer(),
                        layer.imagePositions(),
                        layer.textPositions(),
                        layer.maxValue()))
            .toList();
    AttentionTotals totals = hook.totals(index);
    List<HeadStatistics> statistics = new ArrayList<>();
    for (int layer = SinkRule.FIRST_LAYER; layer < layers; layer++) {
      statistics.add(
          new HeadStatistics(
              layer,
              boxed(totals.imageAttention(layer)),
              boxed(totals.nonsinkRatio(layer)),
              boxed(totals.sinkAttention(layer)),
              look.sinkContribution(layer, index).map(OutcomeBuilder::boxed).orElse(null),
              look.nonsinkContribution(layer, index).map(OutcomeBuilder::boxed).orElse(null)));
    }
    return new AttentionRecord(
        sinks,
        HeadSelection.pack(hook.selectedHeads(index), layers, heads),
        statistics,
        maps(look, index));
  }

  private static @Nullable AttentionMaps maps(BatchLook look, int index) {
    AttentionMapRecorder maps = look.maps();
    return maps == null
        ? null
        : new AttentionMaps(boxed(maps.before(index)), boxed(maps.after(index)));
  }

  private static PromptFacts.View view(ImageGrid.View view) {
    return new PromptFacts.View(
        view.row(),
        view.column(),
        view.rows(),
        view.columns(),
        view.region().x(),
        view.region().y(),
        view.region().width(),
        view.region().height());
  }

  private static List<List<Float>> boxed(float[][] values) {
    return Arrays.stream(values).map(OutcomeBuilder::boxed).toList();
  }

  private static List<Float> boxed(float[] values) {
    List<Float> boxed = new ArrayList<>(values.length);
    for (float value : values) {
      boxed.add(value);
    }
    return boxed;
  }
}
