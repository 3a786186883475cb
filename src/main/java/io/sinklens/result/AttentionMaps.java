package io.sinklens.result;

import java.util.List;

/**
 * Where on the image the queries that gave one answer looked: means over heads and those queries.
 *
 * <p>Both are {@code [layer][image token]}, all layers from 0, 0 to 1; equal where nothing was
 * changed.
 *
 * @param before attention after softmax
 * @param after what was used in its place
 */
public record AttentionMaps(List<List<Float>> before, List<List<Float>> after) {

  public AttentionMaps {
    before = before.stream().map(List::copyOf).toList();
    after = after.stream().map(List::copyOf).toList();
    if (!before.stream().map(List::size).toList().equals(after.stream().map(List::size).toList())) {
      throw new IllegalArgumentException("Maps before and after must have the same shape");
    }
  }
}
