package io.sinklens.job;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count;
import static org.apache.spark.sql.functions.count_distinct;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.size;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.when;

import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.QuestionTable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Reads back what a run wrote, and holds it against what it was asked. */
final class OutputCheck {
  private static final int EXAMPLES = 3;

  private final RunSettings run;
  private final InputQuestions questions;
  private final Dataset<Row> written;
  private final List<Row> groups; // by variant, whether answered, and kind of failure

  /** Reads the committed waves. */
  OutputCheck(
      SparkSession spark,
      RunSettings run,
      InputQuestions questions,
      OutputFolder output,
      Manifest manifest) {
    this.run = run;
    this.questions = questions;
    written =
        spark
            .read()
            .schema(AnnotationTable.SCHEMA)
            .option("basePath", output.annotationsPath())
            .parquet(
                manifest.waves().stream()
                    .map(wave -> output.wavePath(wave.number()))
                    .toArray(String[]::new));
    groups =
        written
            .groupBy(
                col("variant"),
                col("status").equalTo(AnnotationTable.ANSWERED),
                col("failure.kind"))
            .agg(
                count(lit(1)),
                sum(
                    when(col("prompt_token_count").isNull(), 0)
                        .otherwise(col("prompt_token_count"))),
                sum(
                    when(col("answer_token_ids").isNull(), 0)
                        .otherwise(size(col("answer_token_ids")))))
            .collectAsList();
  }

  /**
   * Counts annotations.
   *
   * @throws BrokenInvariantException unless every row has one under every variant
   */
  Manifest.Counts counts() {
    requireEveryKeyOnce();
    Manifest.Counts counts = counted();
    long expected = questions.count() * run.variants().size();
    if (counts.annotations() != expected) {
      throw new BrokenInvariantException(
          "%d rows under %d variants must give %d annotations, but there are %d"
              .formatted(questions.count(), run.variants().size(), expected, counts.annotations()));
    }
    return counts;
  }

  /** Tokens of answered rows. */
  Manifest.Tokens tokens() {
    return new Manifest.Tokens(
        groups.stream().mapToLong(group -> group.getLong(4)).sum(),
        groups.stream().mapToLong(group -> group.getLong(5)).sum());
  }

  private void requireEveryKeyOnce() {
    int variants = run.variants().size();
    Column names =
        col("variant").isin(run.variants().stream().map(RunSettings.Variant::name).toArray());
    Dataset<Row> found =
        written
            .where(names)
            .groupBy(QuestionTable.SAMPLE_ID)
            .agg(count(lit(1)).as("annotations"), count_distinct(col("variant")).as("variants"));
    List<String> wrong =
        questions
            .rows()
            .select(col(QuestionTable.SAMPLE_ID).as("asked"))
            .join(found, col("asked").equalTo(col(QuestionTable.SAMPLE_ID)), "full_outer")
            .where(
                col("asked")
                    .isNull()
                    .or(col(QuestionTable.SAMPLE_ID).isNull())
                    .or(col("annotations").notEqual(variants))
                    .or(col("variants").notEqual(variants)))
            .limit(EXAMPLES)
            .collectAsList()
            .stream()
            .map(OutputCheck::difference)
            .toList();
    if (!wrong.isEmpty()) {
      throw new BrokenInvariantException(
          "Every row must have one annotation under each of %d variants, but %s"
              .formatted(variants, String.join("; ", wrong)));
    }
  }

  private static String difference(Row row) {
    if (row.isNullAt(0)) {
      return "row %s of the output is not in the input".formatted(row.getString(1));
    }
    return "row %s has %d".formatted(row.getString(0), row.isNullAt(2) ? 0 : row.getLong(2));
  }

  private Manifest.Counts counted() {
    Map<String, Long> answered = new LinkedHashMap<>();
    Map<String, TreeMap<String, Long>> failed = new LinkedHashMap<>();
    for (Row group : groups) {
      if (group.getBoolean(1)) {
        answered.merge(group.getString(0), group.getLong(3), Long::sum);
      } else {
        failed
            .computeIfAbsent(group.getString(0), variant -> new TreeMap<>())
            .merge(group.getString(2), group.getLong(3), Long::sum);
      }
    }
    Map<String, Manifest.VariantCounts> variants = new LinkedHashMap<>();
    for (RunSettings.Variant variant : run.variants()) {
      variants.put(
          variant.name(),
          new Manifest.VariantCounts(
              answered.getOrDefault(variant.name(), 0L),
              failed.getOrDefault(variant.name(), new TreeMap<>())));
    }
    long allAnswered = answered.values().stream().mapToLong(Long::longValue).sum();
    long allFailed =
        failed.values().stream()
            .flatMap(kinds -> kinds.values().stream())
            .mapToLong(Long::longValue)
            .sum();
    return new Manifest.Counts(allAnswered + allFailed, allAnswered, allFailed, variants);
  }
}
