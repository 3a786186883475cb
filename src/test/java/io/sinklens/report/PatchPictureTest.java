package io.sinklens.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.preprocessing.RgbImage;
import io.sinklens.result.PromptFacts;
import io.sinklens.result.PromptFacts.View;
import java.awt.Rectangle;
import java.awt.image.BufferedImage;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class PatchPictureTest {
  private static final int GREY = 0xff808080;
  private static final RgbImage IMAGE = grey(8, 4);

  /** 8 x 4 pixels become 80 x 40, so that each of 2 x 2 patches is 40 x 20. */
  private final PatchPicture picture = new PatchPicture(IMAGE, Cells.PROMPT, 80);

  @Test
  void outlinesTheGivenPatchesAndNothingElse() {
    BufferedImage drawn = picture.withOutlines(List.of(1));

    assertThat(drawn.getWidth()).isEqualTo(80);
    assertThat(drawn.getHeight()).isEqualTo(40);
    Rectangle patch = new Rectangle(40, 0, 40, 20);
    Rectangle inside = new Rectangle(42, 2, 36, 16);
    for (int y = 0; y < 40; y++) {
      for (int x = 0; x < 80; x++) {
        boolean outline = patch.contains(x, y) && !inside.contains(x, y);
        assertThat(drawn.getRGB(x, y))
            .as("pixel %d, %d", x, y)
            .isEqualTo(outline ? PatchPicture.OUTLINE.getRGB() : GREY);
      }
    }
  }

  @Test
  void leavesAnImageWithoutSinksAsItIs() {
    BufferedImage drawn = picture.withOutlines(List.of());

    assertThat(colours(drawn, new Rectangle(80, 40))).containsExactly(GREY);
  }

  @Test
  void coloursEachPatchByItsValueFromDarkToLight() {
    BufferedImage drawn = picture.withMap(new double[] {1, 0.2, 0, 0.6});

    int[] luma = new int[4];
    for (int position = 0; position < 4; position++) {
      Rectangle patch = new Rectangle(position % 2 * 40, position / 2 * 20, 40, 20);
      int[] colours = colours(drawn, patch);
      assertThat(colours).as("patch %d has one colour", position).hasSize(1);
      luma[position] = luma(colours[0]);
    }
    assertThat(luma[2]).isLessThan(luma[1]);
    assertThat(luma[1]).isLessThan(luma[3]);
    assertThat(luma[3]).isLessThan(luma[0]);
  }

  @Test
  void showsTilesAndNotTheWholeImageBehindThem() {
    // Two tiles of one token each, and the whole as one token.
    List<View> views =
        List.of(
            new View(0, 0, 1, 1, 0, 0, 4, 4),
            new View(0, 1, 1, 1, 4, 0, 4, 4),
            new View(0, 0, 1, 1, 0, 0, 8, 4));
    PromptFacts tiled = new PromptFacts(9, 3, 8, 4, views, List.of());

    BufferedImage drawn = new PatchPicture(IMAGE, tiled, 80).withMap(new double[] {0, 1, 0.5});

    int[] left = colours(drawn, new Rectangle(0, 0, 40, 40));
    int[] right = colours(drawn, new Rectangle(40, 0, 40, 40));
    assertThat(left)
        .hasSize(1)
        .isEqualTo(colours(picture.withMap(new double[4]), new Rectangle(80, 40)));
    assertThat(luma(right[0])).isGreaterThan(luma(left[0]));
  }

  @Test
  void cutsPatchesOffWhereTheImageWasPadded() {
    // A square view, of which the upper and lower quarter are padding.
    PromptFacts padded =
        new PromptFacts(8, 4, 8, 4, List.of(new View(0, 0, 2, 2, 0, -2, 8, 8)), List.of());

    BufferedImage drawn = new PatchPicture(IMAGE, padded, 80).withOutlines(List.of(0));

    assertThat(drawn.getRGB(20, 0)).isEqualTo(PatchPicture.OUTLINE.getRGB());
    assertThat(drawn.getRGB(20, 19)).isEqualTo(PatchPicture.OUTLINE.getRGB());
    assertThat(drawn.getRGB(20, 10)).isEqualTo(GREY);
    assertThat(colours(drawn, new Rectangle(0, 20, 80, 20))).containsExactly(GREY);
    assertThat(colours(drawn, new Rectangle(40, 0, 40, 40))).containsExactly(GREY);
  }

  @Test
  void refusesAnotherImageAndAnotherMap() {
    assertThatThrownBy(() -> new PatchPicture(grey(4, 8), Cells.PROMPT, 80))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot draw on the image: it is 4 x 8, but the annotated one was 8 x 4");
    assertThatThrownBy(() -> picture.withMap(new double[5]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Map must have a value for each of 4 image tokens, not 5");
  }

  @Test
  void hasAPaletteThatOnlyGetsLighter() {
    int last = -1;
    for (int i = 0; i <= 100; i++) {
      int luma = luma(Palette.rgb(i / 100.0));
      assertThat(luma).as("at %d %%", i).isGreaterThanOrEqualTo(last);
      last = luma;
    }
    assertThat(Palette.rgb(0)).isEqualTo(0x440154);
    assertThat(Palette.rgb(1)).isEqualTo(0xfde725);
    assertThat(Palette.rgb(1.5)).isEqualTo(0xfde725);
    assertThat(Palette.rgb(-1)).isEqualTo(0x440154);
  }

  private static RgbImage grey(int width, int height) {
    byte[] samples = new byte[width * height * RgbImage.CHANNELS];
    Arrays.fill(samples, (byte) 0x80);
    return new RgbImage(width, height, samples);
  }

  private static int[] colours(BufferedImage image, Rectangle part) {
    return Arrays.stream(image.getRGB(part.x, part.y, part.width, part.height, null, 0, part.width))
        .distinct()
        .toArray();
  }

  private static int luma(int rgb) {
    return 299 * (rgb >> 16 & 0xff) + 587 * (rgb >> 8 & 0xff) + 114 * (rgb & 0xff);
  }
}
