package io.sinklens.dataset;

/** Where a row's image comes from: a row has the bytes of an image file, or says why not. */
public sealed interface ImageSource {

  /**
   * The bytes of an image file, as they stand in the dataset.
   *
   * @param content the whole file
   */
  @SuppressWarnings("ArrayRecordComponent") // Told apart by its content hash, never by equals.
  record Bytes(byte[] content) implements ImageSource {}

  /**
   * An image that could not be fetched; its rows fail.
   *
   * @param failure the kind and what was wrong
   */
  record Unavailable(Failure failure) implements ImageSource {}
}
