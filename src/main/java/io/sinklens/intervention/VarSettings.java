package io.sinklens.intervention;

import io.sinklens.sink.SinkRule;
import io.sinklens.sink.SinkRule.Comparison;
import io.sinklens.sink.SinkRule.SinkTokens;

/**
 * Settings of visual attention redistribution, with the symbol each has in the paper.
 *
 * @param mode whose arithmetic
 * @param sinkThreshold a token is a sink from this sink value on (τ), above 0
 * @param sinkTokens which tokens can be sinks
 * @param minNonsinkRatio a head is corrected when at least this share of its image attention goes
 *     to tokens that are no sinks (ρ), in [0, 1]
 * @param minImageAttention a head is corrected only when the image holds at least this much of its
 *     attention, in [0, 1]
 * @param movedShare the share of every sink's attention that is moved away (p), in [0, 1]; 0
 *     measures without changing anything
 * @param visualSink whether a layer without a sink in the image is left alone
 */
public record VarSettings(
    Mode mode,
    double sinkThreshold,
    SinkTokens sinkTokens,
    double minNonsinkRatio,
    double minImageAttention,
    double movedShare,
    VisualSink visualSink) {

  /** Whose arithmetic decides. */
  public enum Mode {
    /** The paper's text: thresholds belong to the sinks, the last layer is left alone. */
    PAPER,
    /**
     * The released code on the first sample of a process: sinks lie above the threshold, a small
     * constant is added to image attention, and the last layer is corrected too.
     */
    REFERENCE
  }

  /** What a layer must hold before any of its heads is corrected. */
  public enum VisualSink {
    /** At least one sink inside the image, as in the released code. */
    REQUIRED,
    /** Nothing. */
    NOT_REQUIRED
  }

  public VarSettings {
    sinkRule(mode, sinkThreshold, sinkTokens);
    requireFraction("Min non-sink ratio", minNonsinkRatio);
    requireFraction("Min image attention", minImageAttention);
    requireFraction("Moved share", movedShare);
  }

  /** When a token is a sink under these settings. */
  public SinkRule sinkRule() {
    return sinkRule(mode, sinkThreshold, sinkTokens);
  }

  /** The same, but only measuring. */
  public VarSettings measuring() {
    return new VarSettings(
        mode, sinkThreshold, sinkTokens, minNonsinkRatio, minImageAttention, 0, visualSink);
  }

  private static SinkRule sinkRule(Mode mode, double threshold, SinkTokens tokens) {
    return new SinkRule(
        threshold,
        switch (mode) {
          case PAPER -> Comparison.AT_LEAST;
          case REFERENCE -> Comparison.ABOVE;
        },
        tokens);
  }

  private static void requireFraction(String name, double value) {
    if (!(value >= 0 && value <= 1)) {
      throw new IllegalArgumentException(name + " must be from 0 to 1, not " + value);
    }
  }
}
