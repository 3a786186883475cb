package io.sinklens.benchmark;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * ScienceQA's questions with an image ({@code ScienceQA-IMG}): every row is one of them.
 *
 * <p>Source: {@code eval_science_qa.py} of LLaVA, 2024; lmms-eval and Cambrian of 2026 and 2024.
 */
enum ScienceQa implements Scorer {
  /**
   * A letter from A to E: the whole text, or before {@code ". "} at its start, or in the only
   * {@code The answer is X} that one more character follows. Case counts, and a letter without a
   * choice is wrong. A missing prediction is wrong, and counts as a question without an image,
   * since the script looks for the image in the prompt stored with the answer.
   */
  LLAVA,

  /**
   * The letter in either case, or a capital letter before a dot at the start. A missing prediction
   * is empty, hence wrong.
   */
  LMMS_EVAL,

  /**
   * What follows the last {@code answer is} or {@code answer:}, in lower case: the letter up to the
   * first dot, or the text of the choice. A row without a prediction is left out. The script counts
   * a row with an image twice in its overall accuracy, which changes nothing where all rows have
   * one.
   */
  CAMBRIAN;

  private static final String ALL = "all";
  private static final String IMAGES = "images";
  private static final String GRADES = "grades";
  private static final List<String> OPTIONS = List.of("A", "B", "C", "D", "E");
  private static final Pattern SENTENCE = Pattern.compile("The answer is ([A-Z])[^\n]");

  @Override
  public List<String> columns() {
    return this == CAMBRIAN ? List.of("choices", "answer", "grade") : List.of("choices", "answer");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    return switch (this) {
      case LLAVA -> llava(row);
      case LMMS_EVAL -> lmmsEval(row);
      case CAMBRIAN ->
          row.prediction() == null ? RowScore.leftOut(row) : cambrian(row, row.prediction());
    };
  }

  private static RowScore llava(BenchmarkRow row) {
    List<String> choices = row.texts("choices");
    int answer = answer(row, Math.min(choices.size(), OPTIONS.size()));
    String letter = row.prediction() == null ? null : llavaLetter(row.prediction());
    long hit = OPTIONS.get(answer).equals(letter) ? 1 : 0;
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, ALL, hit);
    if (row.prediction() != null) {
      Means.count(counts, IMAGES, hit);
    }
    return new RowScore(row.id(), letter, (double) hit, counts, null);
  }

  private static @Nullable String llavaLetter(String text) {
    if (OPTIONS.contains(text)) {
      return text;
    }
    if (text.startsWith(". ", 1) && OPTIONS.contains(text.substring(0, 1))) {
      return text.substring(0, 1);
    }
    Matcher sentence = SENTENCE.matcher(text);
    String letter = sentence.find() ? sentence.group(1) : null;
    return sentence.find() ? null : letter;
  }

  private static RowScore lmmsEval(BenchmarkRow row) {
    String letter = letter(answer(row, row.texts("choices").size()));
    String text = PythonText.strip(row.predictionOrEmpty());
    boolean beforeDot = text.startsWith(".", 1) && Character.isUpperCase(text.charAt(0));
    String parsed = PythonText.lower(beforeDot ? text.substring(0, 1) : text);
    Map<String, Long> counts = new HashMap<>();
    long hit = letter.equals(parsed) ? 1 : 0;
    Means.count(counts, ALL, hit);
    return new RowScore(
        row.id(), row.prediction() == null ? null : parsed, (double) hit, counts, null);
  }

  private static RowScore cambrian(BenchmarkRow row, String prediction) {
    List<String> choices = row.texts("choices");
    int answer = answer(row, choices.size());
    String text = PythonText.strip(PythonText.lower(prediction));
    for (String before : List.of("answer is", "answer is:", "answer:")) {
      int last = text.lastIndexOf(before);
      text = last < 0 ? text : text.substring(last + before.length());
    }
    text = PythonText.stripEnd(PythonText.strip(text), ".");
    boolean right =
        PythonText.split(text, '.').get(0).equals(letter(answer))
            || sentence(text).equals(sentence(choices.get(answer)));
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, ALL, right ? 1 : 0);
    Means.count(counts, GRADES, row.text("grade"), right ? 1 : 0);
    return new RowScore(row.id(), text, right ? 1 : 0, counts, null);
  }

  private static String sentence(String text) {
    return PythonText.strip(PythonText.lower(PythonText.withoutPunctuation(text)));
  }

  private static String letter(int choice) {
    return Character.toString('a' + choice);
  }

  private static int answer(BenchmarkRow row, int choices) {
    String answer = row.text("answer");
    if (!answer.matches("[0-9]{1,3}") || Integer.parseInt(answer) >= choices) {
      throw new UnscorableRowException(
          "Row %s: column answer must be the place of one of %d choices, from 0, not %s"
              .formatted(row.id(), choices, answer));
    }
    return Integer.parseInt(answer);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", Means.OF_HITS.of(tally, ALL));
    summary.put("rows", Means.rows(tally, ALL));
    if (this == LLAVA) {
      summary.put("img_accuracy", Means.OF_HITS.of(tally, IMAGES));
      summary.put("img_rows", Means.rows(tally, IMAGES));
    }
    if (this == CAMBRIAN) {
      summary.put(GRADES, Means.OF_HITS.table(tally, GRADES));
    }
    return summary;
  }
}
