package io.sinklens.pipeline;

import java.util.Locale;

/** Numbers of bytes, for people. */
final class ByteSizes {
  private static final String[] UNITS = {"bytes", "KiB", "MiB", "GiB", "TiB"};

  private ByteSizes() {}

  /** Such as {@code 13.2 GiB}. */
  static String show(long bytes) {
    double amount = bytes;
    int unit = 0;
    while (amount >= 1024 && unit < UNITS.length - 1) {
      amount /= 1024;
      unit++;
    }
    return String.format(Locale.ROOT, unit == 0 ? "%.0f %s" : "%.1f %s", amount, UNITS[unit]);
  }
}
