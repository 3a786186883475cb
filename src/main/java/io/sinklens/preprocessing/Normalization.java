package io.sinklens.preprocessing;

import java.util.List;

/**
 * Turns 8-bit levels into the numbers a vision encoder was trained on.
 *
 * <p>Arithmetic of the slow (Pillow) image processors of transformers: the level is multiplied by
 * the factor in double precision and rounded to float; mean and deviation work in float.
 *
 * @param mean subtracted, one number a channel
 * @param deviation divided by, one number a channel, above 0 ({@code image_std})
 * @param rescaleFactor what a level is multiplied by first, above 0
 */
public record Normalization(List<Double> mean, List<Double> deviation, double rescaleFactor) {
  private static final int LEVELS = 256;

  /** What CLIP encoders take ({@code OPENAI_CLIP_MEAN} and {@code OPENAI_CLIP_STD}). */
  public static final Normalization CLIP =
      new Normalization(
          List.of(0.48145466, 0.4578275, 0.40821073),
          List.of(0.26862954, 0.26130258, 0.27577711),
          1 / 255.0);

  /** What InternVL's encoders take ({@code IMAGENET_DEFAULT_MEAN} and its deviation). */
  public static final Normalization IMAGENET =
      new Normalization(List.of(0.485, 0.456, 0.406), List.of(0.229, 0.224, 0.225), 1 / 255.0);

  /** What SigLIP encoders take ({@code IMAGENET_STANDARD_MEAN} and {@code _STD}). */
  public static final Normalization SIGLIP =
      new Normalization(List.of(0.5, 0.5, 0.5), List.of(0.5, 0.5, 0.5), 1 / 255.0);

  public Normalization {
    mean = List.copyOf(mean);
    deviation = List.copyOf(deviation);
    if (mean.size() != RgbImage.CHANNELS || !mean.stream().allMatch(Double::isFinite)) {
      throw new IllegalArgumentException("Image mean must be 3 finite numbers, not " + mean);
    }
    if (deviation.size() != RgbImage.CHANNELS || !deviation.stream().allMatch(d -> d > 0)) {
      throw new IllegalArgumentException(
          "Image standard deviation must be 3 numbers above 0, not " + deviation);
    }
    if (!(rescaleFactor > 0)) {
      throw new IllegalArgumentException("Rescale factor must be above 0, not " + rescaleFactor);
    }
  }

  /** The mean as a colour: {@code trunc(255 * mean)}, {@code [channel]}. */
  int[] meanColour() {
    return mean.stream().mapToInt(value -> (int) (value * 255)).toArray();
  }

  /**
   * Rescales and normalises an image.
   *
   * @param image {@code [height, width, channel]}
   * @return {@code [channel, height, width]}
   */
  float[] apply(RgbImage image) {
    int pixels = image.width() * image.height();
    byte[] samples = image.samples();
    float[] values = new float[RgbImage.CHANNELS * pixels];
    for (int channel = 0; channel < RgbImage.CHANNELS; channel++) {
      float[] ofLevel = ofLevel(channel);
      int to = channel * pixels;
      for (int from = channel; from < samples.length; from += RgbImage.CHANNELS) {
        values[to++] = ofLevel[samples[from] & 0xff];
      }
    }
    return values;
  }

  private float[] ofLevel(int channel) {
    float[] values = new float[LEVELS];
    float channelMean = mean.get(channel).floatValue();
    float channelDeviation = deviation.get(channel).floatValue();
    for (int level = 0; level < LEVELS; level++) {
      values[level] = ((float) (level * rescaleFactor) - channelMean) / channelDeviation;
    }
    return values;
  }
}
