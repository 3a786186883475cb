package io.sinklens.report;

import io.sinklens.benchmark.ExactMatch;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.Outcome.Answered;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import javax.imageio.ImageIO;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/**
 * A picture of some questions: each image with its sinks, where the model looked before and after
 * VAR, and what it answered without and with it.
 *
 * <p>Sinks are those of the layer with most of them. Maps are means over the layers that VAR may
 * correct: all with sinks but the last. Both maps of a cell have one scale of colours, which grow
 * with the square root of attention, or the sinks would leave the rest dark.
 */
public final class ContactSheet {
  /** The most questions that a sheet holds. */
  public static final int MAX_CELLS = 6;

  // In pixels.
  static final int MARGIN = 28;
  static final int IMAGE = 256;
  static final int MAP = 176;
  static final int GAP = 14;
  static final int GUTTER = 48;
  static final int LINE = 19;
  private static final int TEXT = 14;
  private static final int LABEL = 82;
  private static final int MARK = 11;
  private static final int BAR = 12;
  static final int CELL = IMAGE + GAP + MAP + GAP + MAP;

  private static final int COLUMNS = 2;
  private static final int MOST_LINES = 4; // Of one text.

  private static final Color PAPER = Color.WHITE;
  private static final Color INK = new Color(30, 30, 30);
  private static final Color PALE = new Color(110, 110, 110);
  private static final Color FRAME = new Color(205, 205, 205);
  private static final Color RIGHT = new Color(0, 130, 60);
  private static final Color WRONG = new Color(200, 30, 30);

  private final List<Cell> cells;
  private final Lettering lettering;

  /**
   * One question on a sheet.
   *
   * @param image the file that both were shown
   * @param baseline how the model answered it as it is
   * @param var how it answered with VAR; its record of attention is drawn, as far as there is one
   */
  public record Cell(ImageSource.Bytes image, Annotation baseline, Annotation var) {
    public Cell {
      if (!baseline.sampleId().equals(var.sampleId())) {
        throw new IllegalArgumentException(
            "Cell must show one question, not %s and %s"
                .formatted(baseline.sampleId(), var.sampleId()));
      }
      if (!(baseline.outcome() instanceof Answered && var.outcome() instanceof Answered)) {
        throw new IllegalArgumentException(
            "Cell must show an answered question, but %s failed".formatted(var.sampleId()));
      }
    }

    private Answered shown() {
      return (Answered) var.outcome();
    }

    /** The layer with most sinks on the image, the first of equals; none where there are none. */
    private Optional<LayerSinks> sinks() {
      AttentionRecord attention = shown().attention();
      return attention == null
          ? Optional.empty()
          : attention.sinks().stream()
              .filter(layer -> !layer.imagePositions().isEmpty())
              .max(
                  Comparator.<LayerSinks>comparingInt(layer -> layer.imagePositions().size())
                      .thenComparing(Comparator.comparingInt(LayerSinks::layer).reversed()));
    }

    private Optional<MeanMaps> maps() {
      AttentionRecord attention = shown().attention();
      return attention == null || attention.maps() == null
          ? Optional.empty()
          : MeanMaps.of(attention.sinks(), attention.maps());
    }
  }

  /**
   * A sheet.
   *
   * @param cells at most {@link #MAX_CELLS}, row by row
   */
  public ContactSheet(List<Cell> cells) {
    this(cells, Lettering.sansSerif(TEXT));
  }

  ContactSheet(List<Cell> cells, Lettering lettering) {
    if (cells.size() > MAX_CELLS) {
      throw new IllegalArgumentException(
          "Contact sheet must have at most %d cells, not %d".formatted(MAX_CELLS, cells.size()));
    }
    this.cells = List.copyOf(cells);
    this.lettering = lettering;
  }

  /** Whether texts are drawn; without any font on the machine only pictures and marks are. */
  public boolean hasText() {
    return lettering.isThere();
  }

  /**
   * Draws the sheet.
   *
   * @return a PNG file
   * @throws IllegalArgumentException when an image is not the one that was annotated
   */
  public byte[] png() {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try (var stream = new MemoryCacheImageOutputStream(file)) {
      ImageIO.write(drawn(), "png", stream);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot encode the contact sheet", e);
    }
    return file.toByteArray();
  }

