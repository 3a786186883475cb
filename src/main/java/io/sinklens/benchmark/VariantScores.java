package io.sinklens.benchmark;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The scored rows of one variant, summed by image. Images of which rows are judged together are one
 * cluster. For one thread.
 */
public final class VariantScores {
  private final Scorer scorer;
  private final Map<String, Double> scores = new HashMap<>(); // By row.
  private final Map<String, Tally> images = new HashMap<>();
  private final Map<String, String> linked = new HashMap<>(); // To an image of the same cluster.
  private boolean binary = true;

  public VariantScores(Scorer scorer) {
    this.scorer = scorer;
  }

  /**
   * A scored row and its image.
   *
   * @param image names it
   * @param score the row's
   */
  public record ImageRow(String image, RowScore score) {}

  /**
   * Adds rows that are judged together: all of a pair, or one row that stands alone.
   *
   * @param rows in the order of their ids
   */
  public void add(List<ImageRow> rows) {
    String image = rows.get(0).image();
    for (ImageRow row : rows) {
      RowScore score = row.score();
      if (scores.put(score.id(), score.score()) != null) {
        throw new IllegalArgumentException("Row %s has been scored twice".formatted(score.id()));
      }
      binary &= score.score() == 0 || score.score() == 1;
      sums(row.image()).add(score.counts());
      link(row.image(), image);
    }
    if (rows.get(0).score().pair() != null) {
      sums(image).add(scorer.scorePair(rows.stream().map(ImageRow::score).toList()));
    }
  }

  private Tally sums(String image) {
    return images.computeIfAbsent(image, name -> new Tally());
  }

  private void link(String one, String other) {
    String rootOfOne = cluster(one);
    String rootOfOther = cluster(other);
    if (!rootOfOne.equals(rootOfOther)) {
      // To the lesser name, so that both variants call a cluster the same.
      boolean less = rootOfOne.compareTo(rootOfOther) < 0;
      linked.put(less ? rootOfOther : rootOfOne, less ? rootOfOne : rootOfOther);
    }
  }

  private String cluster(String image) {
    String root = image;
    for (String next = linked.get(root); next != null; next = linked.get(root)) {
      root = next;
    }
    if (!root.equals(image)) {
      linked.put(image, root); // The next look is shorter.
    }
    return root;
  }

  /** Sums by cluster, in the order of their names. */
  SortedMap<String, Tally> clusters() {
    SortedMap<String, Tally> clusters = new TreeMap<>();
    images.forEach(
        (image, sums) -> clusters.computeIfAbsent(cluster(image), name -> new Tally()).add(sums));
    return clusters;
  }

  /** Rows. */
  public int rows() {
    return scores.size();
  }

  /** What is said of all rows. */
  Map<String, Double> numbers() {
    Tally all = new Tally();
    images.values().forEach(all::add);
    return SummaryNumbers.of(scorer.summary(all));
  }

  Scorer scorer() {
    return scorer;
  }

  /** Whether every row is either right or wrong. */
  boolean isBinary() {
    return binary && scorer.scoresWhatIsRight();
  }

  /**
   * Who got which row right.
   *
   * @throws IllegalArgumentException if the variants have not scored the same rows
   */
  PairedCounts pairedWith(VariantScores other) {
    requireSameRows(other);
    PairedCounts counts = PairedCounts.NONE;
    for (Map.Entry<String, Double> row : scores.entrySet()) {
      double theirs = requireNonNull(other.scores.get(row.getKey()));
      counts = counts.plus(PairedCounts.of(row.getValue() == 1, theirs == 1));
    }
    return counts;
  }

  void requireSameRows(VariantScores other) {
    if (!scores.keySet().equals(other.scores.keySet())) {
      List<String> lonely = new ArrayList<>(new TreeMap<>(scores).keySet());
      lonely.removeAll(other.scores.keySet());
      throw new IllegalArgumentException(
          "Cannot compare variants that have not answered the same rows%s"
              .formatted(lonely.isEmpty() ? "" : ": only one has row " + lonely.get(0)));
    }
  }
}
