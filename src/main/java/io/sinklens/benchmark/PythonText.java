package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * What Python's text methods do, which the published scorers are written with.
 *
 * <p>White space is Unicode's, without the zero-width space. It is neither what {@code strip} nor
 * what {@code trim} takes for it in Java.
 */
final class PythonText {
  private static final String SPACES =
      "[\\x09-\\x0D\\x1C-\\x20\\x85\\xA0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000]";

  private PythonText() {}

  /** {@code str.isspace} of one character. */
  static boolean isSpace(int character) {
    return (character >= 0x09 && character <= 0x0D)
        || (character >= 0x1C && character <= 0x20)
        || character == 0x85
        || character == 0xA0
        || character == 0x1680
        || (character >= 0x2000 && character <= 0x200A)
        || character == 0x2028
        || character == 0x2029
        || character == 0x202F
        || character == 0x205F
        || character == 0x3000;
  }

  /** {@code str.strip()}. */
  static String strip(String text) {
    int start = 0;
    int end = text.length();
    while (start < end && isSpace(text.charAt(start))) {
      start++;
    }
    while (end > start && isSpace(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(start, end);
  }

  /** {@code str.split()}: words between white space, none of them empty. */
  static List<String> split(String text) {
    List<String> words = new ArrayList<>();
    int start = 0;
    for (int i = 0; i <= text.length(); i++) {
      if (i == text.length() || isSpace(text.charAt(i))) {
        if (i > start) {
          words.add(text.substring(start, i));
        }
        start = i + 1;
      }
    }
    return words;
  }

  /** {@code str.split(separator)}: empty parts are kept. */
  static List<String> split(String text, char separator) {
    List<String> parts = new ArrayList<>();
    int start = 0;
    for (int at = text.indexOf(separator); at >= 0; at = text.indexOf(separator, start)) {
      parts.add(text.substring(start, at));
      start = at + 1;
    }
    parts.add(text.substring(start));
    return parts;
  }

  /** {@code str.lower()}. */
  static String lower(String text) {
    return text.toLowerCase(Locale.ROOT);
  }

  /** {@code str.rstrip(characters)}. */
  static String stripEnd(String text, String characters) {
    int end = text.length();
    while (end > 0 && characters.indexOf(text.charAt(end - 1)) >= 0) {
      end--;
    }
    return text.substring(0, end);
  }

  /** {@code str.lstrip(characters)}. */
  static String stripStart(String text, String characters) {
    int start = 0;
    while (start < text.length() && characters.indexOf(text.charAt(start)) >= 0) {
      start++;
    }
    return text.substring(start);
  }

  /** {@code text[:length]}: characters beyond 16 bits count once. */
  static String prefix(String text, int length) {
    return text.codePointCount(0, text.length()) <= length
        ? text
        : text.substring(0, text.offsetByCodePoints(0, length));
  }

  /** A pattern in which case makes no difference, and {@code \s} is Python's. */
  static Pattern pattern(String regex) {
    return Pattern.compile(
        regex.replace("\\s", SPACES), Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE);
  }

  /** Deletes the 32 characters of {@code string.punctuation}: ASCII that is no letter or digit. */
  static String withoutPunctuation(String text) {
    return text.replaceAll("\\p{Punct}", "");
  }
}
