package io.sinklens.benchmark;

import static io.sinklens.benchmark.YesNo.NO;
import static io.sinklens.benchmark.YesNo.YES;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * MME: fourteen subtasks of yes-or-no questions, two about each image. A subtask is worth 100
 * points for its right answers and 100 for the images of which both answers are right. A missing
 * prediction is an empty one, hence wrong.
 *
 * <p>Source: {@code calculation.py} of MME's {@code eval_tool}, 2024; lmms-eval, Cambrian and
 * VLMEvalKit of 2024 to 2026.
 */
enum Mme implements Scorer {
  /**
   * Which of the two words the first four characters hold, in lower case; yes goes first. Tabs and
   * line breaks go before, as the tool asks for. A total needs all of its subtasks.
   */
  OFFICIAL,

  /** LLaVA's answers through the authors' tool. */
  LLAVA,

  /**
   * The same without outer white space and dots; y and n are words too. Other subtasks than the
   * fourteen fall into cognition, and totals take what is there.
   */
  LMMS_EVAL,

  /** The whole answer in lower case, but for its last dots. Totals take what is there. */
  CAMBRIAN,

  /** One of the two words and not the other. A total needs all of its subtasks. */
  VLMEVALKIT;

  private static final List<String> PERCEPTION =
      List.of(
          "existence",
          "count",
          "position",
          "color",
          "posters",
          "celebrity",
          "scene",
          "landmark",
          "artwork",
          "OCR");
  private static final List<String> COGNITION =
      List.of(
          "commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning");

  @Override
  public List<String> columns() {
    return List.of("question_id", "category", "answer");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    String subtask = row.text("category");
    boolean known =
        PERCEPTION.contains(subtask)
            || COGNITION.contains(subtask)
            || (this == LMMS_EVAL && !subtask.contains("/"));
    if (!known) {
      throw new UnscorableRowException(
          "Row %s: category must be one of MME's subtasks, not %s".formatted(row.id(), subtask));
    }
    @Nullable String parsed = read(row.predictionOrEmpty());
    boolean right = YesNo.truth(row).equals(parsed);
    return new RowScore(
        row.id(),
        row.prediction() == null ? null : parsed,
        right ? 1 : 0,
        Map.of("rows/" + subtask, 1L, "right/" + subtask, right ? 1L : 0L),
        subtask + "/" + row.text("question_id"));
  }

  private @Nullable String read(String prediction) {
    return switch (this) {
      case OFFICIAL, LLAVA ->
          YesNo.inFirstFour(PythonText.lower(prediction.replaceAll("[\\t\\n\\r]", "")));
      case LMMS_EVAL -> {
        String text = PythonText.strip(PythonText.lower(prediction)).replace(".", "");
        yield text.equals("y") ? YES : text.equals("n") ? NO : YesNo.inFirstFour(text);
      }
      case CAMBRIAN -> PythonText.stripEnd(PythonText.lower(prediction), ".");
      case VLMEVALKIT -> YesNo.amongWords(prediction);
    };
  }

  /**
   * @throws UnscorableRowException if they are not two
   */
  @Override
  public Map<String, Long> scorePair(List<RowScore> rows) {
    String image = Objects.requireNonNull(rows.get(0).pair());
    if (rows.size() != 2) {
      throw new UnscorableRowException(
          "Image %s: MME asks 2 questions about it, not %d".formatted(image, rows.size()));
    }
    String subtask = image.substring(0, image.indexOf('/'));
    boolean right = rows.stream().allMatch(row -> row.score() == 1);
    return Map.of("pairs/" + subtask, 1L, "right pairs/" + subtask, right ? 1L : 0L);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> subtasks = new LinkedHashMap<>();
    Map<String, Double> points = new LinkedHashMap<>();
    for (String subtask : inOrder(tally.under("rows/").keySet())) {
      double accuracy = tally.share("right/" + subtask, "rows/" + subtask);
      double accuracyPlus = tally.share("right pairs/" + subtask, "pairs/" + subtask);
      points.put(subtask, 100 * accuracy + 100 * accuracyPlus);
      Map<String, Object> described = new LinkedHashMap<>();
      described.put("score", points.get(subtask));
      described.put("accuracy", accuracy);
      described.put("accuracy_plus", accuracyPlus);
      described.put("rows", tally.of("rows/" + subtask));
      subtasks.put(subtask, described);
    }
    Set<String> cognition = new LinkedHashSet<>(COGNITION);
    cognition.addAll(points.keySet());
    cognition.removeAll(PERCEPTION);
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("perception", total(Set.copyOf(PERCEPTION), points));
    summary.put("cognition", total(cognition, points));
    summary.put("subtasks", subtasks);
    return summary;
  }

  private static Set<String> inOrder(Set<String> subtasks) {
    Set<String> ordered = new LinkedHashSet<>(PERCEPTION);
    ordered.addAll(COGNITION);
    ordered.retainAll(subtasks);
    ordered.addAll(subtasks);
    return ordered;
  }

  private double total(Set<String> subtasks, Map<String, Double> points) {
    boolean takesWhatIsThere = this == LMMS_EVAL || this == CAMBRIAN;
    if (!takesWhatIsThere && !points.keySet().containsAll(subtasks)) {
      return Double.NaN;
    }
    return points.keySet().stream()
        .filter(subtasks::contains)
        .mapToDouble(points::get)
        .reduce(Double::sum)
        .orElse(Double.NaN);
  }
}
