package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.AnyResolution.Canvas;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AnyResolutionTest {
  private static final Path REFERENCE = Path.of("src/test/resources/golden/anyres.json");
  private static final List<List<Integer>> NEXT_PINPOINTS =
      List.of(
          List.of(336, 672),
          List.of(672, 336),
          List.of(672, 672),
          List.of(1008, 336),
          List.of(336, 1008));
  private static final Normalization SIGLIP =
      new Normalization(List.of(0.5, 0.5, 0.5), List.of(0.5, 0.5, 0.5), 1 / 255.0);

  private static final AnyResolution NEXT = next(Convention.TRANSFORMERS);
  private static final AnyResolution ORIGINAL = next(Convention.ORIGINAL);

  /** The rule of a published model, by its name in the reference file. */
  private static AnyResolution rule(String reference) {
    return switch (reference) {
      case "next" -> next(Convention.TRANSFORMERS);
      case "next-original" -> next(Convention.ORIGINAL);
      case "onevision" -> onevision();
      case "hd-336" -> hd(336, RowEnd.PRESENT);
      case "hd-224" -> hd(224, RowEnd.PRESENT);
      default -> throw new IllegalArgumentException("No rule " + reference);
    };
  }

  private static AnyResolution next(Convention convention) {
    Packing packing = new Packing(convention, RowEnd.PRESENT, Packing.UNLIMITED);
    return new AnyResolution(
        "anyres", convention.canvases(NEXT_PINPOINTS), 336, 14, Normalization.CLIP, packing);
  }

  private static AnyResolution onWideCanvas(Convention convention) {
    return new AnyResolution(
        "anyres",
        List.of(new Canvas(672, 336)),
        336,
        14,
        Normalization.CLIP,
        new Packing(convention, RowEnd.PRESENT, Packing.UNLIMITED));
  }

  private static AnyResolution onevision() {
    List<List<Integer>> pinpoints = new ArrayList<>();
    for (int rows = 1; rows <= 6; rows++) {
      for (int columns = 1; columns <= 6; columns++) {
        pinpoints.add(List.of(rows * 384, columns * 384));
      }
    }
    return new AnyResolution(
        "anyres",
        Convention.TRANSFORMERS.canvases(pinpoints),
        384,
        14,
        SIGLIP,
        new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, 9));
  }

  private static AnyResolution hd(int tileSize, RowEnd rowEnd) {
    return new AnyResolution(
        "hd",
        AnyResolution.upToSixTiles(tileSize),
        tileSize,
        14,
        Normalization.CLIP,
        new Packing(Convention.ORIGINAL, rowEnd, Packing.UNLIMITED));
  }

  @ParameterizedTest
  @ValueSource(strings = {"next", "next-original", "onevision", "hd-336", "hd-224"})
  void makesThePixelsOfTheReferenceBitForBit(String name) throws IOException {
    AnyResolution rule = rule(name);
    JsonNode images = reference(name).get("images");
    for (JsonNode image : images) {
      int width = image.get("width").asInt();
      int height = image.get("height").asInt();
      String size = width + " x " + height;

      PixelValues values = rule.apply(SyntheticImage.of(width, height));

      assertThat(values.views()).as(size).isEqualTo(image.get("views").asInt());
      assertThat(sum(values.data())).as(size).isCloseTo(image.get("sum").asDouble(), within(1e-2));
      assertThat(crc(values.data())).as(size).isEqualTo(image.get("crc").asText());
      assertThat(values.grid().tokens()).as(size).isEqualTo(image.get("image_tokens").asInt());
      if (values.views() > 1) {
        assertThat(numbers(Objects.requireNonNull(values.mosaic())))
            .as(size)
            .isEqualTo(ints(image.get("mosaic")));
      }
    }
    assertThat(images).hasSizeGreaterThanOrEqualTo(40);
  }

  @ParameterizedTest
  @ValueSource(strings = {"next", "next-original", "onevision", "hd-336", "hd-224"})
  void laysOutTenThousandSizesAsTheReferenceDoes(String name) throws IOException {
    AnyResolution rule = rule(name);
    JsonNode sweep = new ObjectMapper().readTree(REFERENCE.toFile()).get("sweep");
    int start = sweep.get("start").asInt();
    int stop = sweep.get("stop").asInt();
    int step = sweep.get("step").asInt();
    List<String> layouts = new ArrayList<>();
    for (int width = start; width < stop; width += step) {
      CRC32 crc = new CRC32();
      for (int height = start; height < stop; height += step) {
        ByteBuffer numbers = ByteBuffer.allocate(32).order(ByteOrder.LITTLE_ENDIAN);
        numbers(rule.mosaic(width, height)).forEach(numbers::putInt);
        crc.update(numbers.array());
      }
      layouts.add("%08x".formatted(crc.getValue()));
    }
    List<String> expectedLayouts = new ArrayList<>();
    reference(name).get("sweep").forEach(text -> expectedLayouts.add(text.asText()));
    assertThat(layouts).hasSize(100).isEqualTo(expectedLayouts);
  }

  @ParameterizedTest
  @CsvSource({
    "640, 480, 2340",
    "333, 517, 1526",
    "336, 336, 1176",
    "1920, 1080, 1948",
    "1024, 899, 2634",
    "899, 1024, 2640",
    "900, 200, 1744",
    "200, 900, 1800",
    "672, 672, 2928"
  })
  void countsTheImageTokensOfLlavaNext(int width, int height, int tokens) {
    PixelValues values = NEXT.apply(SyntheticImage.of(width, height));
    assertThat(values.grid().tokens()).isEqualTo(tokens);
  }

  @Test
  void roundsOrTruncatesTheKeptWindowByConvention() {
    // 55 * (48 / 176) is 14.999999999999998 in floating point: 15 leave 16, 14 leave 14 of 24 rows.
    assertThat(onWideCanvas(Convention.TRANSFORMERS).mosaic(176, 55).rows()).isEqualTo(16);
    assertThat(onWideCanvas(Convention.ORIGINAL).mosaic(176, 55).rows()).isEqualTo(14);
  }

  @Test
  void readsTheListOfSizesByConvention() {
    // All canvases keep all of a small image, and the two halves waste the same.
    assertThat(NEXT.mosaic(200, 100).tileColumns()).isEqualTo(2);
    assertThat(ORIGINAL.mosaic(200, 100).tileRows()).isEqualTo(2);
  }

  @Test
  void mapsTokensOfTilesToTheImage() {
    // 640 x 480 fits into 672 x 672 as 672 x 504 with 84 rows of padding above: six rows of tokens.
    ImageGrid grid = NEXT.apply(SyntheticImage.of(640, 480)).grid();
    View whole = grid.views().get(0);
    View window = grid.views().get(1);
    assertThat(whole.tokens()).isEqualTo(576);
    requireRegion(whole.region(), 0, 0, 640, 480);
    double token = 640 / 48.0;
    assertThat(List.of(window.rows(), window.columns(), window.rowEnds()))
        .containsExactly(36, 49, 1);
    requireRegion(window.region(), 0, 0, 640 + token, 480);
    requireRegion(grid.token(576), 0, 0, token, token);
    requireRegion(grid.token(576 + 48), 640, 0, token, token);
    assertThat(grid.endsRow(576 + 47)).isFalse();
    assertThat(grid.endsRow(576 + 48)).isTrue();
    assertThat(grid.endsRow(575)).isFalse();
  }

  @Test
  void countsTokensThatEndRowsAsBackground() throws RowFailedException {
    RgbImage image = SyntheticImage.of(640, 480);
    byte[] samples = new byte[image.samples().length];
    Arrays.fill(samples, (byte) 1);
    float[] shares = NEXT.apply(image).grid().backgroundShare(new RgbImage(640, 480, samples));
    for (int position = 0; position < shares.length; position++) {
      boolean endsRow = position >= 576 && (position - 576) % 49 == 48;
      assertThat(shares[position]).as("%d", position).isCloseTo(endsRow ? 1 : 0, within(1e-6f));
    }
  }

  @Test
  void keepsNoTileOfAnImageThatIsTooWide() {
    PixelValues values = NEXT.apply(SyntheticImage.of(2000, 10));
    assertThat(values.views()).isEqualTo(1);
    assertThat(values.mosaic()).isNull();
    assertThat(values.grid().tokens()).isEqualTo(576);
  }

  /** The reference keeps no column, and still ends every row. */
  @Test
  void keepsOnlyRowEndsOfAnImageThatIsTooHigh() throws RowFailedException {
    RgbImage image = SyntheticImage.of(10, 2000);
    PixelValues values = NEXT.apply(image);
    assertThat(values.grid().tokens()).isEqualTo(576 + 72);
    assertThat(values.mosaic()).isEqualTo(new Mosaic(3, 1, 0, 12, 72, 0));
    byte[] samples = new byte[image.samples().length];
    Arrays.fill(samples, (byte) 1);
    float[] shares = values.grid().backgroundShare(new RgbImage(10, 2000, samples));
    assertThat(IntStream.range(576, 648).mapToDouble(i -> shares[i])).containsOnly(1.0);
    assertThat(values.grid().token(576).x()).isEqualTo(10);
  }

  @Test
  void makesTheWindowSmallerWhenItHoldsMoreThanNineTiles() {
    // All 36 tiles' worth of 27 x 27 tokens is kept; the square root of 36 / 9 is 2.
    assertThat(onevision().mosaic(2304, 2304)).isEqualTo(new Mosaic(6, 6, 0, 0, 162, 162, 81, 81));
  }

  @Test
  void leavesRowEndsOutOfAModelThatHasNone() {
    RgbImage image = SyntheticImage.of(640, 480);
    PixelValues without = hd(336, RowEnd.ABSENT).apply(image);
    PixelValues with = hd(336, RowEnd.PRESENT).apply(image);
    assertThat(without.data()).isEqualTo(with.data());
    assertThat(without.mosaic()).isEqualTo(with.mosaic());
    assertThat(with.grid().tokens() - without.grid().tokens()).isEqualTo(36);
    requireRegion(without.grid().views().get(1).region(), 0, 0, 640, 480);
  }

  @Test
  void hasFourteenCanvasesOfUpToSixTiles() {
    List<Canvas> canvases = AnyResolution.upToSixTiles(224);
    assertThat(canvases).hasSize(14).doesNotHaveDuplicates();
    assertThat(canvases)
        .contains(new Canvas(224, 224), new Canvas(672, 448), new Canvas(224, 1344))
        .doesNotContain(new Canvas(672, 672));
  }

  @Test
  void refusesCanvasesThatTilesDoNotFill() {
    Packing packing = new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, Packing.UNLIMITED);
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new AnyResolution(
                    "anyres", List.of(new Canvas(672, 400)), 336, 14, Normalization.CLIP, packing))
        .withMessage("Canvas must be made of whole tiles of 336 pixels, not 672 wide and 400 high");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Convention.ORIGINAL.canvases(List.of(List.of(1, 2, 3))))
        .withMessage("Grid pinpoint must be a pair of numbers, not [1, 2, 3]");
  }

  private static JsonNode reference(String name) throws IOException {
    for (JsonNode candidate : new ObjectMapper().readTree(REFERENCE.toFile()).get("rules")) {
      if (candidate.get("name").asText().equals(name)) {
        return candidate;
      }
    }
    throw new IllegalArgumentException("No rule " + name);
  }

  private static List<Integer> numbers(Mosaic mosaic) {
    return List.of(
        mosaic.tileRows(),
        mosaic.tileColumns(),
        mosaic.top(),
        mosaic.left(),
        mosaic.rows(),
        mosaic.columns(),
        mosaic.packedRows(),
        mosaic.packedColumns());
  }

  private static List<Integer> ints(JsonNode array) {
    return IntStream.range(0, array.size()).mapToObj(i -> array.get(i).asInt()).toList();
  }

  private static double sum(float[] data) {
    double sum = 0;
    for (float value : data) {
      sum += value;
    }
    return sum;
  }

  private static String crc(float[] data) {
    ByteBuffer bytes = ByteBuffer.allocate(data.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(data);
    CRC32 crc = new CRC32();
    crc.update(bytes.array());
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
