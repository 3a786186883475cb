package io.sinklens.preprocessing;

import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import io.sinklens.preprocessing.PillowResize.Axis;
import java.util.ArrayList;
import java.util.List;

/**
 * InternVL's rule: the image is stretched over a grid of square tiles and cut along it, and a
 * picture of the whole image follows where there is more than one tile. Nothing is lost but the
 * aspect ratio.
 *
 * <p>The grid is the one whose shape comes closest to the image's. Follows {@code
 * dynamic_preprocess} of the InternVL repository and {@code GotOcr2ImageProcessor} of transformers
 * 4.57 (slow, {@code crop_to_patches}), which give the same numbers.
 *
 * @param tiling how many tiles of what size there may be
 * @param patchSize pixels of the edges of the square behind one image token, above 0, a divisor of
 *     the tile size
 * @param tokenOrder in which order the image tokens of one tile follow each other
 * @param exif what the reference code that reads this layout does with a camera's orientation
 * @param normalization applied last
 */
public record DynamicTiles(
    Tiling tiling, int patchSize, TokenOrder tokenOrder, Exif exif, Normalization normalization)
    implements ImageRule {

  public DynamicTiles {
    if (patchSize < 1 || tiling.size() % patchSize != 0) {
      throw new IllegalArgumentException(
          "Patch size must be a divisor of the tile size %d, not %d"
              .formatted(tiling.size(), patchSize));
    }
  }

  /**
   * The tiles there may be.
   *
   * @param size pixels of a tile's edges, from 1 to 2048
   * @param min the fewest tiles, above 0
   * @param max the most tiles, from {@code min} to 64; the picture of the whole comes on top
   * @param thumbnail whether that picture follows
   */
  public record Tiling(int size, int min, int max, Thumbnail thumbnail) {
    /** More tiles than any published model takes. */
    public static final int MOST = 64;

    private static final int LARGEST = 2048;

    public Tiling {
      if (size < 1 || size > LARGEST) {
        throw new IllegalArgumentException(
            "Tile size must be from 1 to %d, not %d".formatted(LARGEST, size));
      }
      if (min < 1) {
        throw new IllegalArgumentException("Fewest tiles must be above 0, not " + min);
      }
      if (max < min || max > MOST) {
        throw new IllegalArgumentException(
            "Most tiles must be from %d, the fewest, to %d, not %d".formatted(min, MOST, max));
      }
    }
  }

  /** Whether a picture of the whole image follows its tiles. */
  public enum Thumbnail {
    /** Last, where there is more than one tile ({@code use_thumbnail}). */
    WHERE_TILED,
    NEVER
  }

  /** How the image tokens of one view follow each other. */
  public enum TokenOrder {
    ROW_BY_ROW,
    COLUMN_BY_COLUMN
  }

  /**
   * A grid of tiles.
   *
   * @param columns tiles in a row
   * @param rows rows of tiles
   */
  record Grid(int columns, int rows) {
    int tiles() {
      return columns * rows;
    }

    double aspectRatio() {
      return (double) columns / rows;
    }
  }

  /**
   * The grid for an image. Differences of aspect ratios are compared exactly; of two equal ones the
   * larger grid wins when the image has more than half of its pixels.
   */
  Grid grid(int width, int height) {
    double aspectRatio = (double) width / height;
    double smallest = Double.POSITIVE_INFINITY;
    Grid best = new Grid(1, 1);
    for (int tiles = tiling.min(); tiles <= tiling.max(); tiles++) {
      for (int columns = 1; columns <= tiles; columns++) {
        if (tiles % columns == 0) {
          Grid grid = new Grid(columns, tiles / columns);
          double difference = Math.abs(aspectRatio - grid.aspectRatio());
          if (difference < smallest || (difference == smallest && fills(width, height, tiles))) {
            smallest = difference;
            best = grid;
          }
        }
      }
    }
    return best;
  }

  private boolean fills(int width, int height, int tiles) {
    return (double) width * height > 0.5 * tiling.size() * tiling.size() * tiles;
  }

  @Override
  public PixelValues apply(RgbImage image) {
    Grid grid = grid(image.width(), image.height());
    boolean whole = tiling.thumbnail() == Thumbnail.WHERE_TILED && grid.tiles() > 1;
    int pictures = grid.tiles() + (whole ? 1 : 0);
    int size = tiling.size();
    float[] data = new float[pictures * RgbImage.CHANNELS * size * size];
    List<View> views = new ArrayList<>();
    for (int tile = 0; tile < grid.tiles(); tile++) {
      int row = tile / grid.columns();
      int column = tile % grid.columns();
      put(data, tile, window(image, grid, row, column));
      double width = (double) image.width() / grid.columns();
      double height = (double) image.height() / grid.rows();
      views.addAll(view(row, column, new Region(column * width, row * height, width, height)));
    }
    if (whole) {
      put(data, grid.tiles(), PillowResize.bicubic(image, size, size));
      views.addAll(view(0, 0, new Region(0, 0, image.width(), image.height())));
    }
    return new PixelValues(
        data, pictures, size, size, new ImageGrid(image.width(), image.height(), views));
  }

  /** One tile of the stretched image. */
  private RgbImage window(RgbImage image, Grid grid, int row, int column) {
    int size = tiling.size();
    int width = image.width();
    int height = image.height();
    return PillowResize.bicubic(
        image,
        new Axis(width, 0, width, (long) size * grid.columns(), (long) size * column, size),
        new Axis(height, 0, height, (long) size * grid.rows(), (long) size * row, size),
        new int[RgbImage.CHANNELS]);
  }

  private void put(float[] data, int picture, RgbImage pixels) {
    float[] values = normalization.apply(pixels);
    System.arraycopy(values, 0, data, picture * values.length, values.length);
  }

  /** A picture's tokens; a grid counts row by row, so that column by column each is a view. */
  private List<View> view(int row, int column, Region region) {
    int side = tiling.size() / patchSize;
    if (tokenOrder == TokenOrder.ROW_BY_ROW) {
      return List.of(new View(row, column, side, side, region));
    }
    List<View> views = new ArrayList<>();
    double width = region.width() / side;
    for (int i = 0; i < side; i++) {
      double x = region.x() + i * width;
      views.add(new View(row, column, side, 1, new Region(x, region.y(), width, region.height())));
    }
    return views;
  }

  /** The most tiles are in it, as in {@code tiles-12}. */
  @Override
  public String name() {
    return "tiles-" + tiling.max();
  }
}
