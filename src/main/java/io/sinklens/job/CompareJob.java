package io.sinklens.job;

import static java.util.Objects.requireNonNull;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.benchmark.Benchmark;
import io.sinklens.benchmark.BenchmarkComparison;
import io.sinklens.benchmark.Benchmarks;
import io.sinklens.benchmark.PublishedNumber;
import io.sinklens.benchmark.Scorer;
import io.sinklens.benchmark.VariantComparison;
import io.sinklens.benchmark.VariantScores;
import io.sinklens.benchmark.VariantScores.ImageRow;
import io.sinklens.job.ScoreJob.UseSpark;
import io.sinklens.pipeline.Addresses;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Compares the variants of outputs on their benchmarks: how far they differ, how far that can be
 * trusted, and what is published of the same model. Writes {@code comparison.md}, {@code
 * comparison.json} and {@code comparison.parquet}.
 */
public final class CompareJob {
  /** What is compared with where none is named, if there is such a variant. */
  private static final String BASELINE = "baseline";

  private final Settings settings;

  /**
   * An output and what it is scored as.
   *
   * @param benchmark its name
   * @param mode of scoring, null for the benchmark's own
   * @param output of {@link AnnotateJob}
   */
  public record Entry(String benchmark, @Nullable String mode, String output) {
    public Entry {
      Addresses.requireNoSecrets("output", output);
    }

    /**
     * Reads {@code NAME=OUTPUT} or {@code NAME:MODE=OUTPUT}.
     *
     * @throws IllegalArgumentException in one line
     */
    public static Entry parse(String text) {
      int equals = text.indexOf('=');
      if (equals < 1 || equals == text.length() - 1) {
        throw new IllegalArgumentException(
            "Outputs must be named as BENCHMARK=OUTPUT or BENCHMARK:MODE=OUTPUT, not " + text);
      }
      String[] name = text.substring(0, equals).split(":", 2);
      return new Entry(name[0], name.length == 2 ? name[1] : null, text.substring(equals + 1));
    }
  }

  /**
   * What to compare.
   *
   * @param entries at least 1
   * @param baseline name of the variant to compare with; null for {@code baseline}, or the first
   * @param published model of whose published numbers to show; null for the preset's of a run
   * @param resamples of bootstrap and randomisation test, 1000 to 1,000,000
   * @param seed of their random numbers
   * @param folder to write to
   * @param useSpark whether to use Spark
   */
  public record Settings(
      List<Entry> entries,
      @Nullable String baseline,
      @Nullable String published,
      int resamples,
      long seed,
      Path folder,
      UseSpark useSpark) {
    /** Enough for two decimals of a p-value near 0.05. */
    public static final int DEFAULT_RESAMPLES = 10_000;

    private static final int LEAST_RESAMPLES = 1000;
    private static final int MOST_RESAMPLES = 1_000_000;

    public Settings {
      entries = List.copyOf(entries);
      if (resamples < LEAST_RESAMPLES || resamples > MOST_RESAMPLES) {
        throw new IllegalArgumentException(
            "--resamples must be from %d to %d, not %d"
                .formatted(LEAST_RESAMPLES, MOST_RESAMPLES, resamples));
      }
      if (published != null) {
        PublishedNumber.requireModel(published);
      }
      for (Entry entry : entries) {
        Benchmark benchmark = Benchmarks.named(entry.benchmark());
        benchmark.scorer(entry.mode() == null ? benchmark.defaultMode() : entry.mode());
      }
    }
  }

  /**
   * What came out.
   *
   * @param markdown the tables
   * @param values the names and values of a JSON object
   * @param files what was written
   */
  public record Result(List<String> markdown, Map<String, Object> values, List<Path> files) {
    public Result {
      markdown = List.copyOf(markdown);
      values = Map.copyOf(values);
      files = List.copyOf(files);
    }
  }

  public CompareJob(Settings settings) {
    this.settings = settings;
  }

  /**
   * Compares and writes.
   *
   * @param session asked for a session only if Spark is used
   * @throws IllegalArgumentException in one line, for whatever cannot be compared
   */
  public Result run(Supplier<SparkSession> session) {
    List<BenchmarkComparison> comparisons = new ArrayList<>();
    for (Entry entry : settings.entries()) {
      comparisons.addAll(compare(entry, session));
    }
    ComparisonFiles files =
        new ComparisonFiles(
            BenchmarkComparison.adjusted(comparisons), settings.resamples(), settings.seed());
    try {
      Files.createDirectories(settings.folder());
      return files.write(settings.folder());
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot write %s: %s".formatted(settings.folder(), SparkFailures.oneLine(e)), e);
    }
  }

  private List<BenchmarkComparison> compare(Entry entry, Supplier<SparkSession> session) {
    Benchmark benchmark = Benchmarks.named(entry.benchmark());
    String mode = entry.mode() == null ? benchmark.defaultMode() : entry.mode();
    Scorer scorer = benchmark.scorer(mode);
    ScoreSource source =
        ScoreSource.find(entry.output(), settings.useSpark(), session, benchmark, scorer);
    Manifest manifest = source.input().manifest();
    if (manifest == null) {
      throw new IllegalArgumentException(
          "Cannot compare variants of %s: it is not an output of annotate"
              .formatted(entry.output()));
    }
    List<String> variants = new ArrayList<>();
    manifest.settings().path("variants").forEach(each -> variants.add(each.path("name").asText()));
    String baseline = baseline(variants, entry.output());
    Map<String, VariantScores> scores = new HashMap<>();
    source
        .rows()
        .tallies(
            rows ->
                scores
                    .computeIfAbsent(rows.get(0).variant(), name -> new VariantScores(scorer))
                    .add(rows.stream().map(CompareJob::imageRow).toList()))
        .values()
        .forEach(tally -> tally.result(scorer));
    List<BenchmarkComparison> comparisons = new ArrayList<>();
    for (JsonNode variant : manifest.settings().path("variants")) {
      String name = variant.path("name").asText();
      if (!name.equals(baseline)) {
        comparisons.add(
            new BenchmarkComparison(
                benchmark.name(),
                mode,
                baseline,
                name,
                variant.path("hook").asText().equals("var"),
                settings.published() != null ? settings.published() : manifest.model().preset(),
                VariantComparison.of(
                    scored(scores, baseline, entry.output()),
                    scored(scores, name, entry.output()),
                    settings.resamples(),
                    settings.seed()),
                Double.NaN));
      }
    }
    return comparisons;
  }

  private static ImageRow imageRow(ScoredRow row) {
    return new ImageRow(row.image(), requireNonNull(row.score()));
  }

  private static VariantScores scored(
      Map<String, VariantScores> scores, String variant, String output) {
    VariantScores found = scores.get(variant);
    if (found == null) {
      throw ScoreInput.noRows(output);
    }
    return found;
  }

  private String baseline(List<String> variants, String output) {
    if (variants.size() < 2) {
      throw new IllegalArgumentException(
          "Cannot compare variants of %s: it has only %s"
              .formatted(output, String.join(", ", variants)));
    }
    String wanted = settings.baseline();
    if (wanted == null) {
      return variants.contains(BASELINE) ? BASELINE : variants.get(0);
    }
    if (!variants.contains(wanted)) {
      throw new IllegalArgumentException(
          "There is no variant %s in %s: use one of %s"
              .formatted(wanted, output, String.join(", ", variants)));
    }
    return wanted;
  }
}
