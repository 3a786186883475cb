package io.sinklens.job;

import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.Outcome.Answered;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A question of the demo, asked twice.
 *
 * @param kind such as {@code caption} or {@code colour}
 * @param baseline the model as it is
 * @param var with VAR
 */
record DemoQuestion(String kind, Annotation baseline, Annotation var) {

  String id() {
    return var.sampleId();
  }

  /**
   * Chooses what to show: first a question that VAR answers differently, then questions with maps
   * and sinks, on images and of kinds that were not there yet; the first by id of equals.
   *
   * @param most how many at most
   * @return answered questions, by id
   */
  static List<DemoQuestion> choose(List<DemoQuestion> questions, int most) {
    List<DemoQuestion> left =
        new ArrayList<>(questions.stream().filter(DemoQuestion::isAnswered).toList());
    List<DemoQuestion> chosen = new ArrayList<>();
    Set<@Nullable String> images = new HashSet<>();
    Set<String> kinds = new HashSet<>();
    while (chosen.size() < most && !left.isEmpty()) {
      boolean wantsChange = chosen.isEmpty();
      // False comes before true.
      DemoQuestion best =
          left.stream()
              .min(
                  Comparator.<DemoQuestion, Boolean>comparing(
                          each -> wantsChange && !each.isChanged())
                      .thenComparing(each -> !each.hasMapsAndSinks())
                      .thenComparing(each -> images.contains(each.var.imageId()))
                      .thenComparing(each -> kinds.contains(each.kind))
                      .thenComparing(DemoQuestion::id))
              .orElseThrow();
      chosen.add(best);
      left.remove(best);
      images.add(best.var.imageId());
      kinds.add(best.kind);
    }
    chosen.sort(Comparator.comparing(DemoQuestion::id));
    return chosen;
  }

  private boolean isAnswered() {
    return baseline.outcome() instanceof Answered && var.outcome() instanceof Answered;
  }

  private boolean isChanged() {
    return baseline.outcome() instanceof Answered one
        && var.outcome() instanceof Answered two
        && !one.answer().text().equals(two.answer().text());
  }

  private boolean hasMapsAndSinks() {
    AttentionRecord attention =
        var.outcome() instanceof Answered answered ? answered.attention() : null;
    return attention != null
        && attention.maps() != null
        && attention.sinks().stream().anyMatch(layer -> !layer.imagePositions().isEmpty());
  }
}
