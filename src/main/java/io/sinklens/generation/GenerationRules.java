package io.sinklens.generation;

import java.util.List;
import java.util.Set;

/**
 * How answers are generated, greedily.
 *
 * @param maxNewTokens the longest answer, stop token included, above 0
 * @param minNewTokens tokens before which no stop token is chosen, from 0 to {@code maxNewTokens}
 * @param stopTokens tokens that end an answer
 * @param topLogprobs how many of the most probable tokens to report for each answer token, from 0
 * @param choiceTokens tokens whose probability as first answer token to report
 */
public record GenerationRules(
    int maxNewTokens,
    int minNewTokens,
    Set<Integer> stopTokens,
    int topLogprobs,
    List<Integer> choiceTokens) {

  public GenerationRules {
    if (maxNewTokens < 1) {
      throw new IllegalArgumentException("Max new tokens must be above 0, not " + maxNewTokens);
    }
    if (minNewTokens < 0 || minNewTokens > maxNewTokens) {
      throw new IllegalArgumentException(
          "Min new tokens must be from 0 to max new tokens %d, not %d"
              .formatted(maxNewTokens, minNewTokens));
    }
    if (topLogprobs < 0) {
      throw new IllegalArgumentException("Top logprobs must not be below 0, not " + topLogprobs);
    }
    stopTokens = Set.copyOf(stopTokens);
    choiceTokens = List.copyOf(choiceTokens);
  }
}
