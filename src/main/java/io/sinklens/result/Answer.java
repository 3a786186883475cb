package io.sinklens.result;

import java.util.List;
import java.util.Map;

/**
 * What the model said.
 *
 * @param text without special tokens and outer white space
 * @param tokenIds the stop token included
 * @param logprob sum of natural-log probabilities of {@code tokenIds}, after the hook
 * @param finishReason why it ended
 * @param topLogprobs the most probable tokens for every answer token, empty unless asked for
 * @param choiceProbabilities by answer choice, the probability of its first token as first answer
 *     token; empty unless asked for
 */
public record Answer(
    String text,
    List<Integer> tokenIds,
    double logprob,
    FinishReason finishReason,
    List<List<TokenLogprob>> topLogprobs,
    Map<String, Double> choiceProbabilities) {

  public Answer {
    tokenIds = List.copyOf(tokenIds);
    topLogprobs = List.copyOf(topLogprobs);
    choiceProbabilities = Map.copyOf(choiceProbabilities);
  }

  /** Why an answer ended; stored in lower case. */
  public enum FinishReason {
    /** A stop token. */
    STOP,
    /** The longest permitted length. */
    LENGTH
  }

  /**
   * A token and how probable it was.
   *
   * @param tokenId the token
   * @param logprob its natural-log probability
   */
  public record TokenLogprob(int tokenId, double logprob) {}
}
