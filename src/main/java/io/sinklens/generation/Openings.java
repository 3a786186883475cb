package io.sinklens.generation;

import io.sinklens.model.decoder.Opening;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The texts that prompts began with of late, so that they do not run before every image.
 *
 * <p>Nearly all prompts of a job begin with the same few words. Used by one thread.
 */
final class Openings implements AutoCloseable {
  /** Tokens of all that are kept. */
  private static final int MOST_TOKENS = 1024;

  private final Map<List<Integer>, Opening> byText = new LinkedHashMap<>(16, 0.75f, true);
  private int tokens;

  /** The text up to an image, if it is there. */
  Optional<Opening> of(int[] text) {
    return Optional.ofNullable(byText.get(key(text)));
  }

  /** Keeps one more, in place of those not used for longest, and owns it. */
  void keep(int[] text, Opening opening) {
    if (opening.tokens() > MOST_TOKENS || byText.containsKey(key(text))) {
      opening.close();
      return;
    }
    byText.put(key(text), opening);
    tokens += opening.tokens();
    Iterator<Opening> oldest = byText.values().iterator();
    while (tokens > MOST_TOKENS) {
      Opening dropped = oldest.next();
      oldest.remove();
      tokens -= dropped.tokens();
      dropped.close();
    }
  }

  /** Forgets them all. */
  @Override
  public void close() {
    byText.values().forEach(Opening::close);
    byText.clear();
    tokens = 0;
  }

  private static List<Integer> key(int[] text) {
    return Arrays.stream(text).boxed().toList();
  }
}
