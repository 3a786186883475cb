package io.sinklens.report;

import io.sinklens.dataset.ImageSource;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.HeadStatistics;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.result.PromptFacts.View;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;

/** Annotations of a grey image of 8 x 4 pixels and 2 x 2 tokens, by a model of 4 layers. */
final class Cells {
  static final int WIDTH = 8;
  static final int HEIGHT = 4;
  static final int GREY = 0x808080;
  static final PromptFacts PROMPT =
      new PromptFacts(
          8,
          4,
          WIDTH,
          HEIGHT,
          List.of(new View(0, 0, 2, 2, 0, 0, WIDTH, HEIGHT)),
          List.of(1f, 1f, 0f, 0.5f));

  private Cells() {}

  static ImageSource.Bytes image() {
    BufferedImage image = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
      image.setRGB(i % WIDTH, i / WIDTH, GREY);
    }
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try {
      ImageIO.write(image, "png", file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new ImageSource.Bytes(file.toByteArray());
  }

  /** Layer 2 corrects all heads, layer 3 none. */
  static AttentionRecord attention(
      List<Integer> layer2, List<Integer> layer3, @Nullable AttentionMaps maps) {
    List<Float> quarter = List.of(0.25f, 0.25f);
    return new AttentionRecord(
        List.of(new LayerSinks(2, layer2, List.of(0), 9), new LayerSinks(3, layer3, List.of(0), 9)),
        HeadSelection.pack(
            List.<boolean[][]>of(
                new boolean[][] {{false, false}, {false, false}, {true, true}, {false, false}}),
            4,
            2),
        List.of(
            new HeadStatistics(2, quarter, quarter, quarter, null, null),
            new HeadStatistics(3, quarter, quarter, quarter, null, null)),
        maps);
  }

  /** Maps of which only layer 2 is to be shown. */
  static AttentionMaps maps(List<Float> before, List<Float> after) {
    List<Float> other = List.of(1f, 1f, 1f, 1f);
    return new AttentionMaps(
        List.of(other, other, before, other), List.of(other, other, after, other));
  }

  static Annotation annotation(String answer, @Nullable AttentionRecord attention) {
    return annotation("What colour is the star?", answer, List.of("red"), attention);
  }

  static Annotation annotation(String answer, List<String> references) {
    return annotation("What colour is the star?", answer, references, null);
  }

  static Annotation annotation(
      String question,
      String answer,
      List<String> references,
      @Nullable AttentionRecord attention) {
    return new Annotation(
        "1",
        "scene",
        question,
        "any",
        references,
        new Outcome.Answered(
            new Answer(answer, List.of(), 0, FinishReason.STOP, List.of(), Map.of()),
            PROMPT,
            attention));
  }
}
