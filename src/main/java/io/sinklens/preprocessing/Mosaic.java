package io.sinklens.preprocessing;

/**
 * Tiles laid side by side into one map of image tokens, and the window of that map that shows the
 * image and not the padding around it. All in tokens but the first two.
 *
 * @param tileRows rows of tiles
 * @param tileColumns tiles in a row
 * @param top rows of the map above the window
 * @param left columns of the map left of the window
 * @param rows rows of the window, above 0
 * @param columns columns of the window, above 0
 */
public record Mosaic(int tileRows, int tileColumns, int top, int left, int rows, int columns) {

  public Mosaic {
    if (tileRows < 1 || tileColumns < 1 || rows < 1 || columns < 1) {
      throw new IllegalArgumentException(
          "Mosaic must have at least one tile and one token, not %d x %d tiles and %d x %d tokens"
              .formatted(tileRows, tileColumns, rows, columns));
    }
    if (top < 0 || left < 0) {
      throw new IllegalArgumentException(
          "Window of a mosaic must begin inside it, not at row %d, column %d".formatted(top, left));
    }
  }
}
