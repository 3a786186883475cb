package io.sinklens.model.projector;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.tensor.Operators;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Puts the features of an image's views one behind the other, as LLaVA-NeXT and its relatives do:
 * those of the whole image, then the window of the map that the tiles form, row by row.
 *
 * <p>Follows {@code pack_image_features} of {@code models/llava_next/modeling_llava_next.py} and
 * {@code models/llava_onevision/modeling_llava_onevision.py} of transformers 4.57.
 */
public final class TilePacker {
  private final Operators operators;
  private final @Nullable NDArray rowEnd; // [hidden]

  /**
   * A packer.
   *
   * @param rowEnd what follows each row of the window, {@code [hidden]}; null for nothing
   */
  public TilePacker(Operators operators, @Nullable NDArray rowEnd) {
    this.operators = operators;
    this.rowEnd = rowEnd;
  }

  /**
   * Packs the features of one image.
   *
   * @param features {@code [view, token, hidden]}: the whole image, then its tiles row by row, each
   *     a square of tokens
   * @param window what of the tiles is kept; null when there are none, and then the views follow
   *     each other
   * @return {@code [image token, hidden]} in the manager of {@code features}
   */
  public NDArray pack(NDArray features, @Nullable TileWindow window) {
    long views = features.getShape().get(0);
    long hidden = features.getShape().get(2);
    if (window == null) {
      return features.reshape(-1, hidden);
    }
    if (views != 1 + (long) window.tileRows() * window.tileColumns()) {
      throw new IllegalArgumentException(
          "Cannot pack %d views: the window has %d x %d tiles beside the whole image"
              .formatted(views, window.tileRows(), window.tileColumns()));
    }
    NDManager manager = features.getManager();
    try (NDManager scratch = manager.newSubManager()) {
      NDArray tiles = features.get(new NDIndex("1:"));
      tiles.attach(scratch);
      NDArray kept = cut(join(tiles, window), window);
      if (window.isResized()) {
        kept = operators.resizeMap(kept, window.packedRows(), window.packedColumns());
      }
      if (rowEnd != null) {
        kept = operators.endRows(kept, rowEnd);
      }
      NDArray whole = features.get(new NDIndex("0"));
      whole.attach(scratch);
      NDArray packed = operators.concat(List.of(whole, kept.reshape(-1, hidden)));
      packed.attach(manager);
      return packed;
    }
  }

  /** {@code [tile, token, hidden]} to {@code [height, width, hidden]}. */
  private static NDArray join(NDArray tiles, TileWindow window) {
    long tokens = tiles.getShape().get(1);
    long side = Math.round(Math.sqrt((double) tokens));
    if (side * side != tokens) {
      throw new IllegalArgumentException(
          "Cannot join tiles of %d tokens: they are no square".formatted(tokens));
    }
    long hidden = tiles.getShape().get(2);
    return tiles
        .reshape(window.tileRows(), window.tileColumns(), side, side, hidden)
        .transpose(0, 2, 1, 3, 4) // [tile row, row, tile column, column, hidden]
        .reshape(window.tileRows() * side, window.tileColumns() * side, hidden);
  }

  private static NDArray cut(NDArray map, TileWindow window) {
    NDIndex kept =
        new NDIndex()
            .addSliceDim(window.top(), window.top() + window.rows())
            .addSliceDim(window.left(), window.left() + window.columns());
    return map.get(kept);
  }
}
