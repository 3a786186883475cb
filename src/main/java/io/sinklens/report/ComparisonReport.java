package io.sinklens.report;

import static java.util.Objects.requireNonNull;

import io.sinklens.benchmark.BenchmarkComparison;
import io.sinklens.benchmark.PairedCounts;
import io.sinklens.benchmark.PublishedNumber;
import io.sinklens.benchmark.VariantComparison;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Comparisons of variants on benchmarks as lines of Markdown: one table of numbers, one of tests.
 */
public final class ComparisonReport {
  private static final double LEAST_SHOWN = 0.0001;
  private static final double WITHOUT_DECIMALS = 10; // Points, and no shares.

  private ComparisonReport() {}

  /** The tables. */
  public static List<String> markdown(
      List<BenchmarkComparison> comparisons, int resamples, long seed) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "| benchmark | mode | number | baseline | variant | value | difference | 95 % interval |"
            + " published |");
    lines.add("|---|---|---|---|---|---|---|---|---|");
    for (BenchmarkComparison each : comparisons) {
      each.mainNumbers().forEach(number -> lines.add(number(each, number)));
    }
    lines.add("");
    lines.add(
        "| benchmark | variant | rows | clusters | test | only baseline right | only variant right"
            + " | p | p, Holm | verdict |");
    lines.add("|---|---|---|---|---|---|---|---|---|---|");
    comparisons.forEach(each -> lines.add(test(each)));
    lines.add("");
    lines.add(
        ("Intervals: paired bootstrap by image, %d resamples, seed %d. Significant: p below 0.05"
                + " after Holm's correction for the benchmarks of a variant.")
            .formatted(resamples, seed));
    return lines;
  }

  private static String number(BenchmarkComparison each, String name) {
    VariantComparison.Difference number = requireNonNull(each.comparison().numbers().get(name));
    return row(
        each.benchmark(),
        each.mode(),
        name,
        "%s (%s)".formatted(shown(number.first()), each.baseline()),
        each.variant(),
        shown(number.second()),
        signed(number.value()),
        number.low() == null || number.high() == null
            ? "-"
            : "%s to %s".formatted(signed(number.low()), signed(number.high())),
        each.published(name).stream()
            .map(published -> published(published, each.isVar()))
            .collect(Collectors.joining("; ")));
  }

  private static String published(PublishedNumber published, boolean isVar) {
    Double var = published.var();
    return "%s, %s: %s%s"
        .formatted(
            published.source(),
            published.split(),
            shown(published.baseline()),
            var == null || !isVar
                ? ""
                : ", VAR %s (%s)".formatted(shown(var), signed(var - published.baseline())));
  }

  private static String test(BenchmarkComparison each) {
    VariantComparison.Test test = each.comparison().test();
    PairedCounts counts = test.counts();
    return row(
        each.benchmark(),
        each.variant(),
        String.valueOf(each.comparison().rows()),
        String.valueOf(each.comparison().clusters()),
        test.name(),
        counts == null ? "" : String.valueOf(counts.onlyFirstRight()),
        counts == null ? "" : String.valueOf(counts.onlySecondRight()),
        probability(test.pValue()),
        probability(each.adjustedPValue()),
        each.isSignificant() ? "significant" : "not significant");
  }

  private static String row(@Nullable String... cells) {
    return "| " + String.join(" | ", cells) + " |";
  }

  private static String shown(double value) {
    return Double.isNaN(value)
        ? "-"
        : String.format(Locale.ROOT, Math.abs(value) >= WITHOUT_DECIMALS ? "%.1f" : "%.4f", value);
  }

  private static String signed(double value) {
    return (value > 0 ? "+" : "") + shown(value);
  }

  private static String probability(double p) {
    return p < LEAST_SHOWN ? "< 0.0001" : String.format(Locale.ROOT, "%.4f", p);
  }
}
