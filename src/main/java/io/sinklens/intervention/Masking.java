package io.sinklens.intervention;

/**
 * Which image tokens later queries no longer see.
 *
 * @param tokens which
 * @param seed what random tokens are drawn from
 */
public record Masking(Tokens tokens, long seed) {

  /** Nothing is masked. */
  public static final Masking NONE = new Masking(Tokens.NONE, 0);

  /** A choice of image tokens, made anew at every layer that can have sinks. */
  public enum Tokens {
    /** None. */
    NONE,
    /** The layer's visual sinks. */
    SINKS,
    /** As many image tokens that are no sinks as the layer has visual sinks. */
    RANDOM
  }

  /** The same for one sample, whose random tokens then depend on it as well. */
  public Masking of(long sample) {
    return new Masking(tokens, 31 * seed + sample);
  }
}
