package io.sinklens.job;

import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count_distinct;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.max;
import static org.apache.spark.sql.functions.pmod;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.when;

import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.QuestionColumns;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionTable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.jspecify.annotations.Nullable;

/**
 * Questions that were found fit to be asked.
 *
 * @param rows in normal form
 * @param count how many
 * @param images different images
 * @param waves how many rows each wave has, those without any left out
 * @param slices into how many parts images are divided
 */
record InputQuestions(
    Dataset<Row> rows, long count, long images, List<Manifest.Wave> waves, int slices) {
  private static final int EXAMPLES = 3;
  private static final int SAMPLE = 1000;

  /**
   * Reads the input and divides it into waves.
   *
   * @param output what the input must not lie in
   * @param limit first rows by sample id, or null for all
   * @throws IllegalArgumentException in one line, for whatever of the input is not fit to be asked
   */
  static InputQuestions read(
      SparkSession spark, RunSettings run, OutputFolder output, @Nullable Integer limit) {
    return new Reader(spark, run).read(output, limit);
  }

  /** The rows of one wave. */
  Dataset<Row> wave(Manifest.Wave wave) {
    return rows.where(slice(slices).equalTo(lit((long) wave.number())));
  }

  /** Some of the questions' texts. */
  List<String> sample(RunSettings run) {
    return fromInput(
        run,
        () ->
            rows
                .select("question")
                .where("question is not null")
                .limit(SAMPLE)
                .collectAsList()
                .stream()
                .map(row -> row.getString(0))
                .toList());
  }

  static Dataset<Row> filtered(Dataset<Row> input, @Nullable String condition) {
    if (condition == null) {
      return input;
    }
    try {
      return input.where(condition);
    } catch (Exception e) { // Scala declares nothing: what Spark cannot parse arrives unannounced.
      throw new IllegalArgumentException(
          "Cannot use input.filter %s: %s".formatted(condition, SparkFailures.oneLine(e)), e);
    }
  }

  static QuestionColumns columns(RunSettings run, UnnamedRows unnamed) {
    RunSettings.Columns columns = run.input().columns();
    return new QuestionColumns(
        columns.id(),
        unnamed,
        columns.image(),
        columns.imageId(),
        columns.question(),
        columns.answers(),
        columns.mask(),
        run.output().keepColumns());
  }

  /** Reads one input. */
  private static final class Reader {
    private final SparkSession spark;
    private final RunSettings run;

    Reader(SparkSession spark, RunSettings run) {
      this.spark = spark;
      this.run = run;
    }

    InputQuestions read(OutputFolder output, @Nullable Integer limit) {
      Dataset<Row> input =
          InputQuestions.fromInput(run, () -> spark.read().parquet(run.input().path()));
      for (String file : InputQuestions.fromInput(run, input::inputFiles)) {
        if (output.holds(file)) {
          throw new IllegalArgumentException(
              "Cannot write to output.path %s: the input lies in it"
                  .formatted(Manifest.withoutPasswords(run.output().path())));
        }
      }
      Dataset<Row> filtered = filtered(input, run.input().filter());
      Dataset<Row> rows =
          QuestionTable.normalise(
              filtered, columns(run, UnnamedRows.BY_FILE_AND_NUMBER), run.input().images());
      long count = countIds(input, rows);
      if (limit != null && limit < count) {
        count = limit;
        rows = first(rows, limit);
      }
      return sliced(sampled(rows, count), count);
    }

    /** How many rows there are; there must be some, each with an id of its own. */
    private long countIds(Dataset<Row> input, Dataset<Row> rows) {
      Dataset<Row> ids = rows.select(QuestionTable.SAMPLE_ID);
      Column id = col(QuestionTable.SAMPLE_ID);
      Row counts =
          InputQuestions.fromInput(
              run,
              () ->
                  ids.groupBy(QuestionTable.SAMPLE_ID)
                      .agg(functions.count(lit(1)).as("rows"))
                      .agg(
                          coalesce(sum("rows"), lit(0L)),
                          coalesce(sum(when(id.isNull(), col("rows"))), lit(0L)),
                          functions.count(when(id.isNotNull().and(col("rows").gt(1)), 1)))
                      .first());
      long all = counts.getLong(0);
      long withoutId = counts.getLong(1);
      boolean unique = counts.getLong(2) == 0;
      List<String> idColumns = run.input().columns().id();
      if (all == 0) {
        String path = Manifest.withoutPasswords(run.input().path());
        throw new IllegalArgumentException(
            InputQuestions.fromInput(run, input::isEmpty)
                ? "The dataset is empty: %s has no rows".formatted(path)
                : "The dataset is empty: no row of %s passes input.filter %s"
                    .formatted(path, run.input().filter()));
      }
      if (withoutId > 0) {
        throw new IllegalArgumentException(
            "Every row must have an id: %d of %d rows have a null in %s"
                .formatted(withoutId, all, named(idColumns)));
      }
      if (!unique) {
        throw twice(ids, idColumns);
      }
      return all;
    }

    private IllegalArgumentException twice(Dataset<Row> ids, List<String> idColumns) {
      List<String> twice =
          InputQuestions.fromInput(
              run,
              () ->
                  ids
                      .groupBy(QuestionTable.SAMPLE_ID)
                      .count()
                      .where("count > 1")
                      .orderBy(QuestionTable.SAMPLE_ID)
                      .limit(EXAMPLES)
                      .collectAsList()
                      .stream()
                      .map(row -> "%s (%d rows)".formatted(row.getString(0), row.getLong(1)))
                      .toList());
      return new IllegalArgumentException(
          idColumns.isEmpty()
              ? "Cannot tell rows apart: files of the input have the same name; set"
                  + " input.columns.id"
              : "Ids must be unique, but %s has duplicates, such as %s"
                  .formatted(named(idColumns), String.join(", ", twice)));
    }

    private static String named(List<String> columns) {
      return columns.size() == 1
          ? "column " + columns.get(0)
          : "the columns " + String.join(", ", columns);
    }

    /** The first rows by id: ids are unique, so the last of them says where to stop. */
    private Dataset<Row> first(Dataset<Row> rows, int limit) {
      Row last =
          InputQuestions.fromInput(
              run,
              () ->
                  rows.select(QuestionTable.SAMPLE_ID)
                      .orderBy(QuestionTable.SAMPLE_ID)
                      .limit(limit)
                      .agg(max(QuestionTable.SAMPLE_ID))
                      .first());
      return rows.where(col(QuestionTable.SAMPLE_ID).leq(lit(last.getString(0))));
    }

    private Dataset<Row> sampled(Dataset<Row> rows, long count) {
      int samples = run.statistics().samples();
      return count <= samples
          ? rows.withColumn(QuestionTable.SAMPLED, lit(true))
          : InputQuestions.fromInput(run, () -> QuestionTable.withSamples(rows, samples));
    }

    /** Divides images into waves of about the wanted size. */
    private InputQuestions sliced(Dataset<Row> rows, long count) {
      int slices = Math.toIntExact((count - 1) / run.run().waveRows() + 1);
      List<Row> sizes =
          InputQuestions.fromInput(
              run,
              () ->
                  rows.groupBy(slice(slices))
                      .agg(functions.count(lit(1)), count_distinct(col(QuestionTable.IMAGE_KEY)))
                      .collectAsList());
      List<Manifest.Wave> waves = new ArrayList<>();
      long images = 0;
      for (Row size : sizes) {
        waves.add(new Manifest.Wave((int) size.getLong(0), size.getLong(1)));
        images += size.getLong(2);
      }
      waves.sort(Comparator.comparingInt(Manifest.Wave::number));
      return new InputQuestions(rows, count, images, waves, slices);
    }
  }

  private static Column slice(int slices) {
    return pmod(col(QuestionTable.IMAGE_KEY), lit((long) slices));
  }

  /** Something that only a bad input can break. */
  private static <T> T fromInput(RunSettings run, Callable<T> work) {
    try {
      return work.call();
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      String reason = SparkFailures.oneLine(SparkFailures.rootCause(e));
      if (reason.contains("UNABLE_TO_INFER_SCHEMA") || reason.contains("Unable to infer schema")) {
        reason =
            "no Parquet files are there; name a folder that holds them itself, or a pattern such as"
                + " FOLDER/data/*.parquet";
      }
      throw new IllegalArgumentException(
          "Cannot read input.path %s: %s"
              .formatted(Manifest.withoutPasswords(run.input().path()), reason),
          e);
    }
  }
}
