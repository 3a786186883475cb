package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.withPrecision;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import java.util.List;
import org.junit.jupiter.api.Test;

class ImageGridTest {

  @Test
  void countsBackgroundByArea() throws RowFailedException {
    // Two tokens of 1.5 x 2 pixels over an image of 3 x 2, whose first column is foreground.
    RgbImage mask = mask(3, 2, "x..", "x..");
    ImageGrid grid = grid(3, 2, 1, 2, new Region(0, 0, 3, 2));
    assertThat(grid.backgroundShare(mask))
        .containsExactly(new float[] {1 / 3f, 1}, withPrecision(1e-6f));
  }

  @Test
  void countsWhatLiesOutsideTheImageAsBackground() throws RowFailedException {
    // A square of 4 x 4 around an image of 4 x 2: tokens of 2 x 2, the image in the middle.
    RgbImage mask = mask(4, 2, "xxxx", "xxxx");
    ImageGrid grid = grid(4, 2, 2, 2, new Region(0, -1, 4, 4));
    assertThat(grid.backgroundShare(mask))
        .containsExactly(new float[] {0.5f, 0.5f, 0.5f, 0.5f}, withPrecision(1e-6f));
    ImageGrid beyond = grid(4, 2, 1, 1, new Region(10, 10, 4, 4));
    assertThat(beyond.backgroundShare(mask)).containsExactly(1f);
  }

  @Test
  void countsPositionsThroughAllViews() {
    View whole = new View(0, 0, 1, 1, new Region(0, 0, 8, 8));
    View right = new View(0, 1, 2, 2, new Region(4, 0, 4, 8));
    ImageGrid grid = new ImageGrid(8, 8, List.of(whole, right));
    assertThat(grid.tokens()).isEqualTo(5);
    assertThat(grid.token(0)).isEqualTo(new Region(0, 0, 8, 8));
    assertThat(grid.token(4)).isEqualTo(new Region(6, 4, 2, 4));
    assertThatExceptionOfType(IndexOutOfBoundsException.class)
        .isThrownBy(() -> grid.token(5))
        .withMessage("Image token must be in [0, 5), not 5");
  }

  @Test
  void countsTokensThatEndRowsAsBackground() throws RowFailedException {
    // Two rows of one token and one that ends the row, whose column lies half on the image.
    View view = new View(0, 0, 2, 2, new Region(0, 0, 4, 2), 1);
    ImageGrid grid = new ImageGrid(3, 2, List.of(view));
    assertThat(grid.backgroundShare(mask(3, 2, "xxx", "xxx"))).containsExactly(0, 1, 0, 1);
    assertThat(grid.endsRow(0)).isFalse();
    assertThat(grid.endsRow(3)).isTrue();
    assertThat(view.tokens()).isEqualTo(4);
  }

  @Test
  void refusesMoreRowEndsThanColumns() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new View(0, 0, 2, 2, new Region(0, 0, 4, 2), 3))
        .withMessage("Tokens that end a row must be from 0 to 2, not 3");
  }

  @Test
  void refusesAMaskOfAnotherSize() {
    ImageGrid grid = grid(3, 2, 1, 1, new Region(0, 0, 3, 2));
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> grid.backgroundShare(mask(2, 2, "..", "..")))
        .extracting(RowFailedException::failure)
        .isEqualTo(
            new Failure(
                FailureKind.UNSUPPORTED_INPUT,
                "Cannot use the mask: it is 2 x 2 but its image is 3 x 2"));
  }

  @Test
  void sharesOfAWholeImageAddUpToItsBackground() throws RowFailedException {
    RgbImage image = SyntheticImage.of(97, 61);
    byte[] samples = new byte[97 * 61 * 3];
    int background = 0;
    for (int i = 0; i < 97 * 61; i++) {
      boolean isBackground = image.samples()[i * 3] < 0;
      samples[i * 3 + 2] = (byte) (isBackground ? 0 : 9);
      background += isBackground ? 1 : 0;
    }
    ImageGrid grid = grid(97, 61, 24, 24, new Region(0, 0, 97, 61));
    double sum = 0;
    for (float share : grid.backgroundShare(new RgbImage(97, 61, samples))) {
      sum += share;
    }
    assertThat(sum * 97 * 61 / 576).isCloseTo(background, within(1e-2));
  }

  private static ImageGrid grid(int width, int height, int rows, int columns, Region region) {
    return new ImageGrid(width, height, List.of(new View(0, 0, rows, columns, region)));
  }

  private static RgbImage mask(int width, int height, String... rows) {
    byte[] samples = new byte[width * height * RgbImage.CHANNELS];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        samples[(y * width + x) * RgbImage.CHANNELS + 1] =
            (byte) (rows[y].charAt(x) == 'x' ? 1 : 0);
      }
    }
    return new RgbImage(width, height, samples);
  }
}
