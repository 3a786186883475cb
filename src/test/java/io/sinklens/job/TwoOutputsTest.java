package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.result.Annotation;
import io.sinklens.table.AnnotationTable;
import java.io.IOException;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Compares the outputs of two runs, such as the demo's on two versions of Spark.
 *
 * <p>Runs only when asked for by its tag, with the folders in {@code sinklens.left} and {@code
 * sinklens.right}; {@code .ci/run} does.
 */
@Tag("two-outputs")
class TwoOutputsTest {

  @Test
  void holdTheSameRows() throws IOException {
    try (SparkSession spark =
        SparkSession.builder().master("local[2]").config("spark.ui.enabled", false).getOrCreate()) {
      Map<String, Annotation> left = annotations(spark, "sinklens.left");
      Map<String, Annotation> right = annotations(spark, "sinklens.right");
      assertThat(left).isNotEmpty();
      assertThat(right.keySet()).isEqualTo(left.keySet());
      left.forEach((key, annotation) -> assertThat(right.get(key)).as(key).isEqualTo(annotation));
    }
  }

  private static Map<String, Annotation> annotations(SparkSession spark, String property) {
    String folder = System.getProperty(property);
    assertThat(folder).as("system property " + property).isNotBlank();
    Map<String, Annotation> annotations = new TreeMap<>();
    for (Row row : spark.read().parquet(folder + "/annotations").collectAsList()) {
      Annotation annotation = AnnotationTable.fromRow(row);
      annotations.put(annotation.sampleId() + " / " + annotation.variant(), annotation);
    }
    return annotations;
  }
}
