package io.sinklens.preprocessing;

/**
 * Tiles laid side by side into one map of image tokens, the window of that map that shows the image
 * and not the padding around it, and what the window is resized to. All in tokens but the first
 * two.
 *
 * @param tileRows rows of tiles, above 0
 * @param tileColumns tiles in a row, above 0
 * @param top rows of the map above the window
 * @param left columns of the map left of the window
 * @param rows rows of the window; 0 for an image too narrow to leave any
 * @param columns columns of the window; 0 for an image too narrow to leave any
 * @param packedRows rows of the window after resizing, at most {@code rows}
 * @param packedColumns columns of the window after resizing, at most {@code columns}
 */
public record Mosaic(
    int tileRows,
    int tileColumns,
    int top,
    int left,
    int rows,
    int columns,
    int packedRows,
    int packedColumns) {

  public Mosaic {
    if (tileRows < 1 || tileColumns < 1) {
      throw new IllegalArgumentException(
          "Mosaic must have at least one tile, not %d x %d".formatted(tileRows, tileColumns));
    }
    if (top < 0 || left < 0 || rows < 0 || columns < 0) {
      throw new IllegalArgumentException(
          "Window of a mosaic must lie inside it, not begin at row %d, column %d with %d x %d tokens"
              .formatted(top, left, rows, columns));
    }
    if (packedRows < 0 || packedColumns < 0 || packedRows > rows || packedColumns > columns) {
      throw new IllegalArgumentException(
          "Window of %d x %d tokens cannot be resized to %d x %d"
              .formatted(rows, columns, packedRows, packedColumns));
    }
  }

  /** A window that keeps its size. */
  public Mosaic(int tileRows, int tileColumns, int top, int left, int rows, int columns) {
    this(tileRows, tileColumns, top, left, rows, columns, rows, columns);
  }
}
