package io.sinklens.dataset;

/** Ends one row, never the job. Checked, so that no caller forgets the row. */
public final class RowFailedException extends Exception {
  private final Failure failure;

  public RowFailedException(FailureKind kind, String message) {
    super(message);
    this.failure = new Failure(kind, message);
  }

  public RowFailedException(FailureKind kind, String message, Throwable cause) {
    super(message, cause);
    this.failure = new Failure(kind, message);
  }

  public Failure failure() {
    return failure;
  }
}
