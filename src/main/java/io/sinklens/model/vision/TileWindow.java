package io.sinklens.model.vision;

/**
 * Tiles of an image laid side by side, and the window of the joined map that is kept. Rows, columns
 * and places of the window count feature vectors.
 *
 * @param tileRows rows of tiles
 * @param tileColumns tiles in a row
 * @param top rows above the window
 * @param left columns left of the window
 * @param rows rows of the window
 * @param columns columns of the window
 */
public record TileWindow(int tileRows, int tileColumns, int top, int left, int rows, int columns) {}
