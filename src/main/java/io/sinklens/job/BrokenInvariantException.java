package io.sinklens.job;

/** Rows that went in and annotations that came out do not add up: a bug, or a damaged output. */
public final class BrokenInvariantException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public BrokenInvariantException(String message) {
    super(message);
  }
}
