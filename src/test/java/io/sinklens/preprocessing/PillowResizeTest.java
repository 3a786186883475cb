package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.preprocessing.PillowResize.Axis;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PillowResizeTest {

  // Made with Image.resize of Pillow 12.3.0.
  @ParameterizedTest
  @CsvSource({
    "640, 480, c0627c8c,  448, 336, abeefe29, 5 66 127,  176 63 124,  216 8 82,    57577486",
    "640, 480, c0627c8c,  448, 448, 206ad074, 3 64 125,  240 57 118,  215 18 81,   76770314",
    "640, 480, c0627c8c, 1344, 896, fe7fb1c4, 0 59 120,  255 52 113,  224 29 90,  460707445",
    "333, 517, 130cfc2e,  336, 521, 167a750d, 0 61 122,  191 110 57,  78 139 200,  66956350",
    "100,  75, 1142067a,  336, 252, cc3cfdcd, 0 59 120,  80 141 202,  130 191 255, 32331853",
    " 50,  60, 9fffdf0a,   28,  28, 8b1646ca, 11 72 133, 69 130 191,  90 151 212,    298912"
  })
  void agreesWithPillowInEveryBit(
      int sourceWidth,
      int sourceHeight,
      String sourceCrc,
      int width,
      int height,
      String crc,
      String first,
      String centre,
      String last,
      long sum) {
    RgbImage source = SyntheticImage.of(sourceWidth, sourceHeight);
    assertThat(SyntheticImage.crc(source)).isEqualTo(sourceCrc);

    RgbImage resized = PillowResize.bicubic(source, width, height);

    assertThat(pixel(resized, 0, 0)).isEqualTo(first);
    assertThat(pixel(resized, width / 2, height / 2)).isEqualTo(centre);
    assertThat(pixel(resized, width - 1, height - 1)).isEqualTo(last);
    assertThat(sum(resized)).isEqualTo(sum);
    assertThat(SyntheticImage.crc(resized)).isEqualTo(crc);
  }

  @RepeatedTest(20)
  void keepsAnImageOfTheSameSize(RepetitionInfo repetition) {
    RgbImage image = randomImage(new Random(repetition.getCurrentRepetition()));
    RgbImage resized = PillowResize.bicubic(image, image.width(), image.height());
    assertThat(resized.samples()).isEqualTo(image.samples());
  }

  @RepeatedTest(20)
  void cutsAWindowAsIfTheWholeHadBeenResized(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    RgbImage image = randomImage(random);
    int width = 1 + random.nextInt(80);
    int height = 1 + random.nextInt(80);
    int left = random.nextInt(100) - 50;
    int top = random.nextInt(100) - 50;
    int size = 1 + random.nextInt(60);

    RgbImage window =
        PillowResize.bicubic(
            image,
            new Axis(image.width(), 0, image.width(), width, left, size),
            new Axis(image.height(), 0, image.height(), height, top, size),
            new int[RgbImage.CHANNELS]);

    assertThat(window.samples())
        .isEqualTo(cut(PillowResize.bicubic(image, width, height), left, top, size));
  }

  @RepeatedTest(20)
  void resizesAPaddedCanvasAsIfItHadBeenPainted(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    RgbImage image = randomImage(random);
    int canvas = Math.max(image.width(), image.height()) + random.nextInt(20);
    int left = random.nextInt(canvas - image.width() + 1);
    int top = random.nextInt(canvas - image.height() + 1);
    int size = 1 + random.nextInt(60);
    int[] fill = {122, 116, 104};

    RgbImage resized =
        PillowResize.bicubic(
            image,
            new Axis(canvas, left, image.width(), size, 0, size),
            new Axis(canvas, top, image.height(), size, 0, size),
            fill);

    RgbImage painted = paint(image, canvas, left, top, fill);
    assertThat(resized.samples()).isEqualTo(PillowResize.bicubic(painted, size, size).samples());
  }

  private static RgbImage randomImage(Random random) {
    int width = 1 + random.nextInt(60);
    int height = 1 + random.nextInt(60);
    byte[] samples = new byte[width * height * RgbImage.CHANNELS];
    random.nextBytes(samples);
    return new RgbImage(width, height, samples);
  }

  private static byte[] cut(RgbImage image, int left, int top, int size) {
    byte[] samples = new byte[size * size * RgbImage.CHANNELS];
    int to = 0;
    for (int y = top; y < top + size; y++) {
      for (int x = left; x < left + size; x++) {
        for (int channel = 0; channel < RgbImage.CHANNELS; channel++) {
          boolean inside = x >= 0 && x < image.width() && y >= 0 && y < image.height();
          samples[to++] = inside ? (byte) image.sample(x, y, channel) : 0;
        }
      }
    }
    return samples;
  }

  private static RgbImage paint(RgbImage image, int canvas, int left, int top, int[] fill) {
    byte[] samples = new byte[canvas * canvas * RgbImage.CHANNELS];
    int to = 0;
    for (int y = -top; y < canvas - top; y++) {
      for (int x = -left; x < canvas - left; x++) {
        for (int channel = 0; channel < RgbImage.CHANNELS; channel++) {
          boolean inside = x >= 0 && x < image.width() && y >= 0 && y < image.height();
          samples[to++] = (byte) (inside ? image.sample(x, y, channel) : fill[channel]);
        }
      }
    }
    return new RgbImage(canvas, canvas, samples);
  }

  private static String pixel(RgbImage image, int x, int y) {
    return image.sample(x, y, 0) + " " + image.sample(x, y, 1) + " " + image.sample(x, y, 2);
  }

  private static long sum(RgbImage image) {
    long sum = 0;
    for (byte sample : image.samples()) {
      sum += sample & 0xff;
    }
    return sum;
  }
}
