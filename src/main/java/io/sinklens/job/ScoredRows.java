package io.sinklens.job;

import static org.apache.spark.sql.functions.col;

import io.sinklens.benchmark.Scorer;
import io.sinklens.table.FilePart;
import io.sinklens.table.RowReader;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.SerializableConfiguration;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;

/**
 * Scores predictions and sums them up, with Spark or in this process alone. Both read files by the
 * same code and sum up groups of rows by the same code, and sums are whole numbers, so that results
 * are the same to the last bit.
 */
final class ScoredRows {
  private static final int PARTS_OF_A_TASK = 4; // At least so many tasks a processor.

  private final ScoreInput input;
  private final Scorer scorer;
  private final Configuration hadoop;
  private final @Nullable SparkSession spark;

  /**
   * Rows to be scored.
   *
   * @param spark where to do it, or null for this process alone
   */
  ScoredRows(ScoreInput input, Scorer scorer, Configuration hadoop, @Nullable SparkSession spark) {
    this.input = input;
    this.scorer = scorer;
    this.hadoop = hadoop;
    this.spark = spark;
  }

  /** Counts and sums by variant. */
  SortedMap<String, VariantTally> tallies() {
    if (spark == null) {
      return tallies(rows -> {});
    }
    JavaRDD<VariantTally> parts =
        scored(spark)
            .repartition(col(ScoredRow.VARIANT), col(ScoredRow.GROUP))
            .sortWithinPartitions(order())
            .toJavaRDD()
            .mapPartitions(new TallyPartition(scorer));
    SortedMap<String, VariantTally> tallies = new TreeMap<>();
    for (VariantTally part : fromSpark(parts::collect)) {
      tallies.merge(part.variant(), part, VariantTally::add);
    }
    return tallies;
  }

  /**
   * The same, and hands over all rows that count, group by group, sorted by variant, group and id.
   */
  SortedMap<String, VariantTally> tallies(Consumer<List<ScoredRow>> groups) {
    SortedMap<String, VariantTally> tallies = new TreeMap<>();
    fromSpark(
        () -> {
          Groups sorted = new Groups(spark == null ? sorted() : sorted(spark));
          while (sorted.hasNext()) {
            List<ScoredRow> counting = add(tallies, sorted.next(), scorer);
            if (!counting.isEmpty()) {
              groups.accept(counting);
            }
          }
          return tallies;
        });
    return tallies;
  }

  private static List<ScoredRow> add(
      Map<String, VariantTally> tallies, List<ScoredRow> group, Scorer scorer) {
    return tallies.computeIfAbsent(group.get(0).variant(), VariantTally::new).add(group, scorer);
  }

  private Iterator<ScoredRow> sorted() {
    List<ScoredRow> rows = new ArrayList<>();
    ScorePart score = new ScorePart(input, scorer, hadoop);
    for (FilePart part : input.parts()) {
      try (Scored scored = new Scored(part, score)) {
        scored.forEachRemaining(rows::add);
      }
    }
    rows.sort(ScoredRow.ORDER);
    return rows.iterator();
  }

  private Iterator<ScoredRow> sorted(SparkSession session) {
    Iterator<Row> rows =
        fromSpark(
            () ->
                scored(session)
                    .repartitionByRange(col(ScoredRow.VARIANT), col(ScoredRow.GROUP))
                    .sortWithinPartitions(order())
                    .toLocalIterator());
    return new FromRows(rows);
  }

  private static Column[] order() {
    return new Column[] {col(ScoredRow.VARIANT), col(ScoredRow.GROUP), col(ScoredRow.ID)};
  }

  private Dataset<Row> scored(SparkSession session) {
    int tasks =
        Math.min(
            input.parts().size(), session.sparkContext().defaultParallelism() * PARTS_OF_A_TASK);
    return session
        .createDataset(input.parts(), Encoders.javaSerialization(FilePart.class))
        .repartition(tasks)
        .mapPartitions(
            new ScorePartition(new ScorePart(input, scorer, hadoop)),
            Encoders.row(ScoredRow.SCHEMA));
  }

  private interface SparkWork<T> {
    T get() throws Exception; // Spark's own are checked, and Scala declares none.
  }

