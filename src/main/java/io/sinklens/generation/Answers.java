package io.sinklens.generation;

import java.util.List;

/**
 * A request's answers.
 *
 * @param byGroup for every group one answer a row, in order
 * @param watch what looked on, to be closed by whoever takes the answers
 */
public record Answers(List<List<Generated>> byGroup, Watch watch) {
  public Answers {
    byGroup = byGroup.stream().map(List::copyOf).toList();
  }
}
