package io.sinklens.job;

import static org.apache.spark.sql.functions.col;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.QuestionColumns;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionTable;
import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

/**
 * The door for other Spark programs, in Java or Python: rows in, annotated rows out, lazily and
 * inside the caller's own job.
 *
 * <pre>{@code
 * Dataset<Row> annotated =
 *     Sinklens.settings()
 *         .modelUrl("/models/llava-1.5-7b-hf")
 *         .inputCols("image", "question", "id")
 *         .outputCol("annotation")
 *         .annotate(questions);
 * }</pre>
 */
public final class Sinklens {
  private Sinklens() {}

  /**
   * Annotates rows.
   *
   * <p>Columns, filter and carried columns are those of the settings; their input and output paths
   * are not used. Rows of an image are brought together first. Without id columns, {@code
   * sample_id} is the SHA-256 of image and question. Ids need not be unique. With {@code
   * statistics.samples} above 0 the ids are read at once, by this call.
   *
   * @return for every row and variant one row of the columns in {@code schema.md} and the carried
   *     columns, in no particular order
   * @throws IllegalArgumentException in one line, for columns that are missing or have wrong types
   */
  public static Dataset<Row> annotate(Dataset<Row> questions, RunSettings settings) {
    return annotate(questions, settings, new LoadModel());
  }

  static Dataset<Row> annotate(
      Dataset<Row> questions, RunSettings settings, AnnotatorFactory factory) {
    QuestionTable.requireFreeNames(settings.output().keepColumns());
    return AnnotatedRows.flat(
        annotated(
            questions,
            settings,
            InputQuestions.columns(settings, UnnamedRows.BY_CONTENT),
            factory));
  }

  private static Dataset<Row> annotated(
      Dataset<Row> questions,
      RunSettings settings,
      QuestionColumns columns,
      AnnotatorFactory factory) {
    Dataset<Row> normal =
        QuestionTable.normalise(
            InputRows.of(questions, settings.input()), columns, settings.input().images());
    Dataset<Row> sampled = QuestionTable.withSamples(normal, settings.statistics().samples());
    int partitions = questions.sparkSession().sparkContext().defaultParallelism();
    return AnnotatedRows.of(sampled, factory, settings, partitions, null);
  }

  /** Settings by the names that the DJL Spark extension has for the same things. */
  public static Builder settings() {
    return new Builder();
  }

  /**
   * Collects settings; for one thread. Names that end in {@code Cols} or {@code Col}, {@code
   * engine}, {@code modelUrl} and {@code batchSize} are those of the DJL Spark extension; all
   * others are reached with {@link #set}.
   */
  public static final class Builder {
    /** Prompts of one image and a short question have about as many. */
    private static final int TOKENS_A_ROW = 1024;

    private static final String UNUSED = "unused";

    private final Map<String, String> settings = new LinkedHashMap<>();
    private String outputCol = "annotation";

    private Builder() {
      settings.put("input.path", UNUSED);
      settings.put("output.path", UNUSED);
      settings.put("input.columns.answers", "null");
    }

    /** The engine; only PyTorch is there. */
    public Builder engine(String engine) {
      if (!engine.equals("PyTorch")) {
        throw new IllegalArgumentException("Engine must be PyTorch, not " + engine);
      }
      return this;
    }

    /** The checkpoint folder: a path on every executor, or an address Hadoop knows. */
    public Builder modelUrl(String url) {
      String path = url;
      if (url.startsWith("file:")) {
        path = Path.of(URI.create(url)).toString();
      } else if (url.matches("(djl|https?|jar):.*")) {
        throw new IllegalArgumentException(
            "Model url must be a folder on every executor or on a Hadoop file system, not "
                + Addresses.withoutSecrets(url));
      }
      return put("model.path", path);
    }

    /** The columns of image and question, and of the row's id if it has one. */
    public Builder inputCols(String... columns) {
      return inputCols(Arrays.asList(columns));
    }

    /** The columns of image and question, and of the row's id if it has one. */
    public Builder inputCols(List<String> columns) {
      if (columns.size() < 2 || columns.size() > 3) {
        throw new IllegalArgumentException(
            "Input columns must be image, question and possibly id, not " + columns);
      }
      put("input.columns.image", columns.get(0));
      put("input.columns.question", columns.get(1));
      return columns.size() < 3 ? this : put("input.columns.id", columns.get(2));
    }

    /** The column that gets the annotation, a struct of the columns in {@code schema.md}. */
    public Builder outputCol(String column) {
      outputCol = column;
      return this;
    }

    /**
     * How many rows run together, roughly: there are {@code 1024 * rows} tokens to a batch. {@code
     * generation.batch-tokens} says it exactly. Changes nothing in the answers.
     */
    public Builder batchSize(int rows) {
      if (rows < 1 || rows > Integer.MAX_VALUE / TOKENS_A_ROW) {
        throw new IllegalArgumentException("Batch size must be at least 1, not " + rows);
      }
      return set("generation.batch-tokens", Integer.toString(rows * TOKENS_A_ROW));
    }

    /**
     * Any other setting of a job file.
     *
     * @param key such as {@code generation.max-new-tokens} or {@code variants}
     * @param yaml its value
     */
    public Builder set(String key, String yaml) {
      settings.put(key, yaml);
      return this;
    }

    /** The settings; those that were not given have the defaults of a job file. */
    public RunSettings build() {
      List<String> overlays = new ArrayList<>();
      settings.forEach((key, yaml) -> overlays.add(key + "=" + yaml));
      return JobFile.parse("", overlays);
    }

    /**
     * Annotates rows, lazily.
     *
     * @return for every row and variant one row: all columns of the input, and the annotation
     * @throws IllegalArgumentException in one line, for settings or columns that cannot be used
     */
    public Dataset<Row> annotate(Dataset<Row> questions) {
      return annotate(questions, new LoadModel());
    }

    Dataset<Row> annotate(Dataset<Row> questions, AnnotatorFactory factory) {
      List<String> carried = Arrays.asList(questions.columns());
      if (carried.contains(outputCol)) {
        throw new IllegalArgumentException(
            "Output column must be new, but the input has a column " + outputCol);
      }
      RunSettings run = build();
      QuestionColumns columns = InputQuestions.columns(run, UnnamedRows.BY_CONTENT);
      Dataset<Row> annotated =
          annotated(
              questions,
              run,
              new QuestionColumns(
                  columns.id(),
                  columns.unnamed(),
                  columns.image(),
                  columns.imageId(),
                  columns.question(),
                  columns.answers(),
                  columns.mask(),
                  carried,
                  columns.imageKeys()),
              factory);
      return annotated.select(
          col(QuestionTable.CARRIED + ".*"), col(AnnotatedRows.ANNOTATION).as(outputCol));
    }

    private Builder put(String key, String text) {
      try {
        settings.put(key, new ObjectMapper().writeValueAsString(text));
      } catch (JsonProcessingException e) {
        throw new IllegalStateException("Cannot write " + key, e);
      }
      return this;
    }
  }
}
