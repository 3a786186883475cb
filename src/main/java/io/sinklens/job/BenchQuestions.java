package io.sinklens.job;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.ImageFiles;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionReader;
import io.sinklens.table.QuestionTable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/** The questions of a workload, as a Parquet file the job can read too. */
final class BenchQuestions {
  private final @Nullable Path file;

  private BenchQuestions(@Nullable Path file) {
    this.file = file;
  }

  /** Writes the questions, unless they are the bundled ones as they are. */
  static BenchQuestions of(Workload workload, Bundled bundled, SparkSession spark) {
    List<String> texts = workload.questions();
    if (texts == null && workload.images() == null) {
      return new BenchQuestions(null);
    }
    Map<String, Object> images = new LinkedHashMap<>(); // In the order of the file.
    List<Row> asked = new ArrayList<>();
    Dataset<Row> scenes = spark.read().parquet(bundled.scenes().toString());
    for (Row row : scenes.collectAsList()) {
      String imageId = row.getAs("image_id");
      if (workload.images() == null
          || images.containsKey(imageId)
          || images.size() < workload.images()) {
        images.putIfAbsent(imageId, row.getAs("image"));
        if (texts == null) {
          asked.add(row(row.getAs("question_id"), imageId, images, row.getAs("question")));
        }
      }
    }
    if (texts != null) {
      for (String imageId : images.keySet()) {
        for (int q = 0; q < texts.size(); q++) {
          asked.add(row(imageId + "-" + q, imageId, images, texts.get(q)));
        }
      }
    }
    StructType schema =
        new StructType()
            .add("question_id", DataTypes.StringType)
            .add("image_id", DataTypes.StringType)
            .add(scenes.schema().apply("image"))
            .add("question", DataTypes.StringType);
    Path file = bundled.scratch().resolve("workload");
    spark.createDataset(asked, Encoders.row(schema)).coalesce(1).write().parquet(file.toString());
    return new BenchQuestions(file);
  }

  private static Row row(String id, String imageId, Map<String, Object> images, String question) {
    return RowFactory.create(id, imageId, images.get(imageId), question);
  }

  /** What a job that asks them is set to. */
  List<String> overlays() {
    return file == null
        ? List.of()
        : List.of(
            "input.path='" + file + "'",
            "input.columns={id: question_id, image: image, image-id: image_id, question: question,"
                + " answers: null, mask: null}",
            "output.keep-columns=[]");
  }

  /** All of them, those on one image behind one another. */
  List<Question> read(SparkSession spark, RunSettings run) {
    Dataset<Row> rows =
        QuestionTable.normalise(
            spark.read().parquet(run.input().path()),
            InputQuestions.columns(run, UnnamedRows.BY_FILE_AND_NUMBER),
            null);
    QuestionReader reader =
        new QuestionReader(new ImageFiles(null, spark.sparkContext().hadoopConfiguration()));
    return rows.orderBy(QuestionTable.IMAGE_KEY, QuestionTable.SAMPLE_ID).collectAsList().stream()
        .map(reader::read)
        .toList();
  }

  /** How many questions at the beginning are on the first images. */
  int ofImages(List<Question> questions, int images) {
    List<byte[]> seen = new ArrayList<>();
    for (int i = 0; i < questions.size(); i++) {
      ImageSource image = questions.get(i).image();
      byte[] content = image instanceof ImageSource.Bytes bytes ? bytes.content() : new byte[0];
      if (seen.stream().noneMatch(other -> Arrays.equals(other, content))) {
        if (seen.size() == images) {
          return i;
        }
        seen.add(content);
      }
    }
    return questions.size();
  }
}
