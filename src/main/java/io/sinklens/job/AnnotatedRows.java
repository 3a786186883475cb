package io.sinklens.job;

import static org.apache.spark.sql.functions.col;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.AnnotatorLostException;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.ImageFiles;
import io.sinklens.table.QuestionReader;
import io.sinklens.table.QuestionTable;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskContext$;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;

/** Questions in their normal form to annotations: the part that runs on executors. */
final class AnnotatedRows {
  /** A struct with the columns of {@link AnnotationTable}. */
  static final String ANNOTATION = "annotation";

  private AnnotatedRows() {}

  /**
   * Brings the rows of each image together and annotates them, lazily.
   *
   * @param questions as {@link QuestionTable} makes them
   * @param partitions how many tasks share the work; changes nothing in the result
   * @param counters what to count, or null
   * @return a row a question and variant, with the structs {@code annotation} and, where columns
   *     are carried, {@code carried}
   */
  static Dataset<Row> of(
      Dataset<Row> questions,
      AnnotatorFactory factory,
      RunSettings settings,
      int partitions,
      @Nullable Counters counters) {
    StructType result = new StructType().add(ANNOTATION, AnnotationTable.SCHEMA, false);
    DataType carried = carried(questions.schema());
    if (carried != null) {
      result = result.add(QuestionTable.CARRIED, carried);
    }
    Configuration hadoop =
        S3Defaults.in(questions.sparkSession().sparkContext().hadoopConfiguration());
    ImageFiles files = new ImageFiles(settings.input().images(), hadoop);
    return questions
        .repartition(partitions, col(QuestionTable.IMAGE_KEY))
        .sortWithinPartitions(QuestionTable.IMAGE_KEY, QuestionTable.SAMPLE_ID)
        .mapPartitions(
            new AnnotatePartition(
                factory, settings, new LocalModel(hadoop), files, carried != null, counters),
            Encoders.row(result));
  }

  private static @Nullable DataType carried(StructType questions) {
    int index = Arrays.asList(questions.fieldNames()).indexOf(QuestionTable.CARRIED);
    return index < 0 ? null : questions.fields()[index].dataType();
  }

  /** Static and explicit, so that a task carries this and nothing else. */
  private record AnnotatePartition(
      AnnotatorFactory factory,
      RunSettings settings,
      LocalModel local,
      ImageFiles files,
      boolean carries,
      @Nullable Counters counters)
      implements MapPartitionsFunction<Row, Row> {

    @Override
    public Iterator<Row> call(Iterator<Row> rows) {
      if (!rows.hasNext()) {
        return Collections.emptyIterator();
      }
      TaskContext task = TaskContext.get();
      ExecutorAnnotator.Lease lease = ExecutorAnnotator.lease(factory, settings, local);
      TaskCompletionListener giveBack = context -> lease.close();
      task.addTaskCompletionListener(giveBack);
      Waiting waiting = new Waiting(rows, this, lease.annotator());
      WatchedAnnotations annotations =
          new WatchedAnnotations(
              lease.annotator().annotate(waiting),
              waiting,
              () ->
                  TaskContext$.MODULE$.setTaskContext(task), // What makes the rows may ask for it.
              task::isInterrupted,
              settings.run().maxStallSeconds());
      TaskCompletionListener leave =
          context -> {
            annotations.close();
            waiting.close();
          };
      task.addTaskCompletionListener(leave);
      return new Annotated(annotations, waiting, lease, counters);
    }
  }

  /** One annotation to come. */
  private record Key(String sampleId, String variant) {}

