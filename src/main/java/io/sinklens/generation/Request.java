package io.sinklens.generation;

import io.sinklens.model.ImageInput;
import java.util.List;
import java.util.function.Supplier;

/**
 * Prompts that begin with the same text and image.
 *
 * @param image what the vision encoder sees
 * @param prefixIds token ids up to the image's end; those of the image are placeholders
 * @param imageStart position of the first image token; the image ends where {@code prefixIds} do
 * @param groups rows that are watched by one hook each: for every row its token ids after the
 *     image, at least one
 * @param watch opens what looks on; opened anew where the request must begin again
 */
@SuppressWarnings("ArrayRecordComponent") // Never compared.
public record Request(
    ImageInput image,
    int[] prefixIds,
    int imageStart,
    List<List<int[]>> groups,
    Supplier<Watch> watch) {

  public Request {
    groups = groups.stream().map(List::copyOf).toList();
    for (List<int[]> group : groups) {
      for (int[] ids : group) {
        if (ids.length == 0) {
          throw new IllegalArgumentException("A prompt must have a token after its image");
        }
      }
    }
    if (groups.stream().allMatch(List::isEmpty)) {
      throw new IllegalArgumentException("A request must have a row");
    }
  }

  /** Own tokens of all rows, answers at their longest included. */
  int ownTokens(int maxNewTokens) {
    return groups.stream()
        .flatMap(List::stream)
        .mapToInt(ids -> Math.addExact(ids.length, maxNewTokens))
        .reduce(0, Math::addExact);
  }

  /** Own tokens of the longest row, as {@link #ownTokens}. */
  int longestRow(int maxNewTokens) {
    return groups.stream().flatMap(List::stream).mapToInt(ids -> ids.length).max().orElse(0)
        + maxNewTokens;
  }
}
