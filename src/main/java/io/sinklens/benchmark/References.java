package io.sinklens.benchmark;

import java.io.Serializable;
import java.util.List;

/**
 * Reference answers as an output stores them: a list, whether the input had one text, a list of
 * texts, or one text in each struct of a list. A column may hold them as any of these.
 */
public record References(List<String> texts) implements Serializable {
  public References {
    texts = List.copyOf(texts);
  }
}
