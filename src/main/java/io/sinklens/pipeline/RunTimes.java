package io.sinklens.pipeline;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What an annotator has spent since it was loaded.
 *
 * @param seconds by phase: decode_image, vision, prompt_pass, generation, hook
 * @param promptTokens of prompts that were answered, a shared prefix counted once
 * @param answeredRows rows that were answered, equal prompts under one variant counted once
 * @param generatedTokens answer tokens, stop tokens included
 * @param passes through the decoder, by size
 */
public record RunTimes(
    Map<String, Double> seconds,
    long promptTokens,
    long answeredRows,
    long generatedTokens,
    List<Passes> passes) {

  /**
   * Passes of one size.
   *
   * @param phase prompt_pass or generation
   * @param tokens that went through the layers
   * @param answers tokens that gave answer tokens
   * @param count how many passes
   * @param seconds what they took together, hooks included
   */
  public record Passes(String phase, int tokens, int answers, long count, double seconds) {
    private boolean hasSizeOf(Passes other) {
      return phase.equals(other.phase) && tokens == other.tokens && answers == other.answers;
    }
  }

  public RunTimes {
    seconds = new LinkedHashMap<>(seconds);
    passes = List.copyOf(passes);
  }

  /** What was spent after an earlier reading. */
  public RunTimes since(RunTimes earlier) {
    Map<String, Double> spent = new LinkedHashMap<>();
    seconds.forEach(
        (phase, sum) -> spent.put(phase, sum - earlier.seconds.getOrDefault(phase, 0.0)));
    List<Passes> passed = new ArrayList<>();
    for (Passes now : passes) {
      Passes before =
          earlier.passes.stream()
              .filter(now::hasSizeOf)
              .findFirst()
              .orElse(new Passes(now.phase(), now.tokens(), now.answers(), 0, 0));
      if (now.count() > before.count()) {
        passed.add(
            new Passes(
                now.phase(),
                now.tokens(),
                now.answers(),
                now.count() - before.count(),
                now.seconds() - before.seconds()));
      }
    }
    return new RunTimes(
        spent,
        promptTokens - earlier.promptTokens,
        answeredRows - earlier.answeredRows,
        generatedTokens - earlier.generatedTokens,
        passed);
  }
}
