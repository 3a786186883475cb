package io.sinklens.job;

import io.sinklens.benchmark.Benchmark;
import io.sinklens.benchmark.Benchmarks;
import io.sinklens.benchmark.Chair;
import io.sinklens.benchmark.Scorer;
import io.sinklens.pipeline.Addresses;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.function.Supplier;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Scores the predictions of a benchmark: with Spark where there are many, else in this process,
 * with the same result.
 */
public final class ScoreJob {
  private static final String CHAIR = "chair";

  private final Settings settings;
  private final Benchmark benchmark;
  private final Scorer scorer;

  /** Whether to use Spark. */
  public enum UseSpark {
    /** For addresses of other machines, and for more than {@link #MOST_ROWS_HERE} rows. */
    AUTO,
    NEVER,
    ALWAYS
  }

  /** How many rows, or about how many, are scored without Spark. */
  public static final int MOST_ROWS_HERE = 100_000;

  /**
   * What to score.
   *
   * @param benchmark its name
   * @param mode of scoring, null for the benchmark's own
   * @param predictions a file, a folder, a pattern, or an output of {@link AnnotateJob}
   * @param rows a file to write the scored rows to, {@code .jsonl} or {@code .parquet}, or null
   * @param synonyms a file of words for objects, a category a line, for CHAIR alone; or null
   * @param useSpark whether to use Spark
   */
  public record Settings(
      String benchmark,
      @Nullable String mode,
      String predictions,
      @Nullable String rows,
      @Nullable Path synonyms,
      UseSpark useSpark) {
    public Settings {
      Addresses.requireNoSecrets("--predictions", predictions);
      Addresses.requireNoSecrets("--rows", rows);
      if (rows != null) {
        RowScoreFile.requireKnownName(rows);
      }
    }
  }

  /**
   * What came out.
   *
   * @param benchmark its name
   * @param mode the mode in use
   * @param complete whether the run that gave the predictions has ended; null where they are not of
   *     a run of ours
   * @param variants one without a name where there are no variants
   */
  public record Result(
      String benchmark, String mode, @Nullable Boolean complete, List<VariantResult> variants) {
    public Result {
      variants = List.copyOf(variants);
    }
  }

  /**
   * The score of one variant.
   *
   * @param variant its name, or null where there are none
   * @param rows read
   * @param scored of them, those that repeat others left out
   * @param missing of those, the ones without a prediction
   * @param duplicates rows that repeat another
   * @param summary as {@link Scorer#summary} says
   */
  public record VariantResult(
      @Nullable String variant,
      long rows,
      long scored,
      long missing,
      long duplicates,
      Map<String, Object> summary) {
    public VariantResult {
      summary = Collections.unmodifiableMap(new LinkedHashMap<>(summary));
    }
  }

  /**
   * Prepares to score.
   *
   * @throws IllegalArgumentException in one line, if there is no such benchmark or mode
   */
  public ScoreJob(Settings settings) {
    this.settings = settings;
    this.benchmark = benchmark(settings.benchmark(), settings.synonyms());
    this.scorer = benchmark.scorer(mode());
  }

  /**
   * A benchmark by its name.
   *
   * @param synonyms a file of words for objects, or null
   * @throws IllegalArgumentException in one line, if there is none, or it knows no objects
   */
  static Benchmark benchmark(String name, @Nullable Path synonyms) {
    if (synonyms == null) {
      return Benchmarks.named(name);
    }
    if (!name.equals(CHAIR)) {
      throw new IllegalArgumentException(
          "--synonyms is for benchmark %s, not %s".formatted(CHAIR, name));
    }
    try {
      return Chair.withSynonyms(Files.readAllLines(synonyms));
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot read %s: %s".formatted(synonyms, SparkFailures.oneLine(e)), e);
    }
  }

  private String mode() {
    return settings.mode() != null ? settings.mode() : benchmark.defaultMode();
  }

  /**
   * Scores.
   *
   * @param session asked for a session only if Spark is used
   * @throws IllegalArgumentException in one line, for whatever of the predictions is not fit to be
   *     scored
   */
  public Result run(Supplier<SparkSession> session) {
    ScoreSource source =
        ScoreSource.find(settings.predictions(), settings.useSpark(), session, benchmark, scorer);
    SortedMap<String, VariantTally> tallies;
    if (settings.rows() == null) {
      tallies = source.rows().tallies();
    } else {
      try (RowScoreFile file =
          RowScoreFile.create(
              settings.rows(), source.input().manifest() != null, source.hadoop())) {
        tallies = source.rows().tallies(file::write);
      }
    }
    if (tallies.isEmpty()) {
      throw ScoreInput.noRows(settings.predictions());
    }
    List<VariantResult> variants = new ArrayList<>();
    tallies.values().forEach(tally -> variants.add(tally.result(scorer)));
    Manifest manifest = source.input().manifest();
    return new Result(
        benchmark.name(), mode(), manifest == null ? null : manifest.isComplete(), variants);
  }
}
