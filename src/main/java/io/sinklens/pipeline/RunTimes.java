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
}
