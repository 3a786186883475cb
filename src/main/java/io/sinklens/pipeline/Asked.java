package io.sinklens.pipeline;

import io.sinklens.result.Outcome;
import java.util.List;

/**
 * One question's outcome with the prompt it came from.
 *
 * @param outcome the answer
 * @param promptTokenIds the whole prompt, the image's placeholders included
 * @param imageStart position of the first image token
 * @param imageEnd position after the last image token
 */
public record Asked(
    Outcome.Answered outcome, List<Integer> promptTokenIds, int imageStart, int imageEnd) {
  public Asked {
    promptTokenIds = List.copyOf(promptTokenIds);
  }
}