  /**
   * Questions on their way through the annotator, and what their rows carry along.
   *
   * <p>The annotator may go on reading when the task has ended, whose rows then are no more.
   */
  private static final class Waiting
      implements Iterator<Question>, WatchedAnnotations.Watched, AutoCloseable {
    private static final int PATIENCE_SECONDS = 10;

    private final Iterator<Row> rows;
    private final AnnotatePartition task;
    private final Annotator annotator;
    private final QuestionReader reader;
    private final Map<Key, Deque<Row>> carried = new LinkedHashMap<>();
    private final ReentrantLock lock = new ReentrantLock();
    private volatile boolean ended;
    private final AtomicLong read = new AtomicLong();
    private volatile @Nullable String reading;
    private volatile @Nullable String waitedFor;

    Waiting(Iterator<Row> rows, AnnotatePartition task, Annotator annotator) {
      this.rows = rows;
      this.task = task;
      this.annotator = annotator;
      reader = new QuestionReader(task.files());
    }

    /** While a file is read for this task, what the annotator does for others does not count. */
    @Override
    public long steps() {
      return reading == null ? read.get() + annotator.steps() : read.get();
    }

    @Override
    public String underWay() {
      String file = reading;
      String row = waitedFor;
      return file != null
          ? "the image of row %s was read".formatted(file)
          : row != null ? "row %s was waited for".formatted(row) : "rows were read";
    }

    @Override
    public boolean hasNext() {
      return ofTask(rows::hasNext);
    }

    private <T> T ofTask(Supplier<T> access) {
      lock.lock();
      try {
        if (ended) {
          throw new CancellationException("The task has ended");
        }
        return access.get();
      } finally {
        lock.unlock();
      }
    }

    /** Ends access to the task's rows, after one that is just happening. */
    @Override
    public void close() {
      ended = true;
      try {
        if (lock.tryLock(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
          lock.unlock();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }

    @Override
    public Question next() {
      Row row = ofTask(rows::next);
      reading = row.getString(row.fieldIndex(QuestionTable.SAMPLE_ID));
      Question question = reader.read(row);
      reading = null;
      read.incrementAndGet();
      if (carried.isEmpty()) {
        waitedFor = question.sampleId();
      }
      Row along =
          task.carries()
              ? row.getStruct(row.fieldIndex(QuestionTable.CARRIED))
              : RowFactory.create();
      for (RunSettings.Variant variant : task.settings().variants()) {
        carried
            .computeIfAbsent(
                new Key(question.sampleId(), variant.name()), key -> new ArrayDeque<>(1))
            .add(along);
      }
      return question;
    }

    /** The output row of an annotation; every annotation that was to come has one. */
    Row row(Annotation annotation) {
      Key key = new Key(annotation.sampleId(), annotation.variant());
      Deque<Row> rows = carried.get(key);
      if (rows == null) {
        throw new BrokenInvariantException(
            "The annotator gave an annotation of row %s under variant %s that nobody asked for"
                .formatted(key.sampleId(), key.variant()));
      }
      Row along = rows.remove();
      if (rows.isEmpty()) {
        carried.remove(key);
        waitedFor = carried.isEmpty() ? null : carried.keySet().iterator().next().sampleId();
      }
      Row stored = AnnotationTable.toRow(annotation);
      return task.carries() ? RowFactory.create(stored, along) : RowFactory.create(stored);
    }

    void requireNoneLeft() {
      if (!carried.isEmpty()) {
        Key key = carried.keySet().iterator().next();
        throw new BrokenInvariantException(
            "The annotator left out %d annotations, such as that of row %s under variant %s"
                .formatted(carried.size(), key.sampleId(), key.variant()));
      }
    }
  }

  private static final class Annotated implements Iterator<Row> {
    private final WatchedAnnotations annotations;
    private final Waiting waiting;
    private final ExecutorAnnotator.Lease lease;
    private final @Nullable Counters counters;
    private final Map<FailureKind, Long> failed = new EnumMap<>(FailureKind.class);

    Annotated(
        WatchedAnnotations annotations,
        Waiting waiting,
        ExecutorAnnotator.Lease lease,
        @Nullable Counters counters) {
      this.annotations = annotations;
      this.waiting = waiting;
      this.lease = lease;
      this.counters = counters;
    }

    @Override
    public boolean hasNext() {
      if (isThereAnother()) {
        return true;
      }
      waiting.requireNoneLeft();
      if (!failed.isEmpty()) {
        RunLog.tell("rows failed", failures());
        failed.clear();
      }
      return false;
    }

    private Map<String, Object> failures() {
      TaskContext task = TaskContext.get();
      return Map.of(
          "stage", task.stageId(), "partition", task.partitionId(), "failures", Map.copyOf(failed));
    }

    private static Map<String, Object> lost(AnnotatorLostException e) {
      TaskContext task = TaskContext.get();
      return Map.of(
          "stage", task.stageId(), "partition", task.partitionId(), "reason", "" + e.getMessage());
    }

    @Override
    public Row next() {
      Annotation annotation = annotations.next();
      ExecutorAnnotator.metrics().count(annotation);
      if (annotation.outcome() instanceof Outcome.Failed row) {
        failed.merge(row.failure().kind(), 1L, Long::sum);
      }
      if (counters != null) {
        counters.count(annotation);
      }
      return waiting.row(annotation);
    }

    /** Ends an executor that can annotate no more, so that Spark puts another in its place. */
    private boolean isThereAnother() {
      try {
        return annotations.hasNext();
      } catch (AnnotatorLostException e) {
        lease.lose();
        RunLog.tell("annotator lost", lost(e));
        LostExecutor.end("" + e.getMessage()); // A local run has no other process.
        throw e;
      }
    }
  }

  /** The columns of an annotation, then the carried ones. */
  static Dataset<Row> flat(Dataset<Row> annotated) {
    return List.of(annotated.columns()).contains(QuestionTable.CARRIED)
        ? annotated.select(ANNOTATION + ".*", QuestionTable.CARRIED + ".*")
        : annotated.select(ANNOTATION + ".*");
  }
}
