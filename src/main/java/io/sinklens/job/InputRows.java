package io.sinklens.job;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.expr;

import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.pipeline.RunSettings.Input;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.expressions.CallMethodViaReflection;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.SubqueryExpression;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.QueryExecution;
import org.apache.spark.sql.types.DataTypes;
import org.jspecify.annotations.Nullable;
import scala.collection.Iterator;

/**
 * What questions are made of: the input's rows, with what settings add and without what they drop.
 */
final class InputRows {
  private static final String IMAGE_KEY = "_image_of_table";

  private InputRows() {}

  /**
   * Joins images, adds derived columns and filters, lazily but for a look at the images' ids.
   *
   * @throws IllegalArgumentException in one line that names the setting
   */
  static Dataset<Row> of(Dataset<Row> rows, Input input) {
    Dataset<Row> made = rows;
    ImageTable table = input.imageTable();
    if (table != null) {
      made = withImages(made, input, table);
    }
    for (Map.Entry<String, String> column : input.derived().entrySet()) {
      made = derived(made, column.getKey(), column.getValue());
    }
    return filtered(made, input.filter());
  }

  private static Dataset<Row> withImages(Dataset<Row> rows, Input input, ImageTable table) {
    String image = input.columns().image();
    if (Arrays.asList(rows.columns()).contains(image)) {
      throw new IllegalArgumentException(
          "Cannot take images from input.image-table: the input has a column %s itself"
              .formatted(image));
    }
    Dataset<Row> images = read(rows, table);
    try {
      String id = String.valueOf(input.columns().imageId());
      return rows.join(
              images.withColumnRenamed("image", image),
              rows.col(id).cast(DataTypes.StringType).equalTo(col(IMAGE_KEY)),
              "left")
          .drop(IMAGE_KEY);
    } catch (Exception e) { // Scala declares nothing: a column that is missing comes unannounced.
      throw new IllegalArgumentException(
          "Cannot join input.image-table by input.columns.image-id: " + SparkFailures.oneLine(e),
          e);
    }
  }

  /** The images as two columns, each id once. */
  private static Dataset<Row> read(Dataset<Row> rows, ImageTable table) {
    Dataset<Row> images;
    List<Row> twice;
    try {
      images =
          rows.sparkSession()
              .read()
              .parquet(table.path())
              .select(
                  col(table.id()).cast(DataTypes.StringType).as(IMAGE_KEY),
                  col(table.image()).as("image"));
      twice =
          images
              .groupBy(IMAGE_KEY)
              .count()
              .where("count > 1")
              .orderBy(IMAGE_KEY)
              .limit(1)
              .collectAsList();
    } catch (Exception e) {
      throw new IllegalArgumentException(
          "Cannot read input.image-table %s: %s"
              .formatted(Addresses.withoutSecrets(table.path()), SparkFailures.reason(e)),
          e);
    }
    if (!twice.isEmpty()) {
      throw new IllegalArgumentException(
          "Ids of input.image-table must be unique, but column %s has duplicates, such as %s"
              .formatted(table.id(), twice.get(0).get(0)));
    }
    return images;
  }

  private static Dataset<Row> derived(Dataset<Row> rows, String name, String expression) {
    return made("input.derived." + name, expression, () -> rows.withColumn(name, expr(expression)));
  }

  private static Dataset<Row> filtered(Dataset<Row> rows, @Nullable String condition) {
    return condition == null ? rows : made("input.filter", condition, () -> rows.where(condition));
  }

  /** SQL has functions that call any method of Java, which a job file must not. */
  private static Dataset<Row> made(String setting, String sql, Callable<Dataset<Row>> work) {
    Dataset<Row> rows;
    try {
      rows = work.call();
    } catch (Exception e) { // Scala declares nothing: what Spark cannot parse comes unannounced.
      throw new IllegalArgumentException(
          "Cannot use %s %s: %s".formatted(setting, sql, SparkFailures.oneLine(e)), e);
    }
    if (callsJava(plan(rows))) {
      throw new IllegalArgumentException(setting + " must not call Java (java_method, reflect)");
    }
    return rows;
  }

  /** Spark 4 has the method in a subclass that Spark 3.5 does not have. */
  private static LogicalPlan plan(Dataset<Row> rows) {
    try {
      Object execution = rows.getClass().getMethod("queryExecution").invoke(rows);
      return ((QueryExecution) execution).analyzed();
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("Cannot look at a query", e);
    }
  }

  private static boolean callsJava(LogicalPlan plan) {
    return any(plan.expressions().iterator(), InputRows::callsJava)
        || any(plan.children().iterator(), InputRows::callsJava);
  }

  private static boolean callsJava(Expression expression) {
    return expression instanceof CallMethodViaReflection
        || (expression instanceof SubqueryExpression query && callsJava(query.plan()))
        || any(expression.children().iterator(), InputRows::callsJava);
  }

  private static <T> boolean any(Iterator<T> all, Predicate<T> condition) {
    while (all.hasNext()) {
      if (condition.test(all.next())) {
        return true;
      }
    }
    return false;
  }
}
