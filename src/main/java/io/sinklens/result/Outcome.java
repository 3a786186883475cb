package io.sinklens.result;

import io.sinklens.dataset.Failure;
import org.jspecify.annotations.Nullable;

/** A row's fate under one variant. */
public sealed interface Outcome {

  /**
   * The model answered.
   *
   * @param answer what it said
   * @param prompt what it was shown
   * @param attention what its attention did; null when the variant did not look
   */
  record Answered(Answer answer, PromptFacts prompt, @Nullable AttentionRecord attention)
      implements Outcome {}

  /**
   * The row could not be answered.
   *
   * @param failure the kind and the reason
   */
  record Failed(Failure failure) implements Outcome {}
}
