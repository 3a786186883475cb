package io.sinklens.benchmark;

import java.util.HashSet;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What captions of rendered scenes name: colour and shape together are one object, and an object
 * that a caption names twice, or in the plural, counts once.
 *
 * <p>Source of the measure: CHAIR_i in "Object Hallucination in Image Captioning", EMNLP 2018.
 *
 * @param all objects named, 0 or more
 * @param hallucinated those of them that the reference caption does not name
 */
public record Mentions(long all, long hallucinated) {
  /** No captions. */
  public static final Mentions NONE = new Mentions(0, 0);

  /** The words of {@code scenes.py}. */
  private static final Pattern OBJECT =
      Pattern.compile(
          "\\b(red|green|blue|yellow|purple|orange|cyan|white)"
              + "\\s+(?:(circle|square|triangle|star|diamond)s?|(cross)(?:es)?)\\b");

  public Mentions {
    if (!(hallucinated >= 0 && hallucinated <= all)) {
      throw new IllegalArgumentException(
          "Hallucinated mentions must be in [0, %d], not %d".formatted(all, hallucinated));
    }
  }

  /** The mentions of one caption. */
  public static Mentions of(String caption, String reference) {
    Set<String> named = objects(caption);
    int all = named.size();
    named.removeAll(objects(reference));
    return new Mentions(all, named.size());
  }

  /** Both together. */
  public Mentions plus(Mentions other) {
    return new Mentions(all + other.all, hallucinated + other.hallucinated);
  }

  /** The objects that a caption names, each as colour and shape, such as {@code red circle}. */
  static Set<String> objects(String caption) {
    Set<String> objects = new HashSet<>();
    Matcher named = OBJECT.matcher(caption.toLowerCase(Locale.ROOT));
    while (named.find()) {
      objects.add(named.group(1) + " " + (named.group(2) != null ? named.group(2) : "cross"));
    }
    return objects;
  }
}