  BufferedImage drawn() {
    int columns = Math.max(1, Math.min(COLUMNS, cells.size()));
    int width = columns * (CELL + GUTTER) - GUTTER + 2 * MARGIN;
    List<String> legend = lettering.wrapped(legend(), width - 2 * MARGIN - 2 * LINE, MOST_LINES);
    int height = MARGIN + legend.size() * LINE + MARGIN;
    for (List<Cell> row : rows()) {
      height += height(row) + MARGIN;
    }
    BufferedImage sheet = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D pen = sheet.createGraphics();
    pen.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    pen.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    pen.setColor(PAPER);
    pen.fillRect(0, 0, width, height);
    int top = MARGIN;
    for (List<Cell> row : rows()) {
      for (int column = 0; column < row.size(); column++) {
        int left = MARGIN + column * (CELL + GUTTER);
        draw(pen, row.get(column), left, top);
        if (column > 0) {
          pen.setColor(FRAME);
          pen.fillRect(left - GUTTER / 2, top, 1, height(row));
        }
      }
      top += height(row) + MARGIN;
      pen.setColor(FRAME);
      pen.fillRect(MARGIN, top - MARGIN / 2, width - 2 * MARGIN, 1);
    }
    drawLegend(pen, legend, top);
    pen.dispose();
    return sheet;
  }

  private List<List<Cell>> rows() {
    List<List<Cell>> rows = new ArrayList<>();
    for (int first = 0; first < cells.size(); first += COLUMNS) {
      rows.add(cells.subList(first, Math.min(first + COLUMNS, cells.size())));
    }
    return rows;
  }

  private int height(List<Cell> row) {
    int lines = row.stream().mapToInt(this::textLines).max().orElse(0);
    return LINE + IMAGE + GAP + lines * LINE;
  }

  private int textLines(Cell cell) {
    return texts(cell).stream().mapToInt(text -> wrapped(text).size()).sum();
  }

  private List<String> wrapped(Text text) {
    return lettering.wrapped(text.text(), CELL - LABEL - 2 * MARK, MOST_LINES);
  }

  /** A line of text beside its label; marked as right or wrong, or not at all. */
  private record Text(String label, String text, Optional<Boolean> right) {}

  private static List<Text> texts(Cell cell) {
    List<String> references = cell.var().answers();
    String question = cell.var().question();
    return List.of(
        new Text("question", question == null ? "" : question, Optional.empty()),
        new Text("reference", String.join(" / ", references), Optional.empty()),
        answer("baseline", cell.baseline(), references),
        answer("VAR", cell.var(), references));
  }

  private static Text answer(String label, Annotation annotation, List<String> references) {
    String text = ((Answered) annotation.outcome()).answer().text();
    return new Text(
        label,
        text.isBlank() ? "(nothing)" : text,
        references.isEmpty()
            ? Optional.empty()
            : Optional.of(ExactMatch.isRight(text, references)));
  }

  private void draw(Graphics2D pen, Cell cell, int left, int top) {
    RgbImage image = decoded(cell);
    int pictures = top + LINE;
    List<Integer> positions = cell.sinks().map(LayerSinks::imagePositions).orElse(List.of());
    String caption =
        cell.sinks()
            .map(layer -> "visual sinks at layer %d: %d".formatted(layer.layer(), positions.size()))
            .orElse("no visual sinks");
    lettering.draw(pen, caption, left, top + TEXT, PALE);
    pen.drawImage(
        new PatchPicture(image, cell.shown().prompt(), IMAGE).withOutlines(positions),
        left,
        pictures,
        null);
    int maps = left + IMAGE + GAP;
    if (cell.maps().isPresent()) {
      drawMaps(
          pen,
          cell.maps().get(),
          positions,
          new PatchPicture(image, cell.shown().prompt(), MAP),
          maps,
          top);
    } else {
      pen.setColor(FRAME);
      pen.drawRect(maps, pictures, 2 * MAP + GAP - 1, MAP - 1);
      lettering.draw(pen, "no attention maps", maps + GAP, pictures + MAP / 2, PALE);
    }
    int baseline = pictures + IMAGE + GAP + TEXT;
    for (Text text : texts(cell)) {
      lettering.draw(pen, text.label(), left, baseline, PALE);
      if (text.right().isPresent()) {
        drawMark(pen, text.right().get(), left + LABEL - MARK, baseline);
      }
      for (String line : wrapped(text)) {
        lettering.draw(pen, line, left + LABEL + MARK, baseline, INK);
        baseline += LINE;
      }
    }
  }

