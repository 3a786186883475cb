package io.sinklens.preprocessing;

import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import io.sinklens.preprocessing.PillowResize.Axis;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;

/**
 * The rule of the LLaVA-NeXT line: the whole image, stretched to one tile, and then the image once
 * more in finer tiles.
 *
 * <p>Of a list of canvases the one is chosen that keeps most of the image's pixels and, of equals,
 * wastes least. The image is resized to fit into it, put into its middle on black, and the canvas
 * is cut into tiles, row by row. The network lays the tiles' tokens side by side and keeps the
 * window that {@link Mosaic} describes, so that tokens of the padding alone are not seen; each row
 * of tokens is followed by one that ends it.
 *
 * <p>Follows {@code models/llava_next} and {@code models/llava_onevision} of transformers 4.57 and
 * {@code llava/mm_utils.py}, {@code llava/model/llava_arch.py} of the original LLaVA. transformers
 * takes an image of one row, or one that becomes one or three rows high, for an image whose
 * channels come first; this rule does not.
 *
 * @param name in settings, such as {@code anyres}
 * @param canvases to choose from, in the order of preference among equals; whole tiles each
 * @param tileSize pixels of the edges of a tile, above 0
 * @param patchSize pixels of the edges of the square behind one image token, at most the tile's;
 *     what is left over at the right and lower edges of a tile has no token
 * @param normalization applied last
 * @param packing how tokens of tiles become the model's image tokens
 */
