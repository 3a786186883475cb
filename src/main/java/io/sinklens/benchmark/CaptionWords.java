package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The words of a caption, in lower case, as {@code nltk.word_tokenize} of NLTK 3.9 cuts them: into
 * sentences, of which only the last dot is cut off, and then by the rules of the Penn Treebank.
 *
 * <p>Abbreviations are not looked for, since none that NLTK knows is a word of CHAIR, and what
 * becomes of the dot behind other words makes no difference to it. The same goes for contractions
 * such as {@code gonna}.
 */
final class CaptionWords {
  /** A mark that may end a sentence: before a blank and more text, or before another mark. */
  private static final Pattern SENTENCE_END =
      PythonText.pattern("[.?!](?=[)\";}\\]*:@'({\\[!?]|\\s+(?!\\s)(?s:.))");

  private static final Pattern BLANK = Pattern.compile("[\\t-\\r ]");

  /** In this order; a replacement is where the parts go that the pattern has found. */
  private static final List<Rule> RULES =
      List.of(
          new Rule("[«“‘„]|`+", " $0 "),
          new Rule("([^.])\\.([\\])}>\"'»”’ ]*)\\s*\\z", "$1 . $2 "),
          new Rule("([:,])(\\P{Nd})", " $1 $2"),
          new Rule("[:,]\\z", " $0 "),
          new Rule("\\.{2,}|[;@#$%&?!]", " $0 "),
          new Rule("([^'])' ", "$1 ' "),
          new Rule("[*\\]\\[(){}<>]|--", " $0 "),
          new Rule("[»”’\"]|''", " $0 "),
          new Rule("\\s+|\\z", " "),
          new Rule("([^' ])('[smd]|') ", "$1 $2 "),
          new Rule("([^' ])('ll|'re|'ve|n't) ", "$1 $2 "));

  private record Rule(Pattern pattern, String replacement) {
    Rule(String regex, String replacement) {
      this(PythonText.pattern(regex), replacement);
    }
  }

  private CaptionWords() {}

  /** The words, marks among them. */
  static List<String> of(String caption) {
    List<String> words = new ArrayList<>();
    for (String sentence : sentences(PythonText.lower(caption))) {
      String text = sentence;
      for (Rule rule : RULES) {
        text = rule.pattern().matcher(text).replaceAll(rule.replacement());
      }
      words.addAll(PythonText.split(text));
    }
    return words;
  }

  /** Of several ends between two blanks only the last counts. */
  private static List<String> sentences(String text) {
    List<String> sentences = new ArrayList<>();
    int start = 0;
    int end = -1;
    Matcher mark = SENTENCE_END.matcher(text);
    while (mark.find()) {
      if (end >= 0 && BLANK.matcher(text.substring(end, mark.start())).find()) {
        sentences.add(text.substring(start, end));
        start = end;
      }
      end = mark.end();
    }
    if (end >= 0) {
      sentences.add(text.substring(start, end));
      start = end;
    }
    sentences.add(text.substring(start));
    return sentences.stream().map(PythonText::strip).toList();
  }
}
