package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * MMVP: pairs of images that look alike to CLIP, with a question of two options about both. A pair
 * counts when both answers are right; a row whose partner is missing counts for no pair.
 *
 * <p>Source: {@code gpt_grader.py} of MMVP, 2024; lmms-eval and Cambrian of 2026 and 2024.
 */
enum Mmvp implements Judged {
  /** A judge was asked whether the answer is right; only the word yes, alone, says so. */
  OFFICIAL,

  /** The letter that the first of six patterns finds. A missing prediction is empty. */
  LMMS_EVAL,

  /** The letter, or the text of its option. A missing prediction is empty. */
  CAMBRIAN;

  private static final String ANSWER = "Correct Answer";

  /** The fifth is bound by nothing on its left. */
  private static final List<Pattern> LETTERS =
      Stream.of(
              "^\\s*\\(?([AB])\\)?\\.?\\s*\\z",
              "^\\s*\\(?([AB])\\)?(?:\\.|\\s)",
              "answer\\s+is\\s+\\(?([AB])\\)?",
              "option\\s+\\(?([AB])\\)?",
              "\\(?([AB])\\)?(?:\\s|\\z)",
              "^([AB])")
          .map(PythonText::pattern)
          .toList();

  @Override
  public List<String> columns() {
    return switch (this) {
      case OFFICIAL -> List.of("Index", REPLY);
      case LMMS_EVAL -> List.of("Index", ANSWER);
      case CAMBRIAN -> List.of("Index", "Options", ANSWER);
    };
  }

  @Override
  public @Nullable JudgeRequest request(BenchmarkRow row) {
    if (this != OFFICIAL) {
      return null;
    }
    Map<String, String> fields = new LinkedHashMap<>();
    fields.put("question", row.text("Question") + " " + row.text("Options"));
    fields.put("correct_answer", row.text(ANSWER));
    fields.put("response", row.predictionOrEmpty());
    return new JudgeRequest(
        row.id(),
        "gpt-4-0314",
        0.2,
        null,
        "scripts/gpt_grader.py of tsb0601/MMVP",
        fields,
        "the word yes or the word no, alone");
  }

  private record Reading(@Nullable String parsed, boolean right) {}

  private Reading read(BenchmarkRow row) {
    return switch (this) {
      case OFFICIAL -> {
        String verdict = PythonText.lower(row.text(REPLY));
        boolean right = verdict.equals(YesNo.YES);
        yield new Reading(right || verdict.equals(YesNo.NO) ? verdict : null, right);
      }
      case LMMS_EVAL -> {
        String parsed = letter(PythonText.strip(row.predictionOrEmpty()));
        yield new Reading(parsed, truth(row).equals(parsed));
      }
      case CAMBRIAN -> {
        String truth = CambrianChoice.letter(row, ANSWER);
        String option = PythonText.lower(CambrianChoice.option(row, truth, options(row)));
        String parsed = CambrianChoice.read(row.predictionOrEmpty(), ".:,");
        boolean right = parsed.equals(truth) || parsed.equals(option);
        yield new Reading(parsed.isEmpty() ? null : parsed, right);
      }
    };
  }

  private static @Nullable String letter(String text) {
    return LETTERS.stream()
        .map(pattern -> pattern.matcher(text))
        .filter(Matcher::find)
        .map(matcher -> matcher.group(1).toUpperCase(Locale.ROOT))
        .findFirst()
        .orElse(null);
  }

  private static String truth(BenchmarkRow row) {
    String answer = PythonText.lower(PythonText.strip(row.text(ANSWER)));
    if (answer.contains("(a)") || answer.equals("a")) {
      return "A";
    }
    return answer.contains("(b)") || answer.equals("b") ? "B" : answer.toUpperCase(Locale.ROOT);
  }

  /** What follows each closing bracket, up to the next bracket. */
  private static List<String> options(BenchmarkRow row) {
    List<String> options = new ArrayList<>();
    List<String> parts = PythonText.split(row.text("Options"), '(');
    for (String part : parts.subList(1, parts.size())) {
      List<String> halves = PythonText.split(part, ')');
      if (halves.size() < 2) {
        throw new UnscorableRowException(
            "Row %s: Options must be such as (a) Open (b) Closed, not %s"
                .formatted(row.id(), row.text("Options")));
      }
      options.add(PythonText.strip(halves.get(1)));
    }
    return options;
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    Reading reading = read(row);
    return new RowScore(
        row.id(),
        reading.parsed(),
        reading.right() ? 1 : 0,
        Map.of("rows", 1L, "right", reading.right() ? 1L : 0L),
        "pair " + (index(row) + 1) / 2);
  }

  private static long index(BenchmarkRow row) {
    String index = row.text("Index");
    if (!index.matches("[1-9][0-9]{0,8}")) {
      throw new UnscorableRowException(
          "Row %s: Index must be a whole number from 1, not %s".formatted(row.id(), index));
    }
    return Long.parseLong(index);
  }

  /**
   * A row whose partner is missing counts for no pair.
   *
   * @throws UnscorableRowException if they are more than two
   */
  @Override
  public Map<String, Long> scorePair(List<RowScore> rows) {
    if (rows.size() > 2) {
      throw new UnscorableRowException(
          "MMVP must have 2 rows for %s, not %d".formatted(rows.get(0).pair(), rows.size()));
    }
    boolean right = rows.stream().allMatch(row -> row.score() == 1);
    return rows.size() < 2 ? Map.of() : Map.of("pairs", 1L, "right pairs", right ? 1L : 0L);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("pair_accuracy", tally.share("right pairs", "pairs"));
    summary.put("pairs", tally.of("pairs"));
    summary.put("accuracy", tally.share("right", "rows"));
    summary.put("rows", tally.of("rows"));
    return summary;
  }
}
