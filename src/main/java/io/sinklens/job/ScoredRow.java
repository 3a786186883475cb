package io.sinklens.job;

import io.sinklens.benchmark.RowScore;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * A row that a scorer has looked at.
 *
 * @param variant which gave the prediction; empty where there are no variants
 * @param image names the row's image; empty where it is not known
 * @param id the row's
 * @param answered whether there was a prediction
 * @param score null where the row cannot be scored
 * @param problem why it cannot, in a sentence; null where it can
 */
record ScoredRow(
    String variant,
    String image,
    String id,
    boolean answered,
    @Nullable RowScore score,
    @Nullable String problem) {

  /** Rows of one variant and group are judged together. */
  static final String VARIANT = "variant";

  static final String GROUP = "group";
  static final String ID = "id";

  /** How rows travel between executors. */
  static final StructType SCHEMA =
      new StructType()
          .add(VARIANT, DataTypes.StringType, false)
          .add(GROUP, DataTypes.StringType, false)
          .add(ID, DataTypes.StringType, false)
          .add("image", DataTypes.StringType, false)
          .add("answered", DataTypes.BooleanType, false)
          .add("problem", DataTypes.StringType)
          .add("parsed", DataTypes.StringType)
          .add("score", DataTypes.DoubleType)
          .add("pair", DataTypes.StringType)
          .add("names", DataTypes.createArrayType(DataTypes.StringType, false))
          .add("counts", DataTypes.createArrayType(DataTypes.LongType, false));

  private static final Comparator<String> AS_SPARK_SORTS =
      (one, other) ->
          Arrays.compareUnsigned(
              one.getBytes(StandardCharsets.UTF_8), other.getBytes(StandardCharsets.UTF_8));

  /** By variant, group and id. */
  static final Comparator<ScoredRow> ORDER =
      Comparator.comparing(ScoredRow::variant, AS_SPARK_SORTS)
          .thenComparing(ScoredRow::group, AS_SPARK_SORTS)
          .thenComparing(ScoredRow::id, AS_SPARK_SORTS);

  /**
   * What the row is judged together with: a pair's name behind a sign that no id has, or its id.
   */
  String group() {
    return score == null || score.pair() == null ? id : "\0" + score.pair();
  }

  boolean isJudgedWith(ScoredRow other) {
    return variant.equals(other.variant) && group().equals(other.group());
  }

  Row toRow() {
    @Nullable Object[] values = new @Nullable Object[SCHEMA.size()];
    put(values, VARIANT, variant);
    put(values, GROUP, group());
    put(values, ID, id);
    put(values, "image", image);
    put(values, "answered", answered);
    put(values, "problem", problem);
    if (score != null) {
      put(values, "parsed", score.parsed());
      put(values, "score", score.score());
      put(values, "pair", score.pair());
      String[] names = score.counts().keySet().toArray(new String[0]);
      put(values, "names", names);
      put(values, "counts", Arrays.stream(names).map(score.counts()::get).toArray(Long[]::new));
    }
    return RowFactory.create(values);
  }

  private static void put(@Nullable Object[] values, String column, @Nullable Object value) {
    values[SCHEMA.fieldIndex(column)] = value;
  }

  static ScoredRow fromRow(Row row) {
    String id = row.getAs(ID);
    String problem = row.getAs("problem");
    RowScore score = null;
    if (problem == null) {
      List<String> names = row.getList(SCHEMA.fieldIndex("names"));
      List<Long> counts = row.getList(SCHEMA.fieldIndex("counts"));
      Map<String, Long> sums = new HashMap<>();
      for (int i = 0; i < names.size(); i++) {
        sums.put(names.get(i), counts.get(i));
      }
      score = new RowScore(id, row.getAs("parsed"), row.getAs("score"), sums, row.getAs("pair"));
    }
    return new ScoredRow(
        row.getAs(VARIANT), row.getAs("image"), id, row.getAs("answered"), score, problem);
  }
}
