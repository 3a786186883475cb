package io.sinklens.preprocessing;

import java.util.Arrays;

/**
 * Pillow's bicubic {@code Image.resize} for 8-bit RGB, equal to that of Pillow up to 12 in every
 * bit.
 *
 * <p>Antialiased and separable: first every row, then every column, rounded to 8 bits in between,
 * with 22-bit fixed-point weights. Follows {@code Resample.c} of Pillow 12.3; from 13 on Pillow
 * takes columns first where the height shrinks, and the width much less or not at all. {@code
 * java.awt}, OpenCV and DJL resize otherwise.
 */
public final class PillowResize {
  private static final int PRECISION_BITS = 22;
  private static final int HALF = 1 << (PRECISION_BITS - 1);

  private PillowResize() {}

  /** The image resized to {@code width x height}; its aspect ratio is not kept. */
  public static RgbImage bicubic(RgbImage image, int width, int height) {
    return bicubic(
        image,
        new Axis(image.width(), 0, image.width(), width, 0, width),
        new Axis(image.height(), 0, image.height(), height, 0, height),
        new int[RgbImage.CHANNELS]);
  }

  /**
   * Resizes a canvas that holds the image and is filled with one colour elsewhere, and cuts a
   * window out of the result. Neither canvas nor uncut result is ever in memory, so that a very
   * long and narrow image costs little more than its own pixels.
   *
   * @param fill colour of the canvas around the image, 3 values in [0, 255]
   * @return the window, black where it leaves the resized canvas
   */
  static RgbImage bicubic(RgbImage image, Axis horizontal, Axis vertical, int[] fill) {
    Weights columns = Weights.of(horizontal);
    Weights rows = Weights.of(vertical);
    int rowLength = columns.outputs() * RgbImage.CHANNELS;
    byte[] fillRow = new byte[rowLength];
    resizeFillRow(columns, fill, fillRow);
    int[] sums = new int[Math.multiplyExact(rows.outputs(), rowLength)]; // [row, column, channel]
    for (int y = 0; y < rows.outputs(); y++) {
      if (rows.inside[y]) {
        for (int i = 0; i < rowLength; i++) {
          sums[y * rowLength + i] = HALF + rows.aroundImage[y] * (fillRow[i] & 0xff);
        }
      }
    }

    byte[] row = new byte[rowLength]; // one input row, resized
    int firstOutput = 0;
    for (int inputY = 0; inputY < image.height(); inputY++) {
      while (firstOutput < rows.outputs() && rows.end(firstOutput) <= inputY) {
        firstOutput++;
      }
      if (firstOutput < rows.outputs() && rows.first[firstOutput] <= inputY) {
        resizeRow(image, inputY, columns, fill, row);
      }
      for (int y = firstOutput; y < rows.outputs() && rows.first[y] <= inputY; y++) {
        if (inputY < rows.end(y)) {
          int weight = rows.weights[rows.offset[y] + inputY - rows.first[y]];
          int to = y * rowLength;
          for (int i = 0; i < rowLength; i++) {
            sums[to + i] += (row[i] & 0xff) * weight;
          }
        }
      }
    }

    byte[] samples = new byte[sums.length];
    for (int i = 0; i < sums.length; i++) {
      samples[i] = clamp(sums[i]);
    }
    return new RgbImage(columns.outputs(), rows.outputs(), samples);
  }

  /**
   * One direction of a resize, in pixels.
   *
   * @param canvas length of the canvas
   * @param imageStart where the image starts on the canvas
   * @param imageLength length of the image
   * @param resized length of the resized canvas
   * @param windowStart where the window starts on the resized canvas; may be negative
   * @param windowLength length of the window, and of what comes out
   */
  record Axis(
      int canvas,
      int imageStart,
      int imageLength,
      long resized,
      long windowStart,
      int windowLength) {}

  private static void resizeRow(RgbImage image, int y, Weights columns, int[] fill, byte[] row) {
    byte[] input = image.samples();
    int rowStart = y * image.width() * RgbImage.CHANNELS;
    for (int x = 0; x < columns.outputs(); x++) {
      if (columns.inside[x]) {
        int around = columns.aroundImage[x];
        int red = HALF + around * fill[0];
        int green = HALF + around * fill[1];
        int blue = HALF + around * fill[2];
        int from = rowStart + columns.first[x] * RgbImage.CHANNELS;
        for (int w = columns.offset[x]; w < columns.offset[x + 1]; w++, from += 3) {
          int weight = columns.weights[w];
          red += (input[from] & 0xff) * weight;
          green += (input[from + 1] & 0xff) * weight;
          blue += (input[from + 2] & 0xff) * weight;
        }
        row[x * RgbImage.CHANNELS] = clamp(red);
        row[x * RgbImage.CHANNELS + 1] = clamp(green);
        row[x * RgbImage.CHANNELS + 2] = clamp(blue);
      }
    }
  }

