package io.sinklens.benchmark;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * The words that name objects.
 *
 * @param objects by word, or by a pair of words, the first word of its line: its category
 * @param pairs two words in sequence that are taken together, and as what
 * @param forms inflected words and what they are taken for; all others stay as they are
 */
record ChairVocabulary(
    Map<String, String> objects, Map<String, String> pairs, Map<String, String> forms)
    implements Serializable {
  ChairVocabulary {
    objects = Map.copyOf(objects);
    pairs = Map.copyOf(pairs);
    forms = Map.copyOf(forms);
  }

  /** How inflected words are taken for others. */
  enum Forms {
    /** As {@code pattern.en.singularize} does; any word is a noun. */
    PATTERN,

    /** As WordNet does once words are tagged; verbs name objects too. */
    WORDNET
  }

  /** The words of COCO's 80 categories. */
  static ChairVocabulary published(Forms forms) {
    Map<String, String> objects = new HashMap<>(inverted("objects.txt"));
    resource("objects.txt").forEach(line -> objects.put(before(line), before(line)));
    Map<String, String> pairs = new HashMap<>();
    resource("pairs.txt").forEach(line -> pairs.put(before(line), after(line)));
    return new ChairVocabulary(
        objects,
        pairs,
        inverted(
            switch (forms) {
              case PATTERN -> "forms-a.txt";
              case WORDNET -> "forms-b.txt";
            }));
  }

  /**
   * The same with other words, one category a line, in the format of the published {@code
   * synonyms.txt}. Regular plurals of words that are not in the published list are taken for them.
   * Of two words, only those in the published pairs are ever met.
   *
   * @throws IllegalArgumentException if the lines hold no word
   */
  ChairVocabulary withSynonyms(List<String> lines) {
    Map<String, String> given = new HashMap<>();
    Map<String, String> plurals = new HashMap<>();
    for (String line : lines) {
      List<String> words = List.of(PythonText.strip(line).split(", ", -1));
      for (String word : words) {
        given.put(word, words.get(0));
        if (!objects.containsKey(word)) {
          plurals.put(plural(word), word);
        }
      }
    }
    given.remove("");
    if (given.isEmpty()) {
      throw new IllegalArgumentException("The list of synonyms must hold words, not blank lines");
    }
    plurals.putAll(forms);
    return new ChairVocabulary(given, pairs, plurals);
  }

  private static String plural(String word) {
    if (word.matches(".*(s|x|z|ch|sh)")) {
      return word + "es";
    }
    return word.matches(".*[^aeiou]y") ? word.substring(0, word.length() - 1) + "ies" : word + "s";
  }

  /** The categories of what a caption names, in its order, as often as it names them. */
  List<String> namedIn(String caption) {
    List<String> words =
        CaptionWords.of(caption).stream().map(word -> forms.getOrDefault(word, word)).toList();
    List<String> joined = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      String pair = i + 1 < words.size() ? pairs.get(words.get(i) + " " + words.get(i + 1)) : null;
      joined.add(pair == null ? words.get(i) : pair);
      i += pair == null ? 0 : 1;
    }
    // A toilet's seat is no chair.
    boolean isToiletSeat = joined.contains("toilet");
    return joined.stream()
        .filter(word -> !(isToiletSeat && word.equals("seat")))
        .filter(objects::containsKey)
        .map(word -> Objects.requireNonNull(objects.get(word)))
        .toList();
  }

  /** By each word after the colon the one before it. */
  private static Map<String, String> inverted(String name) {
    Map<String, String> inverted = new HashMap<>();
    for (String line : resource(name)) {
      if (!after(line).isEmpty()) {
        List.of(after(line).split(", ", -1)).forEach(word -> inverted.put(word, before(line)));
      }
    }
    return inverted;
  }

  private static String before(String line) {
    return line.substring(0, line.indexOf(':'));
  }

  private static String after(String line) {
    return line.substring(line.indexOf(':') + 1).strip();
  }

  private static List<String> resource(String name) {
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(
                Objects.requireNonNull(
                    ChairVocabulary.class.getResourceAsStream("chair/" + name), name),
                StandardCharsets.UTF_8))) {
      return lines.lines().filter(line -> !line.startsWith("#")).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