  private static <T> T fromSpark(SparkWork<T> work) {
    try {
      return work.get();
    } catch (Exception e) {
      throw SparkFailures.unwrapped(e, "Scoring failed");
    }
  }

  /** What it takes to score a part of a file, wherever. */
  private record ScorePart(
      RowLayout layout, List<String> files, Scorer scorer, SerializableConfiguration hadoop)
      implements Serializable {
    ScorePart(ScoreInput input, Scorer scorer, Configuration hadoop) {
      this(input.layout(), input.files(), scorer, new SerializableConfiguration(hadoop));
    }

    /** What rows of a part are numbered behind: nothing where there is one file. */
    String prefix(FilePart part) {
      return files.size() == 1 ? "" : files.indexOf(part.path()) + "/";
    }
  }

  /** The rows of a part, as they are scored. */
  private static final class Scored implements Iterator<ScoredRow>, AutoCloseable {
    private final ScorePart score;
    private final RowReader rows;
    private final String prefix;
    private long number;

    Scored(FilePart part, ScorePart score) {
      this.score = score;
      rows = part.open(score.layout().columns(), score.hadoop().value());
      prefix = score.prefix(part);
      number = part.firstRow();
    }

    @Override
    public boolean hasNext() {
      return rows.hasNext();
    }

    @Override
    public ScoredRow next() {
      return score.layout().score(rows.next(), prefix + number++, score.scorer());
    }

    @Override
    public void close() {
      rows.close();
    }
  }

  private record ScorePartition(ScorePart score) implements MapPartitionsFunction<FilePart, Row> {
    @Override
    public Iterator<Row> call(Iterator<FilePart> parts) {
      return new ScoredParts(parts, score);
    }
  }

  /** The rows of some parts of files, one behind the other. */
  private static final class ScoredParts implements Iterator<Row> {
    private final Iterator<FilePart> parts;
    private final ScorePart score;
    private @Nullable Scored rows;

    ScoredParts(Iterator<FilePart> parts, ScorePart score) {
      this.parts = parts;
      this.score = score;
      TaskCompletionListener close = context -> close();
      TaskContext.get().addTaskCompletionListener(close);
    }

    @Override
    public boolean hasNext() {
      while (rows == null || !rows.hasNext()) {
        close();
        if (!parts.hasNext()) {
          return false;
        }
        rows = new Scored(parts.next(), score);
      }
      return true;
    }

    @Override
    public Row next() {
      if (!hasNext() || rows == null) {
        throw new NoSuchElementException();
      }
      return rows.next().toRow();
    }

    private void close() {
      if (rows != null) {
        rows.close();
        rows = null;
      }
    }
  }

  private record TallyPartition(Scorer scorer)
      implements FlatMapFunction<Iterator<Row>, VariantTally> {
    @Override
    public Iterator<VariantTally> call(Iterator<Row> rows) {
      SortedMap<String, VariantTally> tallies = new TreeMap<>();
      new Groups(new FromRows(rows)).forEachRemaining(group -> add(tallies, group, scorer));
      return tallies.values().iterator();
    }
  }

  private record FromRows(Iterator<Row> rows) implements Iterator<ScoredRow> {
    @Override
    public boolean hasNext() {
      return rows.hasNext();
    }

    @Override
    public ScoredRow next() {
      return ScoredRow.fromRow(rows.next());
    }
  }

  /** Rows that are judged together, out of sorted rows. */
  private static final class Groups implements Iterator<List<ScoredRow>> {
    private final Iterator<ScoredRow> sorted;
    private @Nullable ScoredRow next;

    Groups(Iterator<ScoredRow> sorted) {
      this.sorted = sorted;
      next = sorted.hasNext() ? sorted.next() : null;
    }

    @Override
    public boolean hasNext() {
      return next != null;
    }

    @Override
    public List<ScoredRow> next() {
      if (next == null) {
        throw new NoSuchElementException();
      }
      ScoredRow first = next;
      List<ScoredRow> group = new ArrayList<>();
      while (next != null && next.isJudgedWith(first)) {
        group.add(next);
        next = sorted.hasNext() ? sorted.next() : null;
      }
      return group;
    }
  }
}
