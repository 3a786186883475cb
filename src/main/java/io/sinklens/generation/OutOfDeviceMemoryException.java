package io.sinklens.generation;

/** A request does not fit into the device's memory, not even alone and row by row. */
public final class OutOfDeviceMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Says so in one line. */
  public OutOfDeviceMemoryException(String message, Throwable cause) {
    super(message, cause);
  }
}
