package io.sinklens.benchmark;

import java.util.List;
import java.util.Locale;

/** Right is what equals a reference answer, whatever the case and the white space around it. */
public final class ExactMatch {
  private ExactMatch() {}

  /** Whether an answer equals one of the references. */
  public static boolean isRight(String answer, List<String> references) {
    return references.stream().anyMatch(reference -> folded(reference).equals(folded(answer)));
  }

  private static String folded(String text) {
    return text.strip().toLowerCase(Locale.ROOT);
  }
}