public record AnyResolution(
    String name,
    List<Canvas> canvases,
    int tileSize,
    int patchSize,
    Normalization normalization,
    Packing packing)
    implements ImageRule {

  /** Its name where the canvases are a checkpoint's own. */
  public static final String NAME = "anyres";

  /** Its name where the canvases are those of LLaVA-1.5-HD. */
  public static final String HIGH_DEFINITION = "hd";

  /**
   * A size an image may be fitted into, in pixels.
   *
   * @param width above 0
   * @param height above 0
   */
  public record Canvas(int width, int height) {}

  /** Whose reading of a list of sizes, and whose arithmetic. They differ for small images. */
  public enum Convention {
    /** The llava-hf checkpoints: sizes are height, width; the kept window is rounded. */
    TRANSFORMERS,
    /** The original LLaVA code: the same list is read as width, height; the window is truncated. */
    ORIGINAL;

    /**
     * The canvases of a checkpoint.
     *
     * @param gridPinpoints pairs of numbers ({@code image_grid_pinpoints})
     */
    public List<Canvas> canvases(List<List<Integer>> gridPinpoints) {
      List<Canvas> canvases = new ArrayList<>();
      for (List<Integer> pinpoint : gridPinpoints) {
        if (pinpoint.size() != 2) {
          throw new IllegalArgumentException(
              "Grid pinpoint must be a pair of numbers, not " + pinpoint);
        }
        int first = pinpoint.get(0);
        int second = pinpoint.get(1);
        canvases.add(
            switch (this) {
              case TRANSFORMERS -> new Canvas(second, first);
              case ORIGINAL -> new Canvas(first, second);
            });
      }
      return canvases;
    }
  }

  /** Whether a row of tokens is followed by a learned one that ends it. */
  public enum RowEnd {
    PRESENT,
    ABSENT
  }

  /**
   * How tokens of tiles become the model's image tokens.
   *
   * @param convention how the window is computed
   * @param rowEnd whether rows end with a token of their own
   * @param maxTiles the window is made smaller when it holds clearly more tokens than this number
   *     of tiles, above 0; {@link #UNLIMITED} never
   */
  public record Packing(Convention convention, RowEnd rowEnd, int maxTiles) {
    /** Windows of every size are left as they are. */
    public static final int UNLIMITED = Integer.MAX_VALUE;

    public Packing {
      if (maxTiles < 1) {
        throw new IllegalArgumentException("Tiles of a map must be above 0, not " + maxTiles);
      }
    }
  }

  public AnyResolution {
    canvases = List.copyOf(canvases);
    if (patchSize < 1 || tileSize < patchSize) {
      throw new IllegalArgumentException(
          "Tile size must be at least the patch size %d, not %d".formatted(patchSize, tileSize));
    }
    if (canvases.isEmpty()) {
      throw new IllegalArgumentException("There must be at least one canvas to fit images into");
    }
    for (Canvas canvas : canvases) {
      if (!isWholeTiles(canvas.width(), tileSize) || !isWholeTiles(canvas.height(), tileSize)) {
        throw new IllegalArgumentException(
            "Canvas must be made of whole tiles of %d pixels, not %d wide and %d high"
                .formatted(tileSize, canvas.width(), canvas.height()));
      }
    }
  }

  private static boolean isWholeTiles(int length, int tileSize) {
    return length >= tileSize && length % tileSize == 0;
  }

  /**
   * The canvases of LLaVA-1.5-HD: all grids of one to six tiles whose sides are at most two and
   * three tiles, or one and six (appendix A.1 of "Improved Baselines with Visual Instruction
   * Tuning").
   */
  public static List<Canvas> upToSixTiles(int tileSize) {
    List<Canvas> canvases = new ArrayList<>();
    for (int rows = 1; rows <= 6; rows++) {
      for (int columns = 1; rows * columns <= 6; columns++) {
        canvases.add(new Canvas(columns * tileSize, rows * tileSize));
      }
    }
    return canvases;
  }

  /** The same with the canvases of LLaVA-1.5-HD. */
  public AnyResolution highDefinition() {
    return new AnyResolution(
        HIGH_DEFINITION, upToSixTiles(tileSize), tileSize, patchSize, normalization, packing);
  }

  @Override
  public Exif exif() {
    return packing.convention() == Convention.TRANSFORMERS ? Exif.APPLY : Exif.IGNORE;
  }

  @Override
  public PixelValues apply(RgbImage image) {
    Fit fit = Fit.of(image, best(image.width(), image.height()));
    Mosaic mosaic = mosaic(image.width(), image.height());
    ImageGrid.View whole = wholeImage(image);
    if (mosaic.packedRows() == 0 || mosaic.packedColumns() + rowEnds() == 0) {
      // Of the tiles of an image that is very long and narrow no token may be kept at all.
      float[] data = normalization.apply(PillowResize.bicubic(image, tileSize, tileSize));
      ImageGrid grid = new ImageGrid(image.width(), image.height(), List.of(whole));
      return new PixelValues(data, 1, tileSize, tileSize, grid);
    }
    int views = 1 + mosaic.tileRows() * mosaic.tileColumns();
    float[] data = new float[views * RgbImage.CHANNELS * tileSize * tileSize];
    int view = 0;
    put(PillowResize.bicubic(image, tileSize, tileSize), data, view++);
    for (int row = 0; row < mosaic.tileRows(); row++) {
      for (int column = 0; column < mosaic.tileColumns(); column++) {
        put(fit.tile(image, row * tileSize, column * tileSize, tileSize), data, view++);
      }
    }
    View window = window(image, fit, mosaic);
    ImageGrid grid = new ImageGrid(image.width(), image.height(), List.of(whole, window));
    return new PixelValues(data, views, tileSize, tileSize, grid, mosaic);
  }

  private void put(RgbImage tile, float[] data, int view) {
    float[] values = normalization.apply(tile);
    System.arraycopy(values, 0, data, view * values.length, values.length);
  }

  private Canvas best(int width, int height) {
    Canvas best = canvases.get(0);
    long mostKept = -1;
    long leastWasted = Long.MAX_VALUE;
    for (Canvas canvas : canvases) {
      double scale = Math.min((double) canvas.width() / width, (double) canvas.height() / height);
      long resizedWidth = (long) (width * scale);
      long resizedHeight = (long) (height * scale);
      long resized = resizedWidth * resizedHeight;
      long kept = Math.min(resized, (long) width * height);
      long wasted = (long) canvas.width() * canvas.height() - kept;
      if (kept > mostKept || (kept == mostKept && wasted < leastWasted)) {
        best = canvas;
        mostKept = kept;
        leastWasted = wasted;
      }
    }
    return best;
  }

  /**
   * How an image lies on a canvas, in the canvas's pixels.
   *
   * @param canvas what it lies on
   * @param width of the resized image
   * @param height of the resized image
   */
  private record Fit(Canvas canvas, int width, int height) {

    static Fit of(RgbImage image, Canvas canvas) {
      double across = (double) canvas.width() / image.width();
      double down = (double) canvas.height() / image.height();
      if (across < down) {
        int height = Math.min((int) Math.ceil(image.height() * across), canvas.height());
        return new Fit(canvas, canvas.width(), height);
      }
      int width = Math.min((int) Math.ceil(image.width() * down), canvas.width());
      return new Fit(canvas, width, canvas.height());
    }

    int left() {
      return (canvas.width() - width) / 2;
    }

    int top() {
      return (canvas.height() - height) / 2;
    }

    /** A square of the canvas, black where the image is not. */
    RgbImage tile(RgbImage image, int fromRow, int fromColumn, int size) {
      return PillowResize.bicubic(
          image,
          new Axis(image.width(), 0, image.width(), width, fromColumn - left(), size),
          new Axis(image.height(), 0, image.height(), height, fromRow - top(), size),
          new int[RgbImage.CHANNELS]);
    }
  }

  /** Tokens along an edge of a tile. */
  private int tileTokens() {
    return tileSize / patchSize;
  }

  /** How the tokens of an image of this size are laid out. */
  Mosaic mosaic(int imageWidth, int imageHeight) {
    Canvas canvas = best(imageWidth, imageHeight);
    int tileRows = canvas.height() / tileSize;
    int tileColumns = canvas.width() / tileSize;
    int rows = tileRows * tileTokens();
    int columns = tileColumns * tileTokens();
    double width = imageWidth;
    double height = imageHeight;
    int top = 0;
    int left = 0;
    if (width / height > (double) columns / rows) {
      top = (rows - wholeTokens(height * (columns / width))) / 2;
    } else {
      left = (columns - wholeTokens(width * (rows / height))) / 2;
    }
    rows -= 2 * top;
    columns -= 2 * left;
    double excess =
        Math.sqrt(
            (double) rows * columns / ((double) packing.maxTiles() * tileTokens() * tileTokens()));
    if (excess > 1.1) {
      return new Mosaic(
          tileRows,
          tileColumns,
          top,
          left,
          rows,
          columns,
          wholeParts(rows, excess),
          wholeParts(columns, excess));
    }
    return new Mosaic(tileRows, tileColumns, top, left, rows, columns);
  }

  private int wholeTokens(double tokens) {
    return switch (packing.convention()) {
      case TRANSFORMERS -> new BigDecimal(tokens).setScale(7, RoundingMode.HALF_EVEN).intValue();
      case ORIGINAL -> (int) tokens;
    };
  }

  /** Python's {@code length // part}: exact where the rounded quotient would be a number above. */
  private static int wholeParts(int length, double part) {
    return (int) Math.rint((length - length % part) / part);
  }

  private View wholeImage(RgbImage image) {
    double seen = (double) tileTokens() * patchSize / tileSize;
    Region region = new Region(0, 0, image.width() * seen, image.height() * seen);
    return new View(0, 0, tileTokens(), tileTokens(), region);
  }

  /**
   * The kept window. Tokens are taken to lie evenly over a tile, which they do when patches fill
   * it; those that end rows are a column right of it.
   */
  private View window(RgbImage image, Fit fit, Mosaic mosaic) {
    double token = (double) tileSize / tileTokens();
    double columnScale = (double) image.width() / fit.width();
    double rowScale = (double) image.height() / fit.height();
    int rowEnds = rowEnds();
    double x = (mosaic.left() * token - fit.left()) * columnScale;
    double width = mosaic.columns() * token * columnScale;
    if (mosaic.columns() > 0) {
      width += rowEnds * width / mosaic.packedColumns();
    } else {
      x = image.width();
      width = rowEnds * token * columnScale;
    }
    Region region =
        new Region(
            x,
            (mosaic.top() * token - fit.top()) * rowScale,
            width,
            mosaic.rows() * token * rowScale);
    return new View(0, 0, mosaic.packedRows(), mosaic.packedColumns() + rowEnds, region, rowEnds);
  }

  private int rowEnds() {
    return packing.rowEnd() == RowEnd.PRESENT ? 1 : 0;
  }
}
