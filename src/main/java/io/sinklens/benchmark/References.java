package io.sinklens.benchmark;

import java.io.Serializable;
import java.util.List;

/**
 * Reference answers of a column as an output stores them: a list, whether the input had one text or
 * a list of texts. They are read as either.
 *
 * @param texts the answers, at least 1
 */
public record References(List<String> texts) implements Serializable {
  public References {
    texts = List.copyOf(texts);
  }
}
