package io.sinklens.generation;

/** A GPU failed in a way that this process cannot recover from; another process can use it. */
public final class DeviceLostException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Says so in one line. */
  public DeviceLostException(String message, Throwable cause) {
    super(message, cause);
  }
}
