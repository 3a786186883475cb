package io.sinklens.benchmark;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * CV-Bench: counting and relations in 2D, depth and distance in 3D, with lettered choices. Every
 * mode gives accuracy as the mean over sources, which is the authors', and over rows pooled, which
 * is lmms-eval's. A missing prediction is an empty one, hence wrong.
 *
 * <p>Source: {@code ade_test.py}, {@code coco_test.py} and {@code omni_test.py} of Cambrian, 2024;
 * lmms-eval of 2026.
 */
enum CvBench implements Scorer {
  /**
   * The first character of what is left in lower case without keywords, brackets and last dots. Of
   * rows from Omni3D colons and commas go too, and a choice of one character is met by itself.
   */
  OFFICIAL,

  /** The same scripts: they are Cambrian's. */
  CAMBRIAN,

  /** The first letter, whatever follows it, if only brackets and white space stand before it. */
  LMMS_EVAL;

  private static final Pattern FIRST_LETTER = PythonText.pattern("(?:\\(|\\s)*([A-Za-z])");

  private record Reading(String parsed, boolean right) {}

  private Reading read(BenchmarkRow row) {
    return this == LMMS_EVAL ? firstLetter(row) : firstCharacter(row);
  }

  private static Reading firstLetter(BenchmarkRow row) {
    String truth = PythonText.stripEnd(PythonText.stripStart(row.text("answer"), "()"), "()");
    Matcher letter = FIRST_LETTER.matcher(PythonText.strip(row.predictionOrEmpty()));
    String parsed = letter.lookingAt() ? letter.group(1).toUpperCase(Locale.ROOT) : "";
    return new Reading(parsed, parsed.equals(truth));
  }

  private static Reading firstCharacter(BenchmarkRow row) {
    String truth = CambrianChoice.letter(row, "answer");
    String source = row.text("source");
    boolean omni = source.equals("Omni3D");
    if (!omni && !source.equals("ADE20K") && !source.equals("COCO")) {
      throw new UnscorableRowException(
          "Row %s: source must be ADE20K, COCO or Omni3D, not %s".formatted(row.id(), source));
    }
    String cut = CambrianChoice.read(row.predictionOrEmpty(), omni ? ".:," : ".");
    String parsed = PythonText.prefix(cut, 1);
    boolean isChoice =
        omni && parsed.equals(CambrianChoice.option(row, truth, row.texts("choices")));
    return new Reading(parsed, isChoice || parsed.equals(truth));
  }

  @Override
  public List<String> columns() {
    return List.of("type", "task", "source", "choices", "answer");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    Reading reading = read(row);
    Map<String, Long> counts = new LinkedHashMap<>();
    for (String group :
        List.of(
            "all",
            "type/" + row.text("type"),
            "task/" + row.text("task"),
            "source/" + row.text("source"))) {
      counts.put("rows/" + group, 1L);
      counts.put("right/" + group, reading.right() ? 1L : 0L);
    }
    return new RowScore(
        row.id(),
        reading.parsed().isEmpty() ? null : reading.parsed(),
        reading.right() ? 1 : 0,
        counts,
        null);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    double flat = (accuracy(tally, "source/ADE20K") + accuracy(tally, "source/COCO")) / 2;
    double deep = accuracy(tally, "source/Omni3D");
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("source_mean", twoAndThree(flat, deep, (flat + deep) / 2));
    summary.put(
        "pooled",
        twoAndThree(
            accuracy(tally, "type/2D"), accuracy(tally, "type/3D"), accuracy(tally, "all")));
    summary.put("sources", each(tally, "source/"));
    summary.put("tasks", each(tally, "task/"));
    return summary;
  }

  private static Map<String, Double> twoAndThree(double flat, double deep, double both) {
    Map<String, Double> accuracies = new LinkedHashMap<>();
    accuracies.put("overall", both);
    accuracies.put("2d", flat);
    accuracies.put("3d", deep);
    return accuracies;
  }

  private static Map<String, Object> each(Tally tally, String column) {
    Map<String, Object> each = new LinkedHashMap<>();
    tally
        .under("rows/" + column)
        .forEach(
            (value, rows) -> {
              Map<String, Object> described = new LinkedHashMap<>();
              described.put("accuracy", accuracy(tally, column + value));
              described.put("rows", rows);
              each.put(value, described);
            });
    return each;
  }

  private static double accuracy(Tally tally, String group) {
    return tally.share("right/" + group, "rows/" + group);
  }
}
