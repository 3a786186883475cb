package io.sinklens.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.benchmark.SceneComparison;
import io.sinklens.result.Annotation;
import io.sinklens.statistics.SinkBackground;
import io.sinklens.statistics.SinksByLayer;
import java.util.List;
import org.junit.jupiter.api.Test;

class TextReportTest {
  private final SceneComparison comparison = new SceneComparison();

  @Test
  void tabulatesWhoWasRightAndSaysWhetherItMattered() {
    add(3, "colour", "red", "red", "red");
    add(1, "colour", "red", "blue", "red");
    add(1, "caption", "A red star.", "A red star.", "A red star and a blue cross.");

    assertThat(TextReport.comparison(comparison))
        .containsExactly(
            "kind      questions  baseline right       VAR right  only baseline  only VAR        p",
            "caption           1     1 (100.0 %)     0 (  0.0 %)              1         0   1.0000",
            "colour            4     3 ( 75.0 %)     4 (100.0 %)              0         1   1.0000",
            "all               5     4 ( 80.0 %)     4 ( 80.0 %)              1         1   1.0000",
            "",
            "Shapes that captions name but the reference does not: baseline 0 of 1 (0.0 %), VAR 1 of"
                + " 2 (50.0 %)",
            "",
            "VAR made no significant difference: from wrong to right 1, from right to wrong 1 (p ="
                + " 1.0000, exact McNemar test)");
  }

  @Test
  void saysThatVarHelped() {
    add(8, "colour", "red", "blue", "red");
    add(1, "colour", "red", "red", "blue");

    assertThat(TextReport.comparison(comparison))
        .last()
        .isEqualTo(
            "VAR helped: from wrong to right 8, from right to wrong 1 (p = 0.0391, exact McNemar"
                + " test)");
  }

  @Test
  void saysThatVarHurt() {
    add(40, "colour", "red", "red", "blue");

    assertThat(TextReport.comparison(comparison))
        .last()
        .isEqualTo(
            "VAR hurt: from wrong to right 0, from right to wrong 40 (p < 0.0001, exact McNemar"
                + " test)");
  }

  @Test
  void holdsOutAgainstNoQuestions() {
    assertThat(TextReport.comparison(comparison))
        .contains(
            "all               0     0 (  0.0 %)     0 (  0.0 %)              0         0   1.0000");
  }

  @Test
  void tabulatesSinksByLayerAndOnBackground() {
    SinksByLayer layers = new SinksByLayer();
    SinkBackground background = new SinkBackground();
    Annotation annotation =
        Cells.annotation("red", Cells.attention(List.of(0, 1), List.of(3), null));
    layers.add(annotation);
    background.add(annotation);

    // Sinks lie on 1, 1 and 0.5; the tokens on 1, 1, 0, 0.5.
    assertThat(TextReport.sinks(layers, background))
        .containsExactly(
            "layer  sinks of image tokens  attention on sinks of image and text  heads corrected",
            "    2            2.0 of    4                                25.0 %            100 %",
            "    3            1.0 of    4                                25.0 %              0 %",
            "",
            "83.3 % of image sinks lie on background; 62.5 % of all image tokens do");
    assertThat(TextReport.sinks(layers, new SinkBackground())).hasSize(3);
  }

  private void add(int times, String kind, String reference, String baseline, String var) {
    for (int i = 0; i < times; i++) {
      comparison.add(
          kind,
          Cells.annotation(baseline, List.of(reference)),
          Cells.annotation(var, List.of(reference)));
    }
  }
}
