package io.sinklens.job;

import static org.apache.spark.sql.functions.bit_xor;
import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count_distinct;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.max;
import static org.apache.spark.sql.functions.pmod;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.when;
import static org.apache.spark.sql.functions.xxhash64;

import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.table.QuestionColumns;
import io.sinklens.table.QuestionColumns.ImageKeys;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionTable;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
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
 * @param input what was read
 * @param waves how many rows each wave has, those without any left out
 * @param slices into how many parts images are divided
 */
record InputQuestions(
    Dataset<Row> rows, Manifest.Input input, List<Manifest.Wave> waves, int slices) {
  private static final int EXAMPLES = 3;
  private static final int SAMPLE = 1000;

  /**
   * Reads the input and divides it into waves.
   *
   * @param output what the input must not lie in
   * @param limit first rows by sample id, or null for all
   * @param slices into how many parts to divide images; null for waves of the wanted size
   * @throws IllegalArgumentException in one line, for whatever of the input is not fit to be asked
   */
  static InputQuestions read(
      SparkSession spark,
      RunSettings run,
      OutputFolder output,
      @Nullable Integer limit,
      @Nullable Integer slices) {
    return new Reader(spark, run).read(output, limit, slices);
  }

  /** SHA-256 of the names and sizes of an input's files, of whose rows nothing is read. */
  static String fingerprintOfFiles(SparkSession spark, RunSettings run) {
    Reader reader = new Reader(spark, run);
    return reader.fingerprint(reader.files());
  }

  /** Questions. */
  long count() {
    return input.rows();
  }

  /** Different images. */
  long images() {
    return input.images();
  }

  /** The rows on one part of the images. */
  Dataset<Row> slice(int number) {
    return rows.where(sliceOf(slices).equalTo(lit((long) number)));
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
        run.output().keepColumns(),
        run.input().imageTable() == null ? ImageKeys.HASHES : ImageKeys.IDS);
  }

  /** Reads one input. */
  private static final class Reader {
    private final SparkSession spark;
    private final RunSettings run;

    Reader(SparkSession spark, RunSettings run) {
      this.spark = spark;
      this.run = run;
    }

    Dataset<Row> input() {
      return InputQuestions.fromInput(run, () -> spark.read().parquet(run.input().path()));
    }

    /** Spark names them in the encoding of addresses. */
    List<Path> files() {
      List<Dataset<Row>> read = new ArrayList<>(List.of(input()));
      ImageTable images = run.input().imageTable();
      if (images != null) {
        read.add(InputQuestions.fromInput(run, () -> spark.read().parquet(images.path())));
      }
      return read.stream()
          .flatMap(rows -> Stream.of(InputQuestions.fromInput(run, rows::inputFiles)))
          .map(file -> new Path(URI.create(file)))
          .sorted()
          .toList();
    }

    String fingerprint(List<Path> files) {
      Configuration hadoop = spark.sparkContext().hadoopConfiguration();
      String listed =
          files.parallelStream()
              .map(file -> file + " " + length(file, hadoop))
              .collect(Collectors.joining("\n"));
      try {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        return HexFormat.of().formatHex(digest.digest(listed.getBytes(StandardCharsets.UTF_8)));
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("Every Java has SHA-256", e);
      }
    }

    private long length(Path file, Configuration hadoop) {
      return InputQuestions.fromInput(
          run, () -> file.getFileSystem(hadoop).getFileStatus(file).getLen());
    }

    InputQuestions read(OutputFolder output, @Nullable Integer limit, @Nullable Integer slices) {
      Dataset<Row> input = input();
      List<Path> files = files();
      for (Path file : files) {
        if (output.holds(file)) {
          throw new IllegalArgumentException(
              "Cannot write to output.path %s: the input lies in it"
                  .formatted(Addresses.withoutSecrets(run.output().path())));
        }
      }
      Dataset<Row> made = InputRows.of(input, run.input());
      Dataset<Row> rows =
          QuestionTable.normalise(
              made, columns(run, UnnamedRows.BY_FILE_AND_NUMBER), run.input().images());
      long count = countIds(input, rows);
      Integer draw = run.input().draw();
      if (draw != null && draw < count) {
        rows = drawn(rows, draw);
        count = draw;
      }
      if (limit != null && limit < count) {
        count = limit;
        rows = first(rows, limit);
      }
      return sliced(
          sampled(rows, count),
          count,
          fingerprint(files),
          slices != null ? slices : Math.toIntExact((count - 1) / run.run().waveRows() + 1));
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
        String path = Addresses.withoutSecrets(run.input().path());
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

    private Dataset<Row> drawn(Dataset<Row> rows, int draw) {
      return InputQuestions.fromInput(
          run,
          () ->
              QuestionTable.withSamples(rows, draw)
                  .where(QuestionTable.SAMPLED)
                  .withColumn(QuestionTable.SAMPLED, lit(false)));
    }

    private Dataset<Row> sampled(Dataset<Row> rows, long count) {
      int samples = run.statistics().samples();
      return count <= samples
          ? rows.withColumn(QuestionTable.SAMPLED, lit(true))
          : InputQuestions.fromInput(run, () -> QuestionTable.withSamples(rows, samples));
    }

    private InputQuestions sliced(Dataset<Row> rows, long count, String files, int slices) {
      Column hash =
          xxhash64(
              col(QuestionTable.SAMPLE_ID),
              col(QuestionTable.IMAGE_KEY),
              col("question"),
              col("answers"));
      List<Row> sizes =
          InputQuestions.fromInput(
              run,
              () ->
                  rows.groupBy(sliceOf(slices))
                      .agg(
                          functions.count(lit(1)),
                          count_distinct(col(QuestionTable.IMAGE_KEY)),
                          bit_xor(hash)) // In whatever order rows come.
                      .collectAsList());
      List<Manifest.Wave> waves = new ArrayList<>();
      long images = 0;
      long fingerprint = 0;
      for (Row size : sizes) {
        waves.add(new Manifest.Wave((int) size.getLong(0), size.getLong(1)));
        images += size.getLong(2);
        fingerprint ^= size.getLong(3);
      }
      waves.sort(Comparator.comparingInt(Manifest.Wave::number));
      return new InputQuestions(
          rows,
          new Manifest.Input(count, images, HexFormat.of().toHexDigits(fingerprint), files),
          waves,
          slices);
    }
  }

  private static Column sliceOf(int slices) {
    return pmod(col(QuestionTable.IMAGE_KEY), lit((long) slices));
  }

  /** Something that only a bad input can break. */
  private static <T> T fromInput(RunSettings run, Callable<T> work) {
    try {
      return work.call();
    } catch (Exception e) { // Spark's own exceptions are checked, and Scala declares none.
      String reason = SparkFailures.reason(e);
      if (reason.contains("UNABLE_TO_INFER_SCHEMA") || reason.contains("Unable to infer schema")) {
        reason =
            "no Parquet files are there; name a folder that holds them itself, or a pattern such as"
                + " FOLDER/data/*.parquet";
      }
      throw new IllegalArgumentException(
          "Cannot read input.path %s: %s"
              .formatted(Addresses.withoutSecrets(run.input().path()), reason),
          e);
    }
  }
}
