package io.sinklens.dataset;

/** Why a row could not be answered. The names are stored and counted; they never change. */
public enum FailureKind {
  /** Unreadable, truncated or empty bytes, bytes that are no image, or an unsupported format. */
  IMAGE_UNREADABLE,
  /** The header announces more pixels than {@code run.max-image-pixels}; never decoded. */
  IMAGE_TOO_LARGE,
  /** The image file does not exist, or the row names none. */
  IMAGE_MISSING,
  /** The path leads outside the image root. */
  IMAGE_FORBIDDEN,
  /** Null or blank question. */
  QUESTION_MISSING,
  /** Prompt and answer together would not fit the model's context. */
  PROMPT_TOO_LONG,
  /** Something this version does not do, such as several images in one row. */
  UNSUPPORTED_INPUT,
  /** The model gave logits that are not finite. */
  NUMERIC_FAILURE,
  /** The row does not fit the device's memory even alone. */
  OUT_OF_MEMORY
}
