package io.sinklens.benchmark;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** How answers to yes-or-no questions are read. */
final class YesNo {
  static final String YES = "yes";
  static final String NO = "no";

  private YesNo() {}

  /**
   * The reference answer of a row, whatever its case.
   *
   * @throws UnscorableRowException if it is neither yes nor no
   */
  static String truth(BenchmarkRow row) {
    String truth = PythonText.strip(PythonText.lower(row.text("answer")));
    if (!truth.equals(YES) && !truth.equals(NO)) {
      throw new UnscorableRowException(
          "Row %s: answer must be yes or no, not %s".formatted(row.id(), truth));
    }
    return truth;
  }

  /**
   * Which of the two words the first four characters of a text in lower case hold, null if none;
   * yes goes first.
   */
  static @Nullable String inFirstFour(String text) {
    String start = PythonText.prefix(text, 4);
    return start.contains(YES) ? YES : start.contains(NO) ? NO : null;
  }

  /** Which of the two words an answer has among others, in VLMEvalKit; null if none or both. */
  static @Nullable String amongWords(String text) {
    String normalised = VqaText.VLMEVALKIT.normalised(PythonText.lower(text));
    List<String> words = PythonText.split(normalised);
    boolean yes = words.contains(YES);
    return yes == words.contains(NO) ? null : yes ? YES : NO;
  }
}
