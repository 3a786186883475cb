package io.sinklens.job;

import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Whether a benchmark's hooks had anything to do. */
final class AttentionSummary {
  private AttentionSummary() {}

  /**
   * For every variant that records: mean number of image and text sinks a layer, and the share of
   * heads that were selected, layers that can have sinks counted.
   */
  static Map<String, Object> of(List<Annotation> annotations, int heads) {
    Map<String, List<AttentionRecord>> byVariant = new LinkedHashMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.outcome() instanceof Outcome.Answered answered
          && answered.attention() != null) {
        byVariant
            .computeIfAbsent(annotation.variant(), name -> new ArrayList<>())
            .add(answered.attention());
      }
    }
    Map<String, Object> summary = new LinkedHashMap<>();
    byVariant.forEach((variant, records) -> summary.put(variant, of(records, heads)));
    return summary;
  }

  private static Map<String, Object> of(Iterable<AttentionRecord> records, int heads) {
    double image = 0;
    double text = 0;
    double layers = 0;
    double selected = 0;
    double offered = 0;
    for (AttentionRecord record : records) {
      for (AttentionRecord.LayerSinks layer : record.sinks()) {
        image += layer.imagePositions().size();
        text += layer.textPositions().size();
        layers++;
      }
      HeadSelection selection = record.headSelection();
      for (int t = 0; t < selection.answerTokens(); t++) {
        for (AttentionRecord.LayerSinks layer : record.sinks()) {
          for (int h = 0; h < heads; h++) {
            selected += selection.selected(t, layer.layer(), h) ? 1 : 0;
            offered++;
          }
        }
      }
    }
    Map<String, Object> values = new LinkedHashMap<>();
    values.put("image_sinks_per_layer", image / layers);
    values.put("text_sinks_per_layer", text / layers);
    values.put("selected_head_share", selected / offered);
    return values;
  }
}
