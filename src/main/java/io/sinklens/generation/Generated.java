package io.sinklens.generation;

import java.util.List;

/**
 * What the model answered to one prompt.
 *
 * @param tokenIds the answer, its stop token included
 * @param logprob sum of the natural-log probabilities of {@code tokenIds}
 * @param finish why it ended
 * @param topLogprobs for every answer token the most probable tokens in falling order, empty unless
 *     asked for
 * @param choiceProbabilities probabilities of the asked-for tokens as first answer token
 */
public record Generated(
    List<Integer> tokenIds,
    double logprob,
    Finish finish,
    List<List<TokenLogprob>> topLogprobs,
    List<Double> choiceProbabilities) {

  public Generated {
    tokenIds = List.copyOf(tokenIds);
    topLogprobs = List.copyOf(topLogprobs);
    choiceProbabilities = List.copyOf(choiceProbabilities);
  }

  /** Why generation ended. */
  public enum Finish {
    /** The model gave a stop token. */
    STOP,
    /** The answer reached its longest permitted length. */
    LENGTH,
    /** The model gave logits that are not finite; the answer so far is worth nothing. */
    NUMERIC_FAILURE
  }

  /**
   * A token and how probable it was.
   *
   * @param tokenId the token
   * @param logprob its natural-log probability
   */
  public record TokenLogprob(int tokenId, double logprob) {}
}
