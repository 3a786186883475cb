package io.sinklens.pipeline;

/**
 * What an annotator has done since it was loaded, for whoever watches it at work. Sums only grow.
 *
 * @param passes through the decoder
 * @param passTokens tokens that went through it, a shared prefix counted once
 * @param passRows rows that a pass brought forward by an answer token, added up over passes
 * @param requests images whose questions the engine has begun to answer
 * @param waitSeconds what they waited for room in its batch, together
 * @param deviceBytes memory of its GPU in use now, others' included; 0 on the processor
 */
public record EngineFigures(
    long passes,
    long passTokens,
    long passRows,
    long requests,
    double waitSeconds,
    long deviceBytes) {

  /** Of an annotator that has done nothing, or does not tell. */
  public static final EngineFigures NONE = new EngineFigures(0, 0, 0, 0, 0, 0);

  /** Those of two annotators together. */
  public EngineFigures plus(EngineFigures other) {
    return new EngineFigures(
        passes + other.passes,
        passTokens + other.passTokens,
        passRows + other.passRows,
        requests + other.requests,
        waitSeconds + other.waitSeconds,
        deviceBytes + other.deviceBytes);
  }

  /** After the annotator is gone: its memory is free again. */
  public EngineFigures closed() {
    return new EngineFigures(passes, passTokens, passRows, requests, waitSeconds, 0);
  }
}
