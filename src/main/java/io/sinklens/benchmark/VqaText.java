package io.sinklens.benchmark;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How scorers of visual question answering compare answers: in lower case, without punctuation and
 * articles, number words as digits, contractions with their apostrophe. There are several published
 * copies, which differ in small ways.
 *
 * <p>Source: {@code vqaEval.py} of VQA v2, 2021. Its oddities are kept: see {@link #normalised}.
 */
enum VqaText {
  /** The scorer of VQA v2. */
  OFFICIAL(Contractions.VQA, Patterns.ONE_COMMA, Patterns.DOT_BEFORE_NO_DIGIT),

  /** The same steps in the EvalAI processor, which knows several commas between digits, too. */
  EVAL_AI(Contractions.VQA, Patterns.COMMAS, Patterns.DOT_BEFORE_NO_DIGIT),

  /** The scorer of VizWiz: other apostrophes. */
  VIZWIZ(Contractions.VIZWIZ, Patterns.ONE_COMMA, Patterns.DOT_BEFORE_NO_DIGIT),

  /** VLMEvalKit's: a dot goes only where no digit stands on either side. */
  VLMEVALKIT(Contractions.VQA, Patterns.ONE_COMMA, Patterns.DOT_WITHOUT_DIGITS);

  /** In this order. Apostrophe, colon, dot and {@code & % $ # *} are not among them. */
  private static final String MARKS = ";/[]\"{}()=+\\_-><@`,?!";

  private static final Map<String, String> NUMBERS =
      Map.ofEntries(
          Map.entry("none", "0"),
          Map.entry("zero", "0"),
          Map.entry("one", "1"),
          Map.entry("two", "2"),
          Map.entry("three", "3"),
          Map.entry("four", "4"),
          Map.entry("five", "5"),
          Map.entry("six", "6"),
          Map.entry("seven", "7"),
          Map.entry("eight", "8"),
          Map.entry("nine", "9"),
          Map.entry("ten", "10"));

  private static final Set<String> ARTICLES = Set.of("a", "an", "the");

  /** The scripts pass a flag of this value where the greatest number of replacements belongs. */
  private static final int DOTS_REMOVED = 32;

  private final Contractions contractions;
  private final Pattern commaBetweenDigits;
  private final Pattern dot;

  VqaText(Contractions contractions, Pattern commaBetweenDigits, Pattern dot) {
    this.contractions = contractions;
    this.commaBetweenDigits = commaBetweenDigits;
    this.dot = dot;
  }

  /** Line breaks and tabs become blanks, then outer white space goes. */
  static String clean(String answer) {
    return PythonText.strip(answer.replace('\n', ' ').replace('\t', ' '));
  }

  /**
   * The EvalAI processor, which LLaVA sends its answers through: lower case, no commas and question
   * marks, {@code 's} apart, then {@link #clean} and {@link #normalised}.
   */
  static String evalAi(String answer) {
    String tokens = PythonText.lower(answer).replace(",", "").replace("?", "").replace("'s", " 's");
    return EVAL_AI.normalised(clean(tokens));
  }

  /**
   * A clean answer as it is compared.
   *
   * <p>A mark goes without a trace if a blank stands beside one of its kind, or if a comma stands
   * between digits anywhere; else a blank takes its place. At most 32 dots go. Only what the
   * articles leave is looked up among the contractions, and keys with capitals never match.
   */
  String normalised(String clean) {
    return words(withoutDots(withoutMarks(clean)));
  }

  private String withoutMarks(String clean) {
    boolean hasComma = commaBetweenDigits.matcher(clean).find();
    String text = clean;
    for (int i = 0; i < MARKS.length(); i++) {
      String mark = MARKS.substring(i, i + 1);
      boolean gone = hasComma || clean.contains(mark + " ") || clean.contains(" " + mark);
      text = text.replace(mark, gone ? "" : " ");
    }
    return text;
  }

  private String withoutDots(String text) {
    Matcher found = dot.matcher(text);
    StringBuilder rest = new StringBuilder();
    for (int removed = 0; removed < DOTS_REMOVED && found.find(); removed++) {
      found.appendReplacement(rest, "");
    }
    return found.appendTail(rest).toString();
  }

  private String words(String text) {
    List<String> words = new ArrayList<>();
    for (String word : PythonText.split(PythonText.lower(text))) {
      String number = NUMBERS.getOrDefault(word, word);
      if (!ARTICLES.contains(number)) {
        words.add(contractions.of(number));
      }
    }
    return String.join(" ", words);
  }

  /** Digits are those of any script. */
  private static final class Patterns {
    static final Pattern ONE_COMMA = Pattern.compile("\\p{Nd},\\p{Nd}");
    static final Pattern COMMAS = Pattern.compile("\\p{Nd},+\\p{Nd}");
    static final Pattern DOT_BEFORE_NO_DIGIT = Pattern.compile("\\.(?!\\p{Nd})");
    static final Pattern DOT_WITHOUT_DIGITS = Pattern.compile("(?<!\\p{Nd})\\.(?!\\p{Nd})");
  }
}
