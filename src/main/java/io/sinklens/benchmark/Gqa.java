package io.sinklens.benchmark;

import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * GQA: the prediction must equal the answer. Articles, plurals and number words stay as they are.
 *
 * <p>Source: {@code eval.py} of GQA with LLaVA's preparation, 2024; Cambrian and lmms-eval of 2024
 * and 2026.
 */
enum Gqa implements Scorer {
  /**
   * Trailing dots go, the rest becomes lower-case, blanks stay. Only rows with {@code isBalanced}
   * count, and a missing prediction among them is refused. Validity and plausibility need a file
   * that no copy of the data has, and are left out.
   */
  LLAVA,

  /** Both sides in lower case, without trailing dots. A row without a prediction is left out. */
  CAMBRIAN,

  /**
   * Both sides in lower case, without ASCII punctuation, the prediction without outer blanks. A
   * missing prediction is empty.
   */
  LMMS_EVAL;

  private static final String ALL = "all";
  private static final String BINARY = "binary";
  private static final String OPEN = "open";
  private static final String STRUCTURAL = "structural_types";
  private static final String SEMANTIC = "semantic_types";
  private static final String STEPS = "steps";
  private static final String LENGTHS = "lengths";
  private static final String DISTRIBUTION = "distribution";

  /** Before a group, a line break and an answer: how often it is right, and was predicted. */
  private static final String GOLD = "gold/";

  private static final String PREDICTED = "predicted/";

  /** Operations that add no step, as their name, or with what they are applied to. */
  private static final List<String> NO_STEPS = List.of("exist", "query: name", "choose name");

  @Override
  public List<String> columns() {
    return this == LLAVA
        ? List.of("answer", "isBalanced", "types", "question", "semantic", "groups")
        : List.of("answer");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    String answer = row.text("answer");
    return switch (this) {
      case LLAVA -> llava(row, answer);
      case CAMBRIAN ->
          row.prediction() == null
              ? RowScore.leftOut(row)
              : scored(
                  row,
                  PythonText.stripEnd(PythonText.lower(row.prediction()), "."),
                  PythonText.lower(answer));
      case LMMS_EVAL ->
          scored(row, letters(PythonText.strip(row.predictionOrEmpty())), letters(answer));
    };
  }

  private static String letters(String text) {
    return PythonText.withoutPunctuation(PythonText.lower(text));
  }

  private static RowScore scored(BenchmarkRow row, String compared, String answer) {
    Map<String, Long> counts = new HashMap<>();
    long hit = compared.equals(answer) ? 1 : 0;
    Means.count(counts, ALL, hit);
    return new RowScore(
        row.id(), row.prediction() == null ? null : compared, (double) hit, counts, null);
  }

  private static RowScore llava(BenchmarkRow row, String answer) {
    if (!row.text("isBalanced").equals("true")) {
      return RowScore.leftOut(row);
    }
    String compared = PythonText.lower(PythonText.stripEnd(row.requiredPrediction(), "."));
    RowScore score = scored(row, compared, answer);
    long hit = (long) score.score();
    String structural = row.text("types", "structural");
    Map<String, Long> counts = new HashMap<>(score.counts());
    Means.count(counts, structural.equals("query") ? OPEN : BINARY, hit);
    Means.count(counts, STRUCTURAL, structural, hit);
    Means.count(counts, SEMANTIC, row.text("types", "semantic"), hit);
    Means.count(counts, STEPS, Long.toString(steps(row)), hit);
    Means.count(
        counts, LENGTHS, Integer.toString(PythonText.split(row.text("question")).size()), hit);
    String group = globalGroup(row);
    if (group != null) {
      counts.merge(GOLD + group + "\n" + answer, 1L, Long::sum);
      counts.merge(PREDICTED + group + "\n" + compared, 1L, Long::sum);
    }
    return new RowScore(row.id(), compared, score.score(), counts, null);
  }

  private static long steps(BenchmarkRow row) {
    List<String> operations = row.texts("semantic", "operation");
    List<String> arguments = row.texts("semantic", "argument");
    return Stream.iterate(0, i -> i < operations.size(), i -> i + 1)
        .map(i -> operations.get(i) + ": " + arguments.get(i))
        .filter(step -> NO_STEPS.stream().noneMatch(step::contains))
        .count();
  }

  private static @Nullable String globalGroup(BenchmarkRow row) {
    return row.columns().get("groups") instanceof Map<?, ?> groups
            && groups.get("global") instanceof String group
        ? group
        : null;
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", Means.OF_HITS.of(tally, ALL));
    summary.put("rows", Means.rows(tally, ALL));
    if (this == LLAVA) {
      Comparator<String> bySize = Comparator.comparing(Integer::valueOf);
      summary.put(BINARY, Means.OF_HITS.of(tally, BINARY));
      summary.put(OPEN, Means.OF_HITS.of(tally, OPEN));
      summary.put(DISTRIBUTION, distribution(tally));
      summary.put(STRUCTURAL, Means.OF_HITS.table(tally, STRUCTURAL));
      summary.put(SEMANTIC, Means.OF_HITS.table(tally, SEMANTIC));
      summary.put(STEPS, Means.OF_HITS.table(tally, STEPS, bySize));
      summary.put(LENGTHS, Means.OF_HITS.table(tally, LENGTHS, bySize));
    }
    return summary;
  }

  /**
   * How far predictions of a group of questions are spread otherwise than the answers: the mean
   * over rows of the group's χ² statistic, divided by 100, as the script prints it; lower is
   * better.
   */
  private static double distribution(Tally tally) {
    Map<String, double[]> groups = new LinkedHashMap<>(); // group: χ², rows
    SortedMap<String, Long> gold = tally.under(GOLD);
    gold.forEach(
        (answer, expected) -> {
          long missed = tally.of(PREDICTED + answer) - expected;
          double[] group =
              groups.computeIfAbsent(answer.substring(0, answer.indexOf('\n')), g -> new double[2]);
          group[0] += (double) missed * missed / expected;
          group[1] += expected;
        });
    double sum = groups.values().stream().mapToDouble(group -> group[0] * group[1]).sum();
    double rows = groups.values().stream().mapToDouble(group -> group[1]).sum();
    return sum / rows / 100;
  }
}