  private static RgbImage decoded(Cell cell) {
    try {
      return new ImageDecoder(Exif.APPLY).decode(cell.image().content());
    } catch (RowFailedException e) {
      throw new IllegalArgumentException(
          "Cannot draw question %s: %s".formatted(cell.var().sampleId(), e.getMessage()), e);
    }
  }

  private void drawMaps(
      Graphics2D pen, MeanMaps maps, List<Integer> sinks, PatchPicture picture, int left, int top) {
    int right = left + MAP + GAP;
    lettering.draw(pen, "attention before VAR", left, top + TEXT, PALE);
    lettering.draw(pen, "after VAR", right, top + TEXT, PALE);
    pen.drawImage(picture.withMap(maps.scaled(maps.before())), left, top + LINE, null);
    pen.drawImage(picture.withMap(maps.scaled(maps.after())), right, top + LINE, null);
    int width = 2 * MAP + GAP;
    int bar = top + LINE + MAP + GAP;
    for (int x = 0; x < width; x++) {
      pen.setColor(PatchPicture.key((double) x / (width - 1)));
      pen.fillRect(left + x, bar, 1, BAR);
    }
    int baseline = bar + BAR + LINE - 2;
    String most = String.format(Locale.ROOT, "%.2f %%", 100 * maps.max());
    lettering.draw(pen, "0 %", left, baseline, PALE);
    lettering.draw(pen, most, left + width - lettering.width(most), baseline, PALE);
    String onSinks =
        String.format(
            Locale.ROOT,
            "outlined: %.1f %%, then %.1f %%",
            100 * MeanMaps.sum(maps.before(), sinks),
            100 * MeanMaps.sum(maps.after(), sinks));
    int middle = left + (width - lettering.width(onSinks)) / 2;
    lettering.draw(pen, onSinks, middle, baseline, PALE);
  }

  /** A check mark or a cross, drawn, since few fonts have them. */
  private static void drawMark(Graphics2D pen, boolean right, int left, int baseline) {
    int top = baseline - MARK;
    int end = MARK - 1;
    pen.setColor(right ? RIGHT : WRONG);
    pen.setStroke(new BasicStroke(2.4f, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    if (right) {
      pen.drawPolyline(
          new int[] {left, left + 4, left + end}, new int[] {top + 6, top + end, top + 1}, 3);
    } else {
      pen.drawLine(left + 1, top + 1, left + end, top + end);
      pen.drawLine(left + 1, top + end, left + end, top + 1);
    }
    pen.setStroke(new BasicStroke());
  }

  private String legend() {
    String layers =
        cells.stream()
            .flatMap(cell -> cell.maps().stream())
            .findFirst()
            .map(maps -> " (%d to %d)".formatted(maps.firstLayer(), maps.lastLayer()))
            .orElse("");
    return "Outlined: visual sinks, at the layer with most of them. Maps: share of the answer's"
        + " attention on each patch, mean over heads and over the layers VAR may correct"
        + layers
        + ". Both maps of an image have one colour scale, from 0 to the number under it, and it"
        + " grows with the square root; between its ends, what the outlined patches hold together"
        + " before and after. VAR corrects only heads that look at the image beyond its sinks, so"
        + " a mean over all heads changes little. Check mark: equal to the reference.";
  }

  private void drawLegend(Graphics2D pen, List<String> lines, int top) {
    pen.setColor(PatchPicture.OUTLINE);
    pen.setStroke(new BasicStroke(2));
    pen.drawRect(MARGIN + 1, top + 2, TEXT, TEXT);
    int baseline = top + TEXT;
    for (String line : lines) {
      lettering.draw(pen, line, MARGIN + 2 * LINE, baseline, INK);
      baseline += LINE;
    }
  }
}
