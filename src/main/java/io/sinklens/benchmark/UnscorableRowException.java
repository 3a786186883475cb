package io.sinklens.benchmark;

/** A row lacks what its benchmark is scored by. The message is one sentence that names the row. */
public final class UnscorableRowException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public UnscorableRowException(String message) {
    super(message);
  }
}
