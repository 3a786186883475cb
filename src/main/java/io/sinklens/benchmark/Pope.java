package io.sinklens.benchmark;

import static io.sinklens.benchmark.YesNo.NO;
import static io.sinklens.benchmark.YesNo.YES;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * POPE: is there such an object in the image? Measures are given of each category, as their mean
 * over categories, and of all rows pooled; yes is the positive answer. A missing prediction is an
 * empty one.
 *
 * <p>Source: {@code evaluate.py} of POPE, 2024; LLaVA, lmms-eval, Cambrian and VLMEvalKit of 2024
 * to 2026.
 */
enum Pope implements Scorer {
  /**
   * The first sentence, without commas, in words between single blanks: with No, no or not it is
   * no, and everything else is yes, nothing too.
   */
  OFFICIAL,

  /** LLaVA's copy of the authors' script. */
  LLAVA,

  /**
   * The answer in lower case must be one of the two words. What is neither lowers accuracy alone,
   * and {@code yes_ratio} is the share of yes in the truth.
   */
  LMMS_EVAL,

  /** The first word, whatever it is; only accuracy is asked. An empty prediction is refused. */
  CAMBRIAN,

  /** One of the two words and not the other; else the answer is wrong, and not a yes. */
  VLMEVALKIT;

  @Override
  public List<String> columns() {
    return List.of("category", "answer");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    String truth = YesNo.truth(row);
    @Nullable String parsed = read(row);
    boolean isYes = truth.equals(YES);
    boolean saidYes = YES.equals(parsed);
    boolean saidNo = this == VLMEVALKIT ? !saidYes : NO.equals(parsed);
    boolean right = truth.equals(parsed);
    PopeCounts counts =
        new PopeCounts(
            1,
            right ? 1 : 0,
            isYes ? 1 : 0,
            isYes && saidYes ? 1 : 0,
            !isYes && saidYes ? 1 : 0,
            isYes && saidNo ? 1 : 0);
    return new RowScore(
        row.id(),
        row.prediction() == null ? null : parsed,
        right ? 1 : 0,
        counts.named(row.text("category")),
        null);
  }

  private @Nullable String read(BenchmarkRow row) {
    String prediction = row.predictionOrEmpty();
    return switch (this) {
      case OFFICIAL, LLAVA -> {
        String sentence = PythonText.split(prediction, '.').get(0).replace(",", "");
        List<String> words = PythonText.split(sentence, ' ');
        yield words.contains("No") || words.contains("not") || words.contains("no") ? NO : YES;
      }
      case LMMS_EVAL -> PythonText.strip(PythonText.lower(prediction));
      case CAMBRIAN -> {
        List<String> words = PythonText.split(PythonText.lower(prediction));
        if (words.isEmpty()) {
          throw new UnscorableRowException(
              "Row %s: the prediction is empty, and this mode scores none that is"
                  .formatted(row.id()));
        }
        yield PythonText.stripEnd(words.get(0), ".:,");
      }
      case VLMEVALKIT -> YesNo.amongWords(prediction);
    };
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> categories = new LinkedHashMap<>();
    List<Map<String, Double>> measures = new ArrayList<>();
    PopeCounts pooled = PopeCounts.NONE;
    for (String category : tally.under(PopeCounts.ROWS).keySet()) {
      PopeCounts counts = PopeCounts.in(tally, category);
      pooled = pooled.plus(counts);
      measures.add(measures(counts));
      categories.put(category, described(counts));
    }
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("mean", mean(measures));
    summary.put("pooled", described(pooled));
    summary.put("categories", categories);
    return summary;
  }

  private Map<String, Double> measures(PopeCounts counts) {
    return switch (this) {
      case OFFICIAL, LLAVA -> counts.measures(Double.NaN, counts.saidYes());
      case LMMS_EVAL -> counts.measures(0, counts.yes());
      case CAMBRIAN -> Map.of("accuracy", counts.accuracy());
      case VLMEVALKIT -> counts.measures(0);
    };
  }

  private Map<String, Object> described(PopeCounts counts) {
    Map<String, Object> described = new LinkedHashMap<>(measures(counts));
    described.put("rows", counts.rows());
    return described;
  }

  private Map<String, Double> mean(List<Map<String, Double>> measures) {
    Map<String, Double> mean = new LinkedHashMap<>();
    for (String name : measures(PopeCounts.NONE).keySet()) {
      mean.put(
          name, measures.stream().mapToDouble(of -> of.get(name)).average().orElse(Double.NaN));
    }
    return mean;
  }
}
