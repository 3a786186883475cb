package io.sinklens.preprocessing;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import java.util.List;
import java.util.function.BiFunction;

/**
 * Where image tokens lie on the original image. Positions count the views in order, each view row
 * by row.
 *
 * @param imageWidth width of the original image in pixels
 * @param imageHeight height of the original image in pixels
 * @param views at least one
 */
public record ImageGrid(int imageWidth, int imageHeight, List<View> views) {

  public ImageGrid {
    views = List.copyOf(views);
    if (views.isEmpty()) {
      throw new IllegalArgumentException("Image grid must have at least one view");
    }
  }

  /**
   * One picture that the vision encoder sees.
   *
   * @param row row of the view among the tiles of the image, 0 for a single view
   * @param column column of the view among the tiles of the image, 0 for a single view
   * @param rows rows of image tokens, above 0
   * @param columns image tokens in a row, above 0, those that end the row included
   * @param region what the view shows, in pixels of the original image; columns of tokens that end
   *     rows are its rightmost part
   * @param rowEnds image tokens at the end of each row that show nothing of the image, at least 0
   */
  public record View(int row, int column, int rows, int columns, Region region, int rowEnds) {
    public View {
      if (rows < 1 || columns < 1) {
        throw new IllegalArgumentException(
            "View must have at least 1 x 1 image tokens, not %d x %d".formatted(rows, columns));
      }
      if (rowEnds < 0 || rowEnds > columns) {
        throw new IllegalArgumentException(
            "Tokens that end a row must be from 0 to %d, not %d".formatted(columns, rowEnds));
      }
    }

    /** A view all of whose tokens show a part of it. */
    public View(int row, int column, int rows, int columns, Region region) {
      this(row, column, rows, columns, region, 0);
    }

    private boolean endsRow(int position) {
      return position % columns >= columns - rowEnds;
    }

    /** Image tokens of this view. */
    public int tokens() {
      return rows * columns;
    }

    private Region token(int position) {
      double tokenWidth = region.width() / columns;
      double tokenHeight = region.height() / rows;
      int tokenRow = position / columns;
      int tokenColumn = position % columns;
      return new Region(
          region.x() + tokenColumn * tokenWidth,
          region.y() + tokenRow * tokenHeight,
          tokenWidth,
          tokenHeight);
    }
  }

  /**
   * A rectangle on the original image, in pixels; it may reach beyond the image.
   *
   * @param x left edge, from the image's left edge
   * @param y upper edge, from the image's upper edge
   * @param width to the right
   * @param height downwards
   */
  public record Region(double x, double y, double width, double height) {}

  /** Image tokens of all views. */
  public int tokens() {
    return views.stream().mapToInt(View::tokens).sum();
  }

  /** The part of the original image that the image token at a position shows. */
  public Region token(int position) {
    return at(position, View::token);
  }

  /** Whether the image token at a position ends a row and shows nothing of the image. */
  public boolean endsRow(int position) {
    return at(position, View::endsRow);
  }

  private <T> T at(int position, BiFunction<View, Integer, T> ofView) {
    int inView = position;
    for (View view : views) {
      if (inView >= 0 && inView < view.tokens()) {
        return ofView.apply(view, inView);
      }
      inView -= view.tokens();
    }
    throw new IndexOutOfBoundsException(
        "Image token must be in [0, %d), not %d".formatted(tokens(), position));
  }

  /**
   * How much of each image token shows background: mask pixels that are black, and everything
   * outside the image. Pixels cut by a token's edge count by their area. Tokens that end a row show
   * nothing but background.
   *
   * @param mask of the size of the original image
   * @return shares in [0, 1], {@code [token]}
   * @throws RowFailedException {@link FailureKind#UNSUPPORTED_INPUT} when the mask has another size
   */
  public float[] backgroundShare(RgbImage mask) throws RowFailedException {
    if (mask.width() != imageWidth || mask.height() != imageHeight) {
      throw new RowFailedException(
          FailureKind.UNSUPPORTED_INPUT,
          "Cannot use the mask: it is %d x %d but its image is %d x %d"
              .formatted(mask.width(), mask.height(), imageWidth, imageHeight));
    }
    float[] shares = new float[tokens()];
    for (int position = 0; position < shares.length; position++) {
      if (endsRow(position)) {
        shares[position] = 1;
        continue;
      }
      Region token = token(position);
      double foreground = foregroundArea(mask, token);
      shares[position] = (float) Math.max(0, 1 - foreground / (token.width() * token.height()));
    }
    return shares;
  }

  private static double foregroundArea(RgbImage mask, Region region) {
    double right = region.x() + region.width();
    double bottom = region.y() + region.height();
    double area = 0;
    for (int y = Math.max(0, (int) region.y()); y < Math.min(mask.height(), bottom); y++) {
      double covered = overlap(y, region.y(), bottom);
      for (int x = Math.max(0, (int) region.x()); x < Math.min(mask.width(), right); x++) {
        if ((mask.sample(x, y, 0) | mask.sample(x, y, 1) | mask.sample(x, y, 2)) != 0) {
          area += covered * overlap(x, region.x(), right);
        }
      }
    }
    return area;
  }

  /** Length of the pixel's part that lies between the two edges. */
  private static double overlap(int pixel, double from, double to) {
    return Math.min(pixel + 1, to) - Math.max(pixel, from);
  }
}
