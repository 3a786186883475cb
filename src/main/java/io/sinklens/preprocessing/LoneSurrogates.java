package io.sinklens.preprocessing;

import java.util.regex.Pattern;

/** Halves of characters, which no text that was read from a file has. */
final class LoneSurrogates {
  private static final Pattern LONE = Pattern.compile("\\p{Cs}");

  private LoneSurrogates() {}

  /** The text with U+FFFD for each of them: the ways into native code spoil such texts. */
  static String replaced(String text) {
    return LONE.matcher(text).replaceAll("\ufffd");
  }
}
