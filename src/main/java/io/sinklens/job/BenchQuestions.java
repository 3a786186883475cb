package io.sinklens.job;

import io.sinklens.dataset.Question;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.table.ImageFiles;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import io.sinklens.table.QuestionReader;
import io.sinklens.table.QuestionTable;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
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
  private final @Nullable String firstId;

  private BenchQuestions(@Nullable Path file, @Nullable String firstId) {
    this.file = file;
    this.firstId = firstId;
  }

  /** Writes the questions, unless they are the bundled ones as they are. */
  static BenchQuestions of(Workload workload, Bundled bundled, SparkSession spark) {
    List<String> texts = workload.questions();
    if (texts == null && workload.images() == null) {
      return new BenchQuestions(null, null);
    }
    Dataset<Row> scenes = spark.read().parquet(bundled.scenes().toString());
    List<Row> rows = scenes.collectAsList();
    Map<String, Row> images = images(rows, workload);
    List<Row> asked = new ArrayList<>();
    if (texts == null) {
      rows.stream()
          .filter(row -> images.containsKey(row.<String>getAs("image_id")))
          .map(
              row ->
                  row(
                      row.getAs("question_id"),
                      row.getAs("image_id"),
                      images,
                      row.getAs("question")))
          .forEach(asked::add);
    } else {
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
    Path file = bundled.scratch().resolve("workload-" + images.size());
    spark.createDataset(asked, Encoders.row(schema)).coalesce(1).write().parquet(file.toString());
    return new BenchQuestions(file, texts == null ? null : asked.get(0).getString(0));
  }

  /** By id: the first bundled ones in the order of the file, then the same mirrored. */
  private static Map<String, Row> images(List<Row> rows, Workload workload) {
    Map<String, Row> images = new LinkedHashMap<>();
    rows.forEach(row -> images.putIfAbsent(row.getAs("image_id"), row.getAs("image")));
    if (workload.images() == null) {
      return images;
    }
    int bundled = images.size();
    String most = "the %d bundled ones".formatted(bundled);
    if (workload.questions() != null) { // The bundled questions are about bundled images.
      most += " and as many mirrored";
      if (workload.images() > bundled) {
        addMirrored(images);
      }
    }
    if (workload.images() > images.size()) {
      throw new IllegalArgumentException(
          "Images must be at most %s, not %d".formatted(most, workload.images()));
    }
    images.keySet().retainAll(images.keySet().stream().limit(workload.images()).toList());
    return images;
  }

  private static Row row(String id, String imageId, Map<String, Row> images, String question) {
    return RowFactory.create(id, imageId, images.get(imageId), question);
  }

  /** Adds each image with left and right exchanged, as PNG, so that the script sees the same. */
  private static void addMirrored(Map<String, Row> images) {
    for (Map.Entry<String, Row> image : List.copyOf(images.entrySet())) {
      images.put(
          image.getKey() + "-mirrored",
          RowFactory.create(mirrored(image.getValue().getAs("bytes")), null));
    }
  }

  static byte[] mirrored(byte[] file) {
    try {
      BufferedImage image = ImageIO.read(new ByteArrayInputStream(file));
      int width = image.getWidth();
      int height = image.getHeight();
      BufferedImage mirrored = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          mirrored.setRGB(width - 1 - x, y, image.getRGB(x, y));
        }
      }
      ByteArrayOutputStream png = new ByteArrayOutputStream();
      ImageIO.write(mirrored, "png", png);
      return png.toByteArray();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot mirror a bundled image", e);
    }
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

  /**
   * By variant, the tokens of the answer to the first question about the first image, which a
   * script can hold against transformers'; nothing where each image has its own questions.
   */
  Map<String, List<Integer>> firstAnswer(List<Annotation> annotations) {
    Map<String, List<Integer>> tokens = new LinkedHashMap<>();
    for (Annotation annotation : annotations) {
      if (annotation.sampleId().equals(firstId)
          && annotation.outcome() instanceof Outcome.Answered answered) {
        tokens.put(annotation.variant(), answered.answer().tokenIds());
      }
    }
    return tokens;
  }
}
