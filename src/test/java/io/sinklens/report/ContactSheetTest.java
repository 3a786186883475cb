package io.sinklens.report;

import static io.sinklens.report.ContactSheet.CELL;
import static io.sinklens.report.ContactSheet.GAP;
import static io.sinklens.report.ContactSheet.GUTTER;
import static io.sinklens.report.ContactSheet.IMAGE;
import static io.sinklens.report.ContactSheet.LINE;
import static io.sinklens.report.ContactSheet.MAP;
import static io.sinklens.report.ContactSheet.MARGIN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.report.ContactSheet.Cell;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.Outcome;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class ContactSheetTest {
  private static final int PICTURES = MARGIN + LINE;
  private static final int BEFORE = MARGIN + IMAGE + GAP;
  private static final int AFTER = BEFORE + MAP + GAP;

  @Test
  void placesTwoCellsInARow() throws IOException {
    Cell cell = cell("red", "blue", Cells.attention(List.of(0), List.of(), null));

    BufferedImage one = read(new ContactSheet(List.of(cell)).png());
    BufferedImage two = read(new ContactSheet(List.of(cell, cell)).png());
    BufferedImage six = read(new ContactSheet(Collections.nCopies(6, cell)).png());

    assertThat(one.getWidth()).isEqualTo(CELL + 2 * MARGIN);
    assertThat(two.getWidth()).isEqualTo(2 * CELL + GUTTER + 2 * MARGIN);
    assertThat(six.getWidth()).isEqualTo(two.getWidth());
    assertThat(two.getHeight()).isGreaterThan(IMAGE);
    assertThat(six.getHeight()).isGreaterThan(3 * IMAGE);
    // The second cell has the image where the first has it, one cell further on.
    assertThat(two.getRGB(MARGIN + CELL + GUTTER + 5, PICTURES + 5))
        .isEqualTo(two.getRGB(MARGIN + 5, PICTURES + 5))
        .isEqualTo(0xff000000 | Cells.GREY);
  }

  @Test
  void outlinesTheSinksOfTheLayerWithMostOfThem() {
    BufferedImage sheet =
        draw(cell("red", "red", Cells.attention(List.of(0), List.of(1, 2), null)));

    // The image of 8 x 4 is 256 x 128 here, and its patches 128 x 64.
    int outline = PatchPicture.OUTLINE.getRGB();
    assertThat(sheet.getRGB(MARGIN + 40, PICTURES)).isNotEqualTo(outline);
    assertThat(sheet.getRGB(MARGIN + 128 + 40, PICTURES)).isEqualTo(outline);
    assertThat(sheet.getRGB(MARGIN + 40, PICTURES + 64)).isEqualTo(outline);
    assertThat(sheet.getRGB(MARGIN + 128 + 40, PICTURES + 127)).isNotEqualTo(outline);
  }

  @Test
  void drawsBothMapsInOneScale() {
    BufferedImage sheet =
        draw(
            cell(
                "red",
                "red",
                Cells.attention(
                    List.of(0),
                    List.of(),
                    Cells.maps(List.of(0.4f, 0f, 0.1f, 0f), List.of(0.1f, 0f, 0.1f, 0.3f)))));

    // The maps are 176 x 88, their patches 88 x 44.
    int most = sheet.getRGB(BEFORE + 20, PICTURES + 20);
    int quarter = sheet.getRGB(BEFORE + 20, PICTURES + 60);
    int nothing = sheet.getRGB(BEFORE + 120, PICTURES + 20);
    assertThat(green(most)).isGreaterThan(green(quarter));
    assertThat(green(quarter)).isGreaterThan(green(nothing));
    assertThat(sheet.getRGB(AFTER + 20, PICTURES + 20)).isEqualTo(quarter);
    assertThat(sheet.getRGB(AFTER + 120, PICTURES + 20)).isEqualTo(nothing);
    assertThat(green(sheet.getRGB(AFTER + 120, PICTURES + 60)))
        .isBetween(green(quarter) + 1, green(most) - 1);
  }

  @Test
  void leavesTheMapsOutWhereThereAreNone() {
    BufferedImage unmeasured = draw(cell("red", "red", null));
    BufferedImage noMaps = draw(cell("red", "red", Cells.attention(List.of(), List.of(), null)));

    assertThat(unmeasured.getRGB(BEFORE + MAP, PICTURES + MAP / 4)).isEqualTo(0xffffffff);
    assertThat(noMaps.getRGB(BEFORE + MAP, PICTURES + MAP / 4)).isEqualTo(0xffffffff);
    assertThat(draw()).isNotNull(); // A sheet of nothing is a sheet.
  }

  @Test
  void marksAnswersAsRightOrWrong() {
    BufferedImage sheet = draw(cell("Red", "blue", null));
    BufferedImage unknown =
        draw(
            new Cell(
                Cells.image(), Cells.annotation("a", List.of()), Cells.annotation("a", List.of())));

    // Baseline and VAR are the third and fourth line of text.
    int baseline = PICTURES + IMAGE + GAP + 2 * LINE;
    assertThat(marks(sheet, baseline, baseline + LINE)).isEqualTo("right");
    assertThat(marks(sheet, baseline + LINE, baseline + 2 * LINE)).isEqualTo("wrong");
    assertThat(marks(unknown, baseline, baseline + 2 * LINE)).isEmpty();
  }

  @Test
  void wrapsLongTextsAndGrowsWithThem() {
    String caption = "A red circle, two blue stars and a green cross on a noisy background. ";
    BufferedImage brief = draw(cell("red", "red", null));
    BufferedImage more = draw(cell(caption.repeat(3), "red", null));
    BufferedImage most = draw(cell(caption.repeat(50), "x".repeat(5000), null));

    assertThat(more.getHeight()).isGreaterThanOrEqualTo(brief.getHeight() + 2 * LINE);
    assertThat(most.getHeight()).isEqualTo(brief.getHeight() + 6 * LINE);
    for (BufferedImage sheet : List.of(more, most)) {
      for (int y = 0; y < sheet.getHeight(); y++) {
        for (int x = sheet.getWidth() - MARGIN; x < sheet.getWidth(); x++) {
          assertThat(sheet.getRGB(x, y)).as("margin at %d, %d", x, y).isEqualTo(0xffffffff);
        }
      }
    }
  }

  @Test
  void wrapsBetweenWordsAndCutsWhatIsTooLong() {
    Lettering lettering = Lettering.sansSerif(14);
    int width = lettering.width("A red circle, two");

    assertThat(lettering.wrapped(" A red circle, two\nblue stars ", width, 3))
        .containsExactly("A red circle, two", "blue stars");
    assertThat(lettering.wrapped("", width, 3)).containsExactly("");
    List<String> cut = lettering.wrapped("w".repeat(200), width, 3);
    assertThat(cut).hasSize(3).allMatch(line -> lettering.width(line) <= width);
    assertThat(cut.get(2)).endsWith("…");
  }

  @Test
  void givesTheSameBytesAgain() {
    Cell cell = cell("red", "blue", Cells.attention(List.of(0), List.of(3), null));

    assertThat(new ContactSheet(List.of(cell)).png())
        .isEqualTo(new ContactSheet(List.of(cell)).png());
  }

  @Test
  void drawsPicturesAndMarksWithoutAnyFont() {
    ContactSheet sheet =
        new ContactSheet(
            List.of(cell("red", "blue", Cells.attention(List.of(0), List.of(), null))),
            Lettering.none());

    BufferedImage drawn = sheet.drawn();

    assertThat(sheet.hasText()).isFalse();
    assertThat(drawn.getRGB(MARGIN + 40, PICTURES)).isEqualTo(PatchPicture.OUTLINE.getRGB());
    int baseline = PICTURES + IMAGE + GAP + 2 * LINE;
    assertThat(marks(drawn, baseline, baseline + LINE)).isEqualTo("right");
  }

  @Test
  void refusesWhatItCannotShow() {
    Annotation answered = Cells.annotation("red", List.of());
    Annotation failed =
        new Annotation(
            "1",
            null,
            "What?",
            "var",
            List.of(),
            new Outcome.Failed(new Failure(FailureKind.IMAGE_MISSING, "none")));
    Annotation other = new Annotation("2", null, "What?", "var", List.of(), answered.outcome());

    assertThatThrownBy(() -> new Cell(Cells.image(), answered, failed))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cell must show an answered question, but 1 failed");
    assertThatThrownBy(() -> new Cell(Cells.image(), answered, other))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cell must show one question, not 1 and 2");
    assertThatThrownBy(
            () ->
                new ContactSheet(
                    Collections.nCopies(7, new Cell(Cells.image(), answered, answered))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Contact sheet must have at most 6 cells, not 7");
    assertThatThrownBy(
            () ->
                new ContactSheet(
                        List.of(new Cell(new ImageSource.Bytes(new byte[0]), answered, answered)))
                    .png())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot draw question 1: Cannot decode the image: it is empty");
  }

  private static Cell cell(String baseline, String var, @Nullable AttentionRecord attention) {
    return new Cell(
        Cells.image(),
        Cells.annotation(baseline, List.of("red")),
        Cells.annotation(var, attention));
  }

  private static BufferedImage draw(Cell... cells) {
    return new ContactSheet(List.of(cells)).drawn();
  }

  private static BufferedImage read(byte[] png) throws IOException {
    return ImageIO.read(new ByteArrayInputStream(png));
  }

  private static int green(int rgb) {
    return rgb >> 8 & 0xff;
  }

  /** What the marks in some lines of the first cell say, by their colour. */
  private static String marks(BufferedImage sheet, int top, int bottom) {
    String found = "";
    for (int y = top; y < bottom; y++) {
      for (int x = MARGIN; x < MARGIN + CELL; x++) {
        int rgb = sheet.getRGB(x, y) & 0xffffff;
        if (rgb == 0x00823c && !found.contains("right")) {
          found += "right";
        } else if (rgb == 0xc81e1e && !found.contains("wrong")) {
          found += "wrong";
        }
      }
    }
    return found;
  }
}
