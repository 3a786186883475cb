package io.sinklens.report;

import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Text in one size; draws nothing on a machine without fonts, as small containers are. */
final class Lettering {
  private static final String MORE = "…";

  private final @Nullable FontMetrics metrics;

  private Lettering(@Nullable FontMetrics metrics) {
    this.metrics = metrics;
  }

  /** Draws nothing. */
  static Lettering none() {
    return new Lettering(null);
  }

  /**
   * The machine's font for text without serifs.
   *
   * @param size in pixels, as high as lines of text are apart at least
   */
  static Lettering sansSerif(int size) {
    Graphics2D pen = new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB).createGraphics();
    try {
      FontMetrics metrics = pen.getFontMetrics(new Font(Font.SANS_SERIF, Font.PLAIN, size));
      return metrics.stringWidth("Sinks") > 0 ? new Lettering(metrics) : none();
    } catch (RuntimeException | LinkageError | InternalError e) {
      // Java says in any of these ways that fontconfig, FreeType or all fonts are missing.
      return none();
    } finally {
      pen.dispose();
    }
  }

  boolean isThere() {
    return metrics != null;
  }

  /** How wide a line is, in pixels. */
  int width(String line) {
    return metrics == null ? 0 : metrics.stringWidth(line);
  }

  /** Draws one line, from the left edge and the baseline of its letters. */
  void draw(Graphics2D pen, String line, int x, int baseline, Color colour) {
    if (metrics != null) {
      pen.setFont(metrics.getFont());
      pen.setColor(colour);
      pen.drawString(line, x, baseline);
    }
  }

  /**
   * Breaks a text between words, and inside a word that is longer than a line.
   *
   * @param width of a line in pixels
   * @param most lines, above 0; of a longer text the last line ends in an ellipsis
   * @return at least one line
   */
  List<String> wrapped(String text, int width, int most) {
    List<String> lines = new ArrayList<>();
    String rest = text.strip().replaceAll("\\s+", " ");
    while (width(rest) > width && lines.size() < most - 1) {
      int end = fitting(rest, width);
      int space = rest.lastIndexOf(' ', end);
      end = space > 0 ? space : end;
      lines.add(rest.substring(0, end));
      rest = rest.substring(end).strip();
    }
    if (width(rest) > width) {
      rest = rest.substring(0, fitting(rest, width - width(MORE))).strip() + MORE;
    }
    lines.add(rest);
    return lines;
  }

  /** How many characters of a text fit, at least one. */
  private int fitting(String text, int width) {
    int end = 1;
    while (end < text.length() && width(text.substring(0, end + 1)) <= width) {
      end++;
    }
    return end;
  }
}
