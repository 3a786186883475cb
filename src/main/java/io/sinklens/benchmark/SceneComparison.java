package io.sinklens.benchmark;

import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome.Answered;
import java.util.Collections;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Two variants on the questions about rendered scenes: who was right, by kind of question, and what
 * captions named. Questions that either could not answer are left out. For one thread.
 */
public final class SceneComparison {
  private static final String CAPTION = "caption";

  private final SortedMap<String, PairedCounts> kinds = new TreeMap<>();
  private Mentions firstMentions = Mentions.NONE;
  private Mentions secondMentions = Mentions.NONE;
  private long changed;

  /**
   * Counts one question.
   *
   * @param kind such as {@code caption} or {@code colour}
   * @param first under the first variant
   * @param second the same question under the second
   */
  public void add(String kind, Annotation first, Annotation second) {
    if (!first.sampleId().equals(second.sampleId())) {
      throw new IllegalArgumentException(
          "Cannot compare answers to different questions: %s and %s"
              .formatted(first.sampleId(), second.sampleId()));
    }
    if (!(first.outcome() instanceof Answered one) || !(second.outcome() instanceof Answered two)) {
      return;
    }
    String firstText = one.answer().text();
    String secondText = two.answer().text();
    kinds.merge(
        kind,
        PairedCounts.of(
            ExactMatch.isRight(firstText, first.answers()),
            ExactMatch.isRight(secondText, second.answers())),
        PairedCounts::plus);
    if (kind.equals(CAPTION)) {
      String reference = String.join(" ", first.answers());
      firstMentions = firstMentions.plus(Mentions.of(firstText, reference));
      secondMentions = secondMentions.plus(Mentions.of(secondText, reference));
    }
    changed += firstText.equals(secondText) ? 0 : 1;
  }

  /** Counts by kind of question. */
  public SortedMap<String, PairedCounts> kinds() {
    return Collections.unmodifiableSortedMap(kinds);
  }

  /** Counts over all kinds. */
  public PairedCounts all() {
    return kinds.values().stream().reduce(PairedCounts.NONE, PairedCounts::plus);
  }

  /** What the first variant's captions name. */
  public Mentions firstMentions() {
    return firstMentions;
  }

  /** What the second variant's captions name. */
  public Mentions secondMentions() {
    return secondMentions;
  }

  /** Questions that the two answered in different words. */
  public long changed() {
    return changed;
  }
}
