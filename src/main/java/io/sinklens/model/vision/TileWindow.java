package io.sinklens.model.vision;

/**
 * Tiles of an image laid side by side, and the window of the joined map that is kept. Rows, columns
 * and places of the window count feature vectors.
 *
 * @param tileRows rows of tiles
 * @param tileColumns tiles in a row
 * @param top rows above the window
 * @param left columns left of the window
 * @param rows rows of the window, 0 for none
 * @param columns columns of the window, 0 for none
 * @param packedRows rows of the window after resizing
 * @param packedColumns columns of the window after resizing
 */
public record TileWindow(
    int tileRows,
    int tileColumns,
    int top,
    int left,
    int rows,
    int columns,
    int packedRows,
    int packedColumns) {

  /** Whether the window is resized. */
  public boolean isResized() {
    return packedRows != rows || packedColumns != columns;
  }
}
