package io.sinklens.report;

import io.sinklens.benchmark.Mentions;
import io.sinklens.benchmark.PairedCounts;
import io.sinklens.benchmark.SceneComparison;
import io.sinklens.statistics.SinkBackground;
import io.sinklens.statistics.SinksByLayer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Results as lines of text: a baseline against VAR, and what sinks did. */
public final class TextReport {
  /** Smaller probabilities are only said to be below it. */
  private static final double LEAST_SHOWN = 0.0001;

  private static final String LEAST = "0.0001";

  private TextReport() {}

  /** Who was right, by kind of question, and whether VAR made a difference. */
  public static List<String> comparison(SceneComparison comparison) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "kind      questions  baseline right       VAR right  only baseline  only VAR        p");
    comparison.kinds().forEach((kind, counts) -> lines.add(row(kind, counts)));
    lines.add(row("all", comparison.all()));
    Mentions baseline = comparison.firstMentions();
    Mentions var = comparison.secondMentions();
    lines.add("");
    lines.add(
        "Shapes that captions name but the reference does not: baseline %s, VAR %s"
            .formatted(
                part(baseline.hallucinated(), baseline.all()),
                part(var.hallucinated(), var.all())));
    lines.add("");
    lines.add(verdict(comparison.all()));
    return lines;
  }

  /** What sinks did at each layer, and where on the image they are. */
  public static List<String> sinks(SinksByLayer layers, SinkBackground background) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "layer  sinks of image tokens  attention on sinks of image and text  heads corrected");
    for (SinksByLayer.Layer layer : layers.layers()) {
      lines.add(
          String.format(
              Locale.ROOT,
              "%5d  %13.1f of %4.0f  %34.1f %%  %13.0f %%",
              layer.layer(),
              layer.imageSinks(),
              layer.imageTokens(),
              100 * layer.sinkAttention(),
              100 * layer.correctedHeads()));
    }
    background
        .shares()
        .ifPresent(
            shares -> {
              lines.add("");
              lines.add(
                  String.format(
                      Locale.ROOT,
                      "%.1f %% of image sinks lie on background; %.1f %% of all image tokens do",
                      100 * shares.sinks(),
                      100 * shares.imageTokens()));
            });
    return lines;
  }

  private static String row(String kind, PairedCounts counts) {
    return String.format(
        Locale.ROOT,
        "%-8s  %9d  %14s  %14s  %13d  %8d  %7s",
        kind,
        counts.questions(),
        rate(counts.firstRight(), counts.questions()),
        rate(counts.secondRight(), counts.questions()),
        counts.onlyFirstRight(),
        counts.onlySecondRight(),
        probability(counts.test().pValue()));
  }

  private static String verdict(PairedCounts all) {
    double p = all.test().pValue();
    String what = "made no significant difference";
    if (all.test().isSignificant()) {
      what = all.onlySecondRight() > all.onlyFirstRight() ? "helped" : "hurt";
    }
    return "VAR %s: from wrong to right %d, from right to wrong %d (p %s, exact McNemar test)"
        .formatted(
            what,
            all.onlySecondRight(),
            all.onlyFirstRight(),
            p < LEAST_SHOWN ? "< " + LEAST : "= " + probability(p));
  }

  private static String probability(double p) {
    return p < LEAST_SHOWN ? "<" + LEAST : String.format(Locale.ROOT, "%.4f", p);
  }

  private static String rate(long part, long whole) {
    return String.format(Locale.ROOT, "%d (%5.1f %%)", part, percent(part, whole));
  }

  private static String part(long part, long whole) {
    return String.format(Locale.ROOT, "%d of %d (%.1f %%)", part, whole, percent(part, whole));
  }

  private static double percent(long part, long whole) {
    return whole == 0 ? 0 : 100.0 * part / whole;
  }
}
