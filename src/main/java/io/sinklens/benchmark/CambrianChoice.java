package io.sinklens.benchmark;

import java.util.List;

/** How Cambrian's scripts cut an answer to a question with lettered options. */
final class CambrianChoice {
  private static final List<String> KEYWORDS = List.of("answer is", "answer is:", "answer:");

  private CambrianChoice() {}

  /**
   * What follows the last keyword, in lower case, without its brackets. The keywords go one after
   * the other, so a colon behind "answer is" stays and the answer with it is not read.
   *
   * @param lastMarks marks to be dropped from the end
   */
  static String read(String prediction, String lastMarks) {
    String text = PythonText.strip(PythonText.lower(prediction));
    for (String keyword : KEYWORDS) {
      int at = text.lastIndexOf(keyword);
      text = at < 0 ? text : text.substring(at + keyword.length());
    }
    text = PythonText.stripEnd(PythonText.strip(text), lastMarks);
    return PythonText.stripEnd(PythonText.stripStart(text, "("), ")");
  }

  /**
   * The letter of an answer such as {@code (A)}, in lower case.
   *
   * @throws UnscorableRowException if the answer is not written so
   */
  static String letter(BenchmarkRow row, String column) {
    String answer = PythonText.lower(row.text(column));
    if (answer.length() < 2) {
      throw new UnscorableRowException(
          "Row %s: %s must be a letter in brackets, not %s".formatted(row.id(), column, answer));
    }
    return answer.substring(1, 2);
  }

  /**
   * The option that a letter stands for.
   *
   * @throws UnscorableRowException if there is none
   */
  static String option(BenchmarkRow row, String letter, List<String> options) {
    int at = letter.charAt(0) - 'a';
    if (at < 0 || at >= options.size()) {
      throw new UnscorableRowException(
          "Row %s: answer %s must be one of %d options"
              .formatted(row.id(), letter, options.size()));
    }
    return options.get(at);
  }
}