  /** What {@link #resizeRow} makes of a row that shows nothing but the fill colour. */
  private static void resizeFillRow(Weights columns, int[] fill, byte[] row) {
    for (int x = 0; x < columns.outputs(); x++) {
      if (columns.inside[x]) {
        int sum = columns.aroundImage[x];
        for (int w = columns.offset[x]; w < columns.offset[x + 1]; w++) {
          sum += columns.weights[w];
        }
        for (int channel = 0; channel < RgbImage.CHANNELS; channel++) {
          row[x * RgbImage.CHANNELS + channel] = clamp(HALF + sum * fill[channel]);
        }
      }
    }
  }

  private static byte clamp(int fixedPoint) {
    return (byte) Math.max(0, Math.min(255, fixedPoint >> PRECISION_BITS));
  }

  /**
   * Fixed-point weights of one axis, {@code [output]} unless said otherwise.
   *
   * @param inside whether the output lies on the resized canvas at all
   * @param first the first image pixel that counts
   * @param offset where the output's weights start in {@code weights}, {@code [output + 1]}
   * @param aroundImage sum of the weights of canvas pixels outside the image
   * @param weights weights of image pixels, one output after the other
   */
  @SuppressWarnings("ArrayRecordComponent") // A local of one resize.
  private record Weights(
      boolean[] inside, int[] first, int[] offset, int[] aroundImage, int[] weights) {

    int outputs() {
      return inside.length;
    }

    /** The image pixel after the last one that counts. */
    int end(int output) {
      return first[output] + offset[output + 1] - offset[output];
    }

    static Weights of(Axis axis) {
      int outputs = axis.windowLength();
      double scale = (double) axis.canvas() / axis.resized();
      double filterScale = Math.max(scale, 1);
      double support = 2 * filterScale;
      int imageEnd = axis.imageStart() + axis.imageLength();

      boolean[] inside = new boolean[outputs];
      int[] first = new int[outputs];
      int[] offset = new int[outputs + 1];
      int[] aroundImage = new int[outputs];
      IntList weights = new IntList();
      for (int output = 0; output < outputs; output++) {
        long position = axis.windowStart() + output;
        inside[output] = position >= 0 && position < axis.resized();
        if (inside[output]) {
          double centre = (position + 0.5) * scale;
          int low = Math.max(0, (int) (centre - support + 0.5));
          int high = Math.min(axis.canvas(), (int) (centre + support + 0.5));
          double[] cubic = normalisedCubic(low, high, centre, 1 / filterScale);
          first[output] = Math.max(0, Math.min(axis.imageLength() - 1, low - axis.imageStart()));
          for (int input = low; input < high; input++) {
            int weight = fixedPoint(cubic[input - low]);
            if (input < axis.imageStart() || input >= imageEnd) {
              aroundImage[output] += weight;
            } else {
              weights.add(weight);
            }
          }
        }
        offset[output + 1] = weights.size;
      }
      return new Weights(inside, first, offset, aroundImage, weights.values);
    }

    private static double[] normalisedCubic(int low, int high, double centre, double inverseScale) {
      double[] weights = new double[high - low];
      double sum = 0;
      for (int i = 0; i < weights.length; i++) {
        weights[i] = cubic((i + low - centre + 0.5) * inverseScale);
        sum += weights[i];
      }
      for (int i = 0; i < weights.length; i++) {
        weights[i] /= sum;
      }
      return weights;
    }

    /** Keys' kernel with a = -0.5. */
    private static double cubic(double offset) {
      double a = -0.5;
      double x = Math.abs(offset);
      if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
      }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    }

    private static int fixedPoint(double weight) {
      return (int) (weight * (1 << PRECISION_BITS) + (weight < 0 ? -0.5 : 0.5));
    }
  }

  /** Ints whose number is not known beforehand. */
  private static final class IntList {
    private int[] values = new int[1024];
    private int size;

    void add(int value) {
      if (size == values.length) {
        values = Arrays.copyOf(values, size * 2);
      }
      values[size++] = value;
    }
  }
}
