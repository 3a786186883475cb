package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SmartResizeTest {
  /** The limits of the published checkpoints' {@code preprocessor_config.json}. */
  private static final SmartResize PUBLISHED = rule(3136, 12_845_056);

  private static final Offset<Float> VALUE = within(1e-5f);

  @ParameterizedTest
  @CsvSource({
    "480, 640, 476, 644, 391",
    "517, 333, 504, 336, 216",
    "28, 28, 56, 56, 4",
    "42, 70, 56, 56, 4",
    "20, 1000, 28, 1008, 36",
    "1080, 1920, 1092, 1932, 2691",
    "3000, 4000, 2996, 4004, 15301",
    "6000, 8000, 3080, 4116, 16170"
  })
  void choosesTheSizeThatTransformersChooses(
      int height, int width, int resizedHeight, int resizedWidth, int tokens) {
    requireGrid(PUBLISHED.grid(width, height), resizedHeight, resizedWidth, tokens);
  }

  @ParameterizedTest
  @CsvSource({
    "480, 640, 476, 644, 391",
    "517, 333, 560, 364, 260",
    "28, 28, 448, 448, 256",
    "42, 70, 364, 588, 273",
    "20, 1000, 84, 3192, 342",
    "1080, 1920, 728, 1316, 1222",
    "3000, 4000, 840, 1148, 1230",
    "6000, 8000, 840, 1148, 1230"
  })
  void staysWithinLimitsOfItsOwn(
      int height, int width, int resizedHeight, int resizedWidth, int tokens) {
    SmartResize rule = rule(256 * 28 * 28, 1280 * 28 * 28);
    requireGrid(rule.grid(width, height), resizedHeight, resizedWidth, tokens);
  }

  private static void requireGrid(
      SmartResize.Grid grid, int resizedHeight, int resizedWidth, int tokens) {
    assertThat(grid.rows() * 28).isEqualTo(resizedHeight);
    assertThat(grid.columns() * 28).isEqualTo(resizedWidth);
    assertThat(grid.rows() * grid.columns()).isEqualTo(tokens);
  }

  /** The sums are over patches as transformers lays them out, which holds every frame twice. */
  @ParameterizedTest
  @CsvSource({
    "640, 480, 1564, 345866.7249, 1644683.7730, -1.792263, -1.690073, -1.587885,  0.324509, -0.228854",
    "333, 517,  864, 190688.2773,  907223.8677, -1.792263, -1.690073, -1.587885, -1.310514,  1.363793"
  })
  void makesThePatchesOfTransformers(
      int width,
      int height,
      int patches,
      double sum,
      double absoluteSum,
      float first,
      float second,
      float third,
      float middle,
      float last)
      throws RowFailedException {
    float[] data = patches(PUBLISHED.apply(SyntheticImage.of(width, height)));
    assertThat(data).hasSize(patches * 1176);
    double actualSum = 0;
    double actualAbsoluteSum = 0;
    for (float value : data) {
      actualSum += value;
      actualAbsoluteSum += Math.abs(value);
    }
    assertThat(actualSum).isCloseTo(sum, within(1e-2));
    assertThat(actualAbsoluteSum).isCloseTo(absoluteSum, within(absoluteSum * 1e-6));
    assertThat(data[0]).isCloseTo(first, VALUE);
    assertThat(data[1]).isCloseTo(second, VALUE);
    assertThat(data[2]).isCloseTo(third, VALUE);
    assertThat(data[data.length / 2]).isCloseTo(middle, VALUE);
    assertThat(data[data.length - 1]).isCloseTo(last, VALUE);
  }

  /**
   * Checksums of float32 {@code [channel, height, width]} that Qwen2VLImageProcessor of
   * transformers 4.57.6 made, with rows resized before columns.
   */
  @ParameterizedTest
  @CsvSource({
    "   1,    1,   3136, 12845056,   56,   56, e77d01b8",
    " 200,    1,   3136, 12845056,  812,   28, 744d98a4",
    "   1,  200,   3136,  1003520,   28,  812, f10c73d5",
    "   3,  600,   3136,  1003520,   28,  812, 622cdb35",
    "  13,  700,   3136,  1003520,   28,  420, 0fc5f00b",
    "  28,   28,   3136, 12845056,   56,   56, 7591af68",
    "  70,   42,   3136, 12845056,   56,   56, 28e23c74",
    " 333,  517, 200704,  1003520,  364,  560, 6c5c35a7",
    " 333,  517,   3136, 12845056,  336,  504, 3f9e6fc5",
    " 449,   29,   3136,     3136,  196,   28, b966557f",
    " 640,  480,   3136, 12845056,  644,  476, 517c9582",
    "1000,   20,   3136, 12845056, 1008,   28, fc089053",
    "1000,   20, 200704,  1003520, 3192,   84, eb63c829",
    "5000,   26,   3136,   100352, 4368,   28, 293b027a",
    "  26, 5000,   3136,   100352,   28, 4368, c2f7ac0e",
    "8200,   41,   3136, 12845056, 8204,   28, 369f7267",
    "  41, 8200,   3136, 12845056,   28, 8204, bfdccec3",
    "1920, 1080, 200704,  1003520, 1316,  728, 12fd3871",
    "2000, 3000,   3136,  1003520,  812, 1204, e49ea6da"
  })
  void agreesWithTransformersInEveryBit(
      int width,
      int height,
      int minPixels,
      int maxPixels,
      int resizedWidth,
      int resizedHeight,
      String crc)
      throws RowFailedException {
    PixelValues values = rule(minPixels, maxPixels).apply(SyntheticImage.of(width, height));
    assertThat(values.views()).isEqualTo(1);
    assertThat(values.width()).isEqualTo(resizedWidth);
    assertThat(values.height()).isEqualTo(resizedHeight);
    ByteBuffer bytes =
        ByteBuffer.allocate(values.data().length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values.data());
    CRC32 actual = new CRC32();
    actual.update(bytes);
    assertThat("%08x".formatted(actual.getValue())).isEqualTo(crc);
  }

  @Test
  void mapsTokensToAllOfTheImage() throws RowFailedException {
    ImageGrid grid = PUBLISHED.apply(SyntheticImage.of(333, 517)).grid();
    assertThat(grid.views()).containsExactly(new View(0, 0, 18, 12, new Region(0, 0, 333, 517)));
    Region second = grid.token(13);
    assertThat(second.x()).isCloseTo(333 / 12.0, within(1e-9));
    assertThat(second.y()).isCloseTo(517 / 18.0, within(1e-9));
  }

  @Test
  void refusesAnImageLongerThanTwoHundredTimesItsWidth() throws RowFailedException {
    assertThat(PUBLISHED.apply(SyntheticImage.of(400, 2)).grid().tokens()).isEqualTo(29);
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> PUBLISHED.apply(SyntheticImage.of(401, 2)))
        .withMessage(
            "Cannot use the image: it is 401 x 2, and its longer edge may be at most 200 times the"
                + " shorter")
        .satisfies(
            failed -> assertThat(failed.failure().kind()).isEqualTo(FailureKind.UNSUPPORTED_INPUT));
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> PUBLISHED.apply(SyntheticImage.of(1, 201)));
  }

  @Test
  void refusesLimitsThatLeaveNothing() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> rule(0, 100))
        .withMessage("Minimum of pixels must be above 0, not 0");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> rule(101, 100))
        .withMessage("Maximum of pixels must not be below the minimum 101, not 100");
  }

  private static SmartResize rule(int minPixels, int maxPixels) {
    return new SmartResize(28, minPixels, maxPixels, Normalization.CLIP);
  }

  /** {@code [patch, channel * frame * row * column]}, four patches of a token after one another. */
  private static float[] patches(PixelValues values) {
    int width = values.width();
    int plane = values.height() * width;
    float[] patches = new float[values.data().length * 2];
    int to = 0;
    for (int blockTop = 0; blockTop < values.height(); blockTop += 28) {
      for (int blockLeft = 0; blockLeft < width; blockLeft += 28) {
        for (int inBlock = 0; inBlock < 4; inBlock++) {
          int corner = (blockTop + inBlock / 2 * 14) * width + blockLeft + inBlock % 2 * 14;
          for (int channelAndFrame = 0; channelAndFrame < 6; channelAndFrame++) {
            for (int row = 0; row < 14; row++) {
              int from = channelAndFrame / 2 * plane + corner + row * width;
              System.arraycopy(values.data(), from, patches, to, 14);
              to += 14;
            }
          }
        }
      }
    }
    return patches;
  }
}
