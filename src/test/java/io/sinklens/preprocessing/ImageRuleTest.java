package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.ImageRule.Stretch;
import java.util.Arrays;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageRuleTest {
  private static final ImageRule CROP = new ResizeAndCrop(336, 336, 14, Normalization.CLIP);
  private static final ImageRule PAD = new PadToSquare(336, 14, Normalization.CLIP);
  private static final ImageRule STRETCH = new Stretch(336, 14, Normalization.CLIP);
  private static final Offset<Float> VALUE = within(1e-5f);

  // Made with the Pillow image processors of transformers 5.18.0 and Pillow 12.3.0.
  @ParameterizedTest
  @CsvSource({
    "640, 480, 63631.9594, 290729.3033, -0.916357, -0.784971, -0.624388,  0.889270, -1.153158",
    "333, 517, 63774.8287, 304045.7024,  0.587281,  1.127423,  1.200415, -0.446421, -0.897197"
  })
  void cropsAsTransformersDoes(
      int width,
      int height,
      double sum,
      double absoluteSum,
      float first,
      float second,
      float third,
      float middle,
      float last)
      throws RowFailedException {
    float[] data = CROP.apply(SyntheticImage.of(width, height)).data();
    requireValues(data, sum, absoluteSum, first, second, third, middle, last);
  }

  // Made with CLIPImageProcessor of transformers 4.57.6, size {height: 336, width: 336}, no crop,
  // Pillow 13.0.0.
  @ParameterizedTest
  @CsvSource({
    "640, 480, 63692.7992, 287744.3642, -1.690073, -1.500294, -1.295916, 0.153889, -0.356835",
    "517, 333, 63656.1617, 295259.5584, -1.763066, -1.617081, -1.441900, 1.009332, 0.240408"
  })
  void stretchesAsTransformersDoes(
      int width,
      int height,
      double sum,
      double absoluteSum,
      float first,
      float second,
      float third,
      float middle,
      float last)
      throws RowFailedException {
    float[] data = STRETCH.apply(SyntheticImage.of(width, height)).data();
    requireValues(data, sum, absoluteSum, first, second, third, middle, last);
  }

  // The original code's padding, then the processor above.
  @ParameterizedTest
  @CsvSource({
    "640, 480, 47101.5326, 212914.4932, -0.011255, 0.198913, -0.001333",
    "333, 517, 39996.1032, 186986.1164, -0.011255, -0.011196, -0.001333"
  })
  void padsAsTheOriginalLlavaDoes(
      int width, int height, double sum, double absoluteSum, float first, float middle, float last)
      throws RowFailedException {
    float[] data = PAD.apply(SyntheticImage.of(width, height)).data();
    requireValues(data, sum, absoluteSum, first, first, first, middle, last);
  }

  // VILA's code before SiglipImageProcessor of transformers 4.57.6, Pillow 13.0.0; stretched in two
  // steps, rows before columns, as earlier versions of Pillow do it in one.
  @ParameterizedTest
  @CsvSource({
    "stretch, 640, 480, 53.9368, 200700.7600, -0.968627, -0.027451, -0.364706",
    "stretch, 333, 517, -26.8398, 204664.4697, -0.976471, -0.262745, 0.560784",
    "stretch, 100, 1, 3243.6777, 213347.3952, -1.000000, -0.529412, -0.623529",
    "stretch, 1000, 7, 517.8350, 198449.4031, -0.968627, -0.145098, -0.725490",
    "stretch, 3, 90, 2806.5249, 207288.3912, -1.000000, -0.011765, -0.701961",
    "pad, 640, 480, -393.1707, 148593.3466, -0.003922, -0.011765, -0.003922",
    "pad, 333, 517, -618.0030, 130613.5653, -0.003922, -0.003922, -0.003922",
    "pad, 100, 1, -1684.9485, 4166.7140, -0.003922, -0.207843, -0.003922",
    "pad, 1000, 7, -1718.4154, 3077.4902, -0.003922, 0.050980, -0.003922",
    "pad, 3, 90, -1567.8581, 8937.4200, -0.003922, -0.003922, -0.003922"
  })
  void makesImagesSquareAsVilaDoes(
      String name,
      int width,
      int height,
      double sum,
      double absoluteSum,
      float first,
      float middle,
      float last)
      throws RowFailedException {
    ImageRule rule =
        name.equals("pad")
            ? new PadToSquare(384, 14, Normalization.SIGLIP)
            : new Stretch(384, 14, Normalization.SIGLIP);
    float[] data = rule.apply(SyntheticImage.of(width, height)).data();
    assertThat(data).hasSize(3 * 384 * 384);
    requireSums(data, sum, absoluteSum);
    assertThat(data[0]).isCloseTo(first, VALUE);
    assertThat(data[data.length / 2]).isCloseTo(middle, VALUE);
    assertThat(data[data.length - 1]).isCloseTo(last, VALUE);
  }

  private static void requireValues(
      float[] data,
      double sum,
      double absoluteSum,
      float first,
      float second,
      float third,
      float middle,
      float last) {
    assertThat(data).hasSize(3 * 336 * 336);
    requireSums(data, sum, absoluteSum);
    assertThat(data[0]).isCloseTo(first, VALUE);
    assertThat(data[1]).isCloseTo(second, VALUE);
    assertThat(data[2]).isCloseTo(third, VALUE);
    assertThat(data[data.length / 2]).isCloseTo(middle, VALUE);
    assertThat(data[data.length - 1]).isCloseTo(last, VALUE);
  }

  private static void requireSums(float[] data, double sum, double absoluteSum) {
    double actualSum = 0;
    double actualAbsoluteSum = 0;
    for (float value : data) {
      actualSum += value;
      actualAbsoluteSum += Math.abs(value);
    }
    assertThat(actualSum).isCloseTo(sum, within(1e-2));
    assertThat(actualAbsoluteSum).isCloseTo(absoluteSum, within(absoluteSum * 1e-6));
  }

  @Test
  void mapsCroppedTokensToTheMiddleOfTheImage() throws RowFailedException {
    // 640 x 480 becomes 448 x 336; 56 columns go on either side, 80 in the original.
    ImageGrid grid = CROP.apply(SyntheticImage.of(640, 480)).grid();
    assertThat(grid.tokens()).isEqualTo(576);
    requireRegion(grid.views().get(0).region(), 80, 0, 480, 480);
    requireRegion(grid.token(0), 80, 0, 20, 20);
    requireRegion(grid.token(25), 100, 20, 20, 20);
    requireRegion(grid.token(575), 540, 460, 20, 20);
  }

  @Test
  void mapsPaddedTokensBeyondTheImage() throws RowFailedException {
    ImageGrid grid = PAD.apply(SyntheticImage.of(640, 481)).grid();
    // (640 - 481) / 2 = 79 rows above.
    requireRegion(grid.views().get(0).region(), 0, -79, 640, 640);
    requireRegion(grid.token(0), 0, -79, 640 / 24.0, 640 / 24.0);
  }

  @Test
  void leavesPixelsThatFillNoPatchToNoToken() throws RowFailedException {
    RgbImage image = SyntheticImage.of(768, 384);
    // 27 patches of 14 pixels are 378 of 384.
    ImageGrid stretched = new Stretch(384, 14, Normalization.SIGLIP).apply(image).grid();
    requireRegion(stretched.views().get(0).region(), 0, 0, 756, 378);
    requireRegion(stretched.token(28), 28, 14, 28, 14);
    ImageGrid padded = new PadToSquare(384, 14, Normalization.SIGLIP).apply(image).grid();
    requireRegion(padded.views().get(0).region(), 0, -192, 756, 756);
    requireRegion(padded.token(28), 28, -164, 28, 28);
  }

  @Test
  void mapsStretchedTokensToAllOfTheImage() throws RowFailedException {
    ImageGrid grid = STRETCH.apply(SyntheticImage.of(480, 240)).grid();
    assertThat(grid.tokens()).isEqualTo(576);
    requireRegion(grid.views().get(0).region(), 0, 0, 480, 240);
    requireRegion(grid.token(25), 20, 10, 20, 10);
    requireRegion(grid.token(575), 460, 230, 20, 10);
  }

  private static void requireRegion(
      Region region, double x, double y, double width, double height) {
    assertThat(region.x()).isCloseTo(x, within(1e-9));
    assertThat(region.y()).isCloseTo(y, within(1e-9));
    assertThat(region.width()).isCloseTo(width, within(1e-9));
    assertThat(region.height()).isCloseTo(height, within(1e-9));
  }

  @Test
  void padsWithBlackWhereTheCropIsLargerThanTheImage() throws RowFailedException {
    ImageRule rule = new ResizeAndCrop(2, 5, 1, plain());
    PixelValues values = rule.apply(new RgbImage(2, 2, filled(2 * 2, 255)));
    // floor((2 - 5) / 2) = -2: two black rows and columns before, one after.
    assertThat(channel(values))
        .containsExactly(
            0, 0, 0, 0, 0, //
            0, 0, 0, 0, 0, //
            0, 0, 1, 1, 0, //
            0, 0, 1, 1, 0, //
            0, 0, 0, 0, 0);
    requireRegion(values.grid().views().get(0).region(), -2, -2, 5, 5);
  }

  @Test
  void leavesPixelsOfAnImageOfTheRightSizeAlone() throws RowFailedException {
    RgbImage image = SyntheticImage.of(28, 28);
    float[] cropped = new ResizeAndCrop(28, 28, 14, plain()).apply(image).data();
    float[] padded = new PadToSquare(28, 14, plain()).apply(image).data();
    assertThat(cropped).isEqualTo(padded);
    assertThat(new Stretch(28, 14, plain()).apply(image).data()).isEqualTo(padded);
    assertThat(cropped[28 + 2]).isEqualTo(image.sample(2, 1, 0) / 255f);
  }

  @Test
  void takesLongAndNarrowImages() throws RowFailedException {
    RgbImage line = new RgbImage(200_000, 1, filled(200_000, 7));
    assertThat(CROP.apply(line).data()).hasSize(3 * 336 * 336).doesNotContain(Float.NaN);
    assertThat(PAD.apply(line).data()).hasSize(3 * 336 * 336).doesNotContain(Float.NaN);
    RgbImage column = new RgbImage(1, 200_000, filled(200_000, 7));
    assertThat(CROP.apply(column).data()).hasSize(3 * 336 * 336).doesNotContain(Float.NaN);
    assertThat(PAD.apply(column).data()).hasSize(3 * 336 * 336).doesNotContain(Float.NaN);
  }

  @Test
  void takesOnePixel() throws RowFailedException {
    RgbImage pixel = new RgbImage(1, 1, filled(1, 51));
    assertThat(new ResizeAndCrop(4, 4, 2, plain()).apply(pixel).data()).containsOnly(0.2f);
    assertThat(new PadToSquare(4, 2, plain()).apply(pixel).data()).containsOnly(0.2f);
  }

  @Test
  void refusesSizesThatPatchesDoNotFill() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new ResizeAndCrop(100, 100, 14, Normalization.CLIP))
        .withMessage("Image size must be a multiple of the patch size 14, not 100");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new PadToSquare(13, 14, Normalization.CLIP))
        .withMessage("Image size must be at least the patch size 14, not 13");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Stretch(13, 14, Normalization.CLIP))
        .withMessage("Image size must be at least the patch size 14, not 13");
  }

  private static Normalization plain() {
    return new Normalization(
        Normalization.CLIP.mean().stream().map(mean -> 0.0).toList(),
        Normalization.CLIP.mean().stream().map(mean -> 1.0).toList(),
        1 / 255.0);
  }

  private static byte[] filled(int pixels, int level) {
    byte[] samples = new byte[pixels * RgbImage.CHANNELS];
    Arrays.fill(samples, (byte) level);
    return samples;
  }

  private static float[] channel(PixelValues values) {
    return Arrays.copyOf(values.data(), values.height() * values.width());
  }
}
