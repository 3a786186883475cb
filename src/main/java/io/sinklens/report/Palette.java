package io.sinklens.report;

/**
 * Colours for values from 0 to 1, dark violet to yellow: viridis, in which equal steps look equal
 * and lightness only grows. Its table is in the public domain (CC0).
 */
final class Palette {
  /** Red, green, blue at equal distances. */
  private static final int[][] COLOURS = {
    {68, 1, 84},
    {71, 45, 123},
    {59, 82, 139},
    {44, 114, 142},
    {33, 144, 140},
    {39, 173, 129},
    {93, 200, 99},
    {170, 220, 50},
    {253, 231, 37}
  };

  private Palette() {}

  /** The colour of a value, {@code 0xRRGGBB}; values outside 0 to 1 have the nearest one's. */
  static int rgb(double value) {
    double place = Math.max(0, Math.min(1, value)) * (COLOURS.length - 1);
    int below = Math.min((int) place, COLOURS.length - 2);
    double share = place - below;
    int rgb = 0;
    for (int channel = 0; channel < 3; channel++) {
      double mixed = (1 - share) * COLOURS[below][channel] + share * COLOURS[below + 1][channel];
      rgb = rgb << 8 | (int) Math.round(mixed);
    }
    return rgb;
  }
}
