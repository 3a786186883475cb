package io.sinklens.intervention;

/** Means over answer tokens of what one row's heads look at, by layer and head. */
public final class AttentionTotals {
  private final double[][] image; // [layer][head]
  private final double[][] nonsinkRatio;
  private final double[][] sinks;
  private final long[][] count;

  AttentionTotals(int layers, int heads) {
    image = new double[layers][heads];
    nonsinkRatio = new double[layers][heads];
    sinks = new double[layers][heads];
    count = new long[layers][heads];
  }

  void add(int layer, int head, float visualSinks, float visualNonsinks, float textSinks) {
    double ofImage = (double) visualSinks + visualNonsinks;
    image[layer][head] += ofImage;
    nonsinkRatio[layer][head] += ofImage == 0 ? 0 : visualNonsinks / ofImage;
    sinks[layer][head] += (double) visualSinks + textSinks;
    count[layer][head]++;
  }

  /** Attention to the image, one value a head. */
  public float[] imageAttention(int layer) {
    return means(image[layer], count[layer]);
  }

  /** Share of the image's attention on tokens that are no sinks, 0 where the image has none. */
  public float[] nonsinkRatio(int layer) {
    return means(nonsinkRatio[layer], count[layer]);
  }

  /** Attention to all sinks, of image and text. */
  public float[] sinkAttention(int layer) {
    return means(sinks[layer], count[layer]);
  }

  private static float[] means(double[] sums, long[] count) {
    float[] means = new float[sums.length];
    for (int h = 0; h < means.length; h++) {
      means[h] = count[h] == 0 ? 0 : (float) (sums[h] / count[h]);
    }
    return means;
  }
}
