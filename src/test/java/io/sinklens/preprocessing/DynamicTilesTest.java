package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.preprocessing.DynamicTiles.Grid;
import io.sinklens.preprocessing.DynamicTiles.Thumbnail;
import io.sinklens.preprocessing.DynamicTiles.Tiling;
import io.sinklens.preprocessing.DynamicTiles.TokenOrder;
import io.sinklens.preprocessing.ImageGrid.Region;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DynamicTilesTest {

  // Made with the slow GotOcr2ImageProcessor of transformers 4.57.6 and with the tiling written out
  // in Pillow, which agreed in every bit, resizing rows before columns as Pillow did up to 12.
  @ParameterizedTest
  @CsvSource({
    " 640,  480, 12,  4,  3, 13, 43642f3a, 1776402.4446, 8313868.3635",
    " 333,  517, 12,  2,  3,  7, 93c9bd06,  954500.5512, 4478246.1524",
    " 640,  480,  6,  3,  2,  7, 316e7eba,  956525.8908, 4469320.3183",
    "   1,  700, 12,  1, 12, 13, 820e1f6a, 1780371.1556, 8523699.4799",
    " 700,    1, 12, 12,  1, 13, d3f0de31, 1730946.8522, 8640488.7774",
    "  50, 5000, 12,  1, 12, 13, d7b90d0e, 1773053.8997, 7906137.8716",
    "5000,   50, 12, 12,  1, 13, 7fe7e3d8, 1773204.2268, 8161866.8373",
    "6000,  200, 12, 12,  1, 13, 6ac53818, 1773648.8466, 8067437.6614",
    "   1,    1, 12,  1,  1,  1, 44085cc1, -554700.4506,  683920.6163",
    " 100,  100, 12,  1,  1,  1, 527b7134,  135565.0074,  640888.1599",
    " 449,  448, 12,  1,  1,  1, e0a5b273,  136677.0567,  658521.2942",
    " 896,  896, 12,  2,  2,  5, 73673406,  683459.0397, 3308865.6850",
    "1000, 1000,  6,  2,  2,  5, f80f4c5b,  682156.0326, 3116648.4422",
    "1920, 1080,  6,  2,  1,  3, b271e57e,  409284.5658, 1741900.9059"
  })
  void agreesWithTheReferencesInEveryBit(
      int width,
      int height,
      int max,
      int columns,
      int rows,
      int views,
      String crc,
      double sum,
      double absoluteSum) {
    DynamicTiles rule = tiles(448, 28, 1, max);
    assertThat(rule.grid(width, height)).isEqualTo(new Grid(columns, rows));

    PixelValues values = rule.apply(SyntheticImage.of(width, height));

    assertThat(values.views()).isEqualTo(views);
    assertThat(new int[] {values.height(), values.width()}).containsOnly(448);
    assertThat(values.grid().tokens()).isEqualTo(256 * views);
    double actualSum = 0;
    double actualAbsoluteSum = 0;
    for (float value : values.data()) {
      actualSum += value;
      actualAbsoluteSum += Math.abs(value);
    }
    assertThat(actualSum).isCloseTo(sum, within(1e-3));
    assertThat(actualAbsoluteSum).isCloseTo(absoluteSum, within(1e-3));
    assertThat(crc(values.data())).isEqualTo(crc);
  }

  @ParameterizedTest
  @CsvSource({
    " 640,  480, 12, 4, 3, 3328",
    " 333,  517, 12, 2, 3, 1792",
    " 336,  336, 12, 1, 1,  256",
    " 448,  448, 12, 1, 1,  256",
    " 896,  896, 12, 2, 2, 1280",
    "1000, 1000, 12, 3, 3, 2560",
    "1920, 1080, 12, 4, 2, 2304",
    "4000, 3000, 12, 4, 3, 3328",
    " 900,  200, 12, 4, 1, 1280",
    " 200,  900, 12, 1, 5, 1536",
    " 640,  480,  6, 3, 2, 1792",
    " 333,  517,  6, 2, 3, 1792",
    " 336,  336,  6, 1, 1,  256",
    " 448,  448,  6, 1, 1,  256",
    " 896,  896,  6, 2, 2, 1280",
    "1000, 1000,  6, 2, 2, 1280",
    "1920, 1080,  6, 2, 1,  768",
    "4000, 3000,  6, 3, 2, 1792",
    " 900,  200,  6, 4, 1, 1280",
    " 200,  900,  6, 1, 5, 1536"
  })
  void choosesTheGridOfAnImage(int width, int height, int max, int columns, int rows, int tokens) {
    Grid grid = tiles(448, 28, 1, max).grid(width, height);
    assertThat(grid).isEqualTo(new Grid(columns, rows));
    assertThat(256 * (grid.tiles() + (grid.tiles() > 1 ? 1 : 0))).isEqualTo(tokens);
  }

  /** CRC-32 of columns and rows as bytes, for heights and in them widths from 1 to 160. */
  @ParameterizedTest
  @CsvSource({
    "1,  6, 7323cfe0",
    "1, 12, 499f256b",
    "1, 24, 4257ada3",
    "1, 40, 95cb95d5",
    "2,  9, 8545d846",
    "3,  8, 347b2f33",
    "4,  4, 7a9aa4de"
  })
  void choosesTheGridsOfTransformers(int min, int max, String crc) {
    DynamicTiles rule = tiles(56, 28, min, max);
    CRC32 actual = new CRC32();
    for (int height = 1; height <= 160; height++) {
      for (int width = 1; width <= 160; width++) {
        Grid grid = rule.grid(width, height);
        actual.update(grid.columns());
        actual.update(grid.rows());
      }
    }
    assertThat("%08x".formatted(actual.getValue())).isEqualTo(crc);
  }

  @Test
  void favoursTheLargerOfTwoEquallyGoodGridsWhenTheImageFillsHalfOfIt() {
    DynamicTiles rule = tiles(10, 10, 1, 4);
    // 2 x 2 tiles have 400 pixels; a square image has the aspect ratio of 1 x 1 and of 2 x 2.
    assertThat(rule.grid(14, 14)).isEqualTo(new Grid(1, 1)); // 196
    assertThat(rule.grid(15, 15)).isEqualTo(new Grid(2, 2)); // 225
    assertThat(tiles(20, 10, 1, 4).grid(28, 28)).isEqualTo(new Grid(1, 1)); // 784 of 1600
  }

  @Test
  void placesTilesRowByRowAndTheWholeLast() {
    ImageGrid grid = tiles(56, 28, 1, 12).apply(SyntheticImage.of(300, 200)).grid();
    assertThat(grid.views()).hasSize(7); // 3 columns, 2 rows and the whole
    assertThat(grid.tokens()).isEqualTo(28);
    requireRegion(grid.token(0), 0, 0, 50, 50);
    requireRegion(grid.token(1), 50, 0, 50, 50);
    requireRegion(grid.token(2), 0, 50, 50, 50);
    requireRegion(grid.token(4), 100, 0, 50, 50);
    requireRegion(grid.token(12), 0, 100, 50, 50);
    requireRegion(grid.token(24), 0, 0, 150, 100);
    requireRegion(grid.token(27), 150, 100, 150, 100);
  }

  @Test
  void placesTokensColumnByColumn() {
    DynamicTiles rule =
        new DynamicTiles(
            new Tiling(56, 1, 2, Thumbnail.WHERE_TILED),
            28,
            TokenOrder.COLUMN_BY_COLUMN,
            Exif.IGNORE,
            Normalization.IMAGENET);
    ImageGrid grid = rule.apply(SyntheticImage.of(200, 100)).grid();
    assertThat(grid.tokens()).isEqualTo(12);
    requireRegion(grid.token(0), 0, 0, 50, 50);
    requireRegion(grid.token(1), 0, 50, 50, 50);
    requireRegion(grid.token(2), 50, 0, 50, 50);
    requireRegion(grid.token(4), 100, 0, 50, 50);
    requireRegion(grid.token(9), 0, 50, 100, 50);
    requireRegion(grid.token(10), 100, 0, 100, 50);
  }

  @Test
  void leavesTheWholeOutWhereItIsNotWanted() {
    DynamicTiles rule =
        new DynamicTiles(
            new Tiling(56, 1, 6, Thumbnail.NEVER),
            28,
            TokenOrder.ROW_BY_ROW,
            Exif.IGNORE,
            Normalization.IMAGENET);
    PixelValues values = rule.apply(SyntheticImage.of(300, 200));
    PixelValues withWhole = tiles(56, 28, 1, 6).apply(SyntheticImage.of(300, 200));
    assertThat(values.views()).isEqualTo(6);
    assertThat(withWhole.views()).isEqualTo(7);
    assertThat(withWhole.data()).startsWith(values.data());
  }

  @Test
  void isNamedAfterTheMostTiles() {
    assertThat(tiles(448, 28, 1, 6).name()).isEqualTo("tiles-6");
  }

  @Test
  void refusesImpossibleTilings() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> tiles(0, 28, 1, 12))
        .withMessage("Tile size must be from 1 to 2048, not 0");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> tiles(448, 28, 0, 12))
        .withMessage("Fewest tiles must be above 0, not 0");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> tiles(448, 28, 3, 2))
        .withMessage("Most tiles must be from 3, the fewest, to 64, not 2");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> tiles(448, 30, 1, 12))
        .withMessage("Patch size must be a divisor of the tile size 448, not 30");
  }

  private static DynamicTiles tiles(int size, int patchSize, int min, int max) {
    return new DynamicTiles(
        new Tiling(size, min, max, Thumbnail.WHERE_TILED),
        patchSize,
        TokenOrder.ROW_BY_ROW,
        Exif.APPLY,
        Normalization.IMAGENET);
  }

  private static String crc(float[] values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return "%08x".formatted(crc.getValue());
  }

  private static void requireRegion(
      Region region, double x, double y, double width, double height) {
    assertThat(region.x()).isCloseTo(x, within(1e-9));
    assertThat(region.y()).isCloseTo(y, within(1e-9));
    assertThat(region.width()).isCloseTo(width, within(1e-9));
    assertThat(region.height()).isCloseTo(height, within(1e-9));
  }
}
