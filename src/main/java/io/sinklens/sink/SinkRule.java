package io.sinklens.sink;

/**
 * When a token is a sink.
 *
 * @param threshold the sink value that makes a token a sink (τ), above 0
 * @param comparison whether the threshold itself belongs to the sinks
 * @param tokens which tokens can be sinks at all
 */
public record SinkRule(double threshold, Comparison comparison, SinkTokens tokens) {

  /** The first layer with sinks: massive activations arise in layers 0 and 1. */
  public static final int FIRST_LAYER = 2;

  /** How a sink value is held against the threshold. */
  public enum Comparison {
    /** The paper's. */
    AT_LEAST,
    /** The released code's. */
    ABOVE
  }

  /** Which tokens can be sinks. */
  public enum SinkTokens {
    /** Those of the prompt, as in the released code. */
    PROMPT,
    /** Generated tokens too, as the paper words it. */
    ALL
  }

  public SinkRule {
    if (!(threshold > 0 && threshold < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException("Sink threshold must be above 0, not " + threshold);
    }
  }

  /** The smallest float32 sink value that makes a sink. */
  float smallest() {
    return switch (comparison) {
      case AT_LEAST -> (float) threshold;
      case ABOVE -> Math.nextUp((float) threshold);
    };
  }
}
