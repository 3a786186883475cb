package io.sinklens.job;

import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Writes the bundled images as files, for a host without Spark: in the order of the dataset, and
 * mirrored behind them, as the benchmark has them.
 */
public final class ExportImages {
  private ExportImages() {}

  /** Writes into the folder that is named. */
  public static void main(String[] folder) throws IOException {
    Path images = Files.createDirectories(Path.of(folder[0]));
    try (Bundled bundled = Bundled.unpack();
        SparkSession spark = LocalSpark.session()) {
      Map<String, byte[]> files = new LinkedHashMap<>();
      for (Row row : spark.read().parquet(bundled.scenes().toString()).collectAsList()) {
        files.putIfAbsent(row.getAs("image_id"), row.<Row>getAs("image").getAs("bytes"));
      }
      int number = 0;
      for (byte[] file : files.values()) {
        Files.write(images.resolve("%03d.png".formatted(number++)), file);
      }
      for (byte[] file : files.values()) {
        Files.write(images.resolve("%03d.png".formatted(number++)), BenchQuestions.mirrored(file));
      }
    }
  }
}
