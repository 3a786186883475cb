package io.sinklens.pipeline;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What an annotator has spent since it was loaded.
 *
 * @param seconds by phase: decode_image, vision, prompt_pass, generation, hook
 * @param promptTokens run through the decoder, a shared prefix counted once
 * @param generatedTokens answer tokens, stop tokens included
 */
public record RunTimes(Map<String, Double> seconds, long promptTokens, long generatedTokens) {
  public RunTimes {
    seconds = new LinkedHashMap<>(seconds);
  }

  /** What was spent after an earlier reading. */
  public RunTimes since(RunTimes earlier) {
    Map<String, Double> spent = new LinkedHashMap<>();
    seconds.forEach(
        (phase, sum) -> spent.put(phase, sum - earlier.seconds.getOrDefault(phase, 0.0)));
    return new RunTimes(
        spent, promptTokens - earlier.promptTokens, generatedTokens - earlier.generatedTokens);
  }
}
