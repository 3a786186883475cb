package io.sinklens.generation;

import io.sinklens.generation.Generated.Finish;
import io.sinklens.generation.Generated.TokenLogprob;
import java.util.ArrayList;
import java.util.List;

/** One prompt and its answer so far. */
final class Row {
  private final int[] promptIds;
  private final GenerationRules rules;
  private final List<Integer> tokens = new ArrayList<>();
  private final List<List<TokenLogprob>> topLogprobs = new ArrayList<>();
  private List<Double> choiceProbabilities = List.of();
  private double logprob;
  private boolean failed;

  /** Takes a prompt's token ids after its image. */
  Row(int[] promptIds, GenerationRules rules) {
    this.promptIds = promptIds;
    this.rules = rules;
  }

  /**
   * Takes the next answer token.
   *
   * @param best token id, its log probability, and the smallest of all logits
   */
  void take(double[] best, List<TokenLogprob> top, List<Double> choices) {
    if (!Double.isFinite(best[1]) || !Double.isFinite(best[2])) {
      failed = true;
      return;
    }
    if (tokens.isEmpty()) {
      choiceProbabilities = choices;
    }
    tokens.add((int) best[0]);
    logprob += best[1];
    if (!top.isEmpty()) {
      topLogprobs.add(top);
    }
  }

  /** Token ids of the prompt after its image. */
  int[] promptIds() {
    return promptIds;
  }

  boolean hasStarted() {
    return !tokens.isEmpty();
  }

  /** Whether a stop token may come next. */
  boolean mayStop() {
    return tokens.size() >= rules.minNewTokens();
  }

  boolean finished() {
    return failed || stopped() || tokens.size() == rules.maxNewTokens();
  }

  /** Tokens that may still come. */
  int left() {
    return rules.maxNewTokens() - tokens.size();
  }

  /** Where the newest token stands among the row's own; it has not been through the decoder yet. */
  int lastIndex() {
    return promptIds.length + tokens.size() - 1;
  }

  int lastToken() {
    return tokens.get(tokens.size() - 1);
  }

  Generated generated() {
    Finish finish = failed ? Finish.NUMERIC_FAILURE : stopped() ? Finish.STOP : Finish.LENGTH;
    return new Generated(tokens, logprob, finish, topLogprobs, choiceProbabilities);
  }

  private boolean stopped() {
    return !tokens.isEmpty() && rules.stopTokens().contains(lastToken());
  }
}
