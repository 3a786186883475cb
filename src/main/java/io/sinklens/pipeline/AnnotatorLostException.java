package io.sinklens.pipeline;

/** An annotator, and with it this process, can annotate no more; a new process can. */
public final class AnnotatorLostException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Says so in one line. */
  public AnnotatorLostException(String message) {
    super(message);
  }

  /** Says so in one line. */
  public AnnotatorLostException(String message, Throwable cause) {
    super(message, cause);
  }
}
