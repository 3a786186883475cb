package io.sinklens.benchmark;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * CHAIR: how many of the objects that captions name are not in the image. A row's own score is the
 * number of such mentions. A missing prediction is an empty caption.
 *
 * <p>There are two variants, which differ in how they find the singular: {@code a} as the authors'
 * script does with Pattern, {@code b} as OPERA and lmms-eval do with WordNet. Variant b is close to
 * them, not equal: they tag words in their sentences, and here each word has one reading.
 *
 * <p>Source: {@code chair.py} of CHAIR-metric-standalone, 2023; OPERA of 2024 and lmms-eval of
 * 2026.
 */
public final class Chair implements Scorer {
  private static final long serialVersionUID = 1;

  private final ChairVocabulary vocabulary;

  private Chair(ChairVocabulary vocabulary) {
    this.vocabulary = vocabulary;
  }

  /** CHAIR with the words of COCO's 80 categories. */
  static Benchmark benchmark() {
    return of(
        ChairVocabulary.published(ChairVocabulary.Forms.PATTERN),
        ChairVocabulary.published(ChairVocabulary.Forms.WORDNET));
  }

  /**
   * CHAIR with other words for objects.
   *
   * @param lines one category a line, its words divided by a comma and a blank, the first of them
   *     its name: the format of the published {@code synonyms.txt}
   * @throws IllegalArgumentException if the lines hold no word
   */
  public static Benchmark withSynonyms(List<String> lines) {
    return of(
        ChairVocabulary.published(ChairVocabulary.Forms.PATTERN).withSynonyms(lines),
        ChairVocabulary.published(ChairVocabulary.Forms.WORDNET).withSynonyms(lines));
  }

  private static Benchmark of(ChairVocabulary a, ChairVocabulary b) {
    Map<String, Scorer> modes = new LinkedHashMap<>();
    modes.put("a", new Chair(a));
    modes.put("b", new Chair(b));
    return new Benchmark("chair", List.of("question_id"), "a", modes);
  }

  @Override
  public List<String> columns() {
    return List.of("gt_object");
  }

  @Override
  public boolean scoresWhatIsRight() {
    return false;
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    Set<String> objects = Set.copyOf(new HashSet<>(row.texts("gt_object")));
    List<String> named = vocabulary.namedIn(row.predictionOrEmpty());
    long hallucinated = named.stream().filter(object -> !objects.contains(object)).count();
    long found = named.stream().distinct().filter(objects::contains).count();
    return new RowScore(
        row.id(),
        row.prediction() == null ? null : String.join(", ", named),
        (double) hallucinated,
        Map.of(
            "captions",
            1L,
            "hallucinated captions",
            hallucinated > 0 ? 1L : 0L,
            "mentions",
            (long) named.size(),
            "hallucinated mentions",
            hallucinated,
            "objects",
            (long) objects.size(),
            "found objects",
            found),
        null);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("chair_i", tally.share("hallucinated mentions", "mentions"));
    summary.put("chair_s", tally.share("hallucinated captions", "captions"));
    summary.put("recall", tally.share("found objects", "objects"));
    summary.put("captions", tally.of("captions"));
    summary.put("mentions", tally.of("mentions"));
    return summary;
  }
}
