package io.sinklens.benchmark;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How answers to yes-or-no questions are read: {@code yes}, {@code no} or {@code other}. */
final class YesNo {
  static final String YES = "yes";
  static final String NO = "no";
  static final String OTHER = "other";

  private static final String MARKS = ";/[]\"{}()=+\\_-><@`,?!";
  private static final Pattern COMMA_IN_NUMBER = Pattern.compile("\\p{Nd},\\p{Nd}");
  private static final Pattern DOT_OUTSIDE_NUMBERS = Pattern.compile("(?<!\\p{Nd})\\.(?!\\p{Nd})");
  private static final int MOST_DOTS = 32;

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

  /** What the first four characters of a text in lower case hold; yes goes first. */
  static String inFirstFour(String text) {
    String start = PythonText.prefix(text, 4);
    return start.contains(YES) ? YES : start.contains(NO) ? NO : OTHER;
  }

  /** Which of the two words a text has between punctuation; both are as good as neither. */
  static String amongWords(String text) {
    List<String> words = PythonText.split(withoutPunctuation(PythonText.lower(text)));
    boolean yes = words.contains(YES);
    return yes == words.contains(NO) ? OTHER : yes ? YES : NO;
  }

  /**
   * VLMEvalKit's variant of the VQA punctuation rule. A mark that stands at a blank anywhere is
   * deleted, any other becomes a blank; dots are deleted unless at a digit, and at most 32 of them,
   * since the original passes a flag where a count is expected.
   */
  private static String withoutPunctuation(String text) {
    boolean commaInNumber = COMMA_IN_NUMBER.matcher(text).find();
    String cleaned = text;
    for (int i = 0; i < MARKS.length(); i++) {
      String mark = MARKS.substring(i, i + 1);
      boolean atBlank = text.contains(mark + " ") || text.contains(" " + mark);
      cleaned = cleaned.replace(mark, atBlank || commaInNumber ? "" : " ");
    }
    Matcher dot = DOT_OUTSIDE_NUMBERS.matcher(cleaned);
    StringBuilder withoutDots = new StringBuilder();
    for (int i = 0; i < MOST_DOTS && dot.find(); i++) {
      dot.appendReplacement(withoutDots, "");
    }
    return dot.appendTail(withoutDots).toString();
  }
}
