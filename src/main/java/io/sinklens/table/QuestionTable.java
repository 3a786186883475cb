package io.sinklens.table;

import static org.apache.spark.sql.functions.array;
import static org.apache.spark.sql.functions.array_compact;
import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.concat;
import static org.apache.spark.sql.functions.concat_ws;
import static org.apache.spark.sql.functions.get;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.max;
import static org.apache.spark.sql.functions.sha2;
import static org.apache.spark.sql.functions.size;
import static org.apache.spark.sql.functions.struct;
import static org.apache.spark.sql.functions.when;
import static org.apache.spark.sql.functions.xxhash64;

import io.sinklens.table.QuestionColumns.UnnamedRows;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * The normal form of an input, whatever its columns are called and however it stores images.
 *
 * <p>Columns: {@code sample_id, image_key, image_id, image_count, image_bytes, image_path,
 * question, answers, mask_bytes, mask_path, sampled}, and {@code carried}, a struct, if columns are
 * carried. {@code image_key} is equal for equal images, and only to bring their rows together.
 */
public final class QuestionTable {
  public static final String SAMPLE_ID = "sample_id";
  public static final String IMAGE_KEY = "image_key";
  public static final String SAMPLED = "sampled";
  public static final String CARRIED = "carried";

  private static final DataType TEXTS = DataTypes.createArrayType(DataTypes.StringType);

  private static final Set<DataType> NUMBER_TYPES =
      Set.of(
          DataTypes.ByteType,
          DataTypes.ShortType,
          DataTypes.IntegerType,
          DataTypes.LongType,
          DataTypes.BooleanType,
          DataTypes.DateType);

  private final Dataset<Row> input;
  private final QuestionColumns columns;
  private final @Nullable String images;
  private final List<String> problems = new ArrayList<>();

  private QuestionTable(Dataset<Row> input, QuestionColumns columns, @Nullable String images) {
    this.input = input;
    this.columns = columns;
    this.images = images;
  }

  /**
   * Brings an input into the normal form, lazily.
   *
   * @param images folder that image paths are looked up in, or null
   * @throws IllegalArgumentException in one line, for columns that are missing or have wrong types
   */
  public static Dataset<Row> normalise(
      Dataset<Row> input, QuestionColumns columns, @Nullable String images) {
    return new QuestionTable(input, columns, images).normalised();
  }

  /**
   * Marks as sampled the rows whose ids have the smallest SHA-256, which no order, partition or
   * executor changes. Reads the ids at once; rows of one id are marked together.
   *
   * @param questions in the normal form, none of them marked
   * @param samples how many, 0 or more; all where there are fewer
   */
  public static Dataset<Row> withSamples(Dataset<Row> questions, int samples) {
    if (samples == 0) {
      return questions;
    }
    Column hash = sha2(col(SAMPLE_ID).cast(DataTypes.BinaryType), 256);
    Row last =
        questions
            .where(col(SAMPLE_ID).isNotNull())
            .select(hash.as("hash"))
            .orderBy("hash")
            .limit(samples)
            .agg(max("hash"))
            .first();
    return last.isNullAt(0)
        ? questions
        : questions.withColumn(SAMPLED, coalesce(hash.leq(lit(last.getString(0))), lit(false)));
  }

  /**
   * Refuses carried columns that a result could not tell apart from its own.
   *
   * @throws IllegalArgumentException in one line
   */
  public static void requireFreeNames(List<String> carried) {
    Set<String> taken = new HashSet<>();
    for (String ours : AnnotationTable.SCHEMA.fieldNames()) {
      taken.add(ours.toLowerCase(Locale.ROOT));
    }
    taken.add("wave");
    Set<String> seen = new HashSet<>();
    for (String name : carried) {
      String lower = name.toLowerCase(Locale.ROOT);
      if (taken.contains(lower)) {
        throw new IllegalArgumentException(
            "Cannot carry column %s: the output has a column of its own called %s"
                .formatted(name, lower));
      }
      if (!seen.add(lower)) {
        throw new IllegalArgumentException("Cannot carry column %s twice".formatted(name));
      }
    }
  }

  private Dataset<Row> normalised() {
    Picture image = picture("image", columns.image());
    Picture mask = columns.mask() == null ? Picture.NONE : picture("mask", columns.mask());
    Column question = text("question", columns.question());
    List<Column> all = new ArrayList<>();
    all.add(sampleId(image, question).as(SAMPLE_ID));
    all.add(imageKey(image, question).as(IMAGE_KEY));
    all.add(imageId().as("image_id"));
    all.add(image.count().as("image_count"));
    all.add(image.bytes().as("image_bytes"));
    all.add(image.path().as("image_path"));
    all.add(question.as("question"));
    all.add(answers().as("answers"));
    all.add(mask.bytes().as("mask_bytes"));
    all.add(mask.path().as("mask_path"));
    all.add(lit(false).as(SAMPLED));
    if (!columns.carried().isEmpty()) {
      Column[] carried =
          columns.carried().stream()
              .map(name -> column("carried", name).as(name))
              .toArray(Column[]::new);
      all.add(struct(carried).as(CARRIED));
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot read the questions: %s; the input has the columns %s"
              .formatted(
                  String.join("; ", problems), String.join(", ", input.schema().fieldNames())));
    }
    return input.select(all.toArray(new Column[0]));
  }

  private Column sampleId(Picture image, Column question) {
    if (!columns.id().isEmpty()) {
      List<Column> parts = new ArrayList<>();
      for (String name : columns.id()) {
        DataType type = type(name);
        if (type != null && !isTextOrNumber(type)) {
          problems.add(wrong("id", name, "text or a whole number", type));
        }
        parts.add(column("id", name).cast(DataTypes.StringType));
      }
      // Null as soon as one part is: an id with a hole would not tell rows apart.
      Column id = parts.get(0);
      for (Column part : parts.subList(1, parts.size())) {
        id = concat(id, lit("/"), part);
      }
      return id;
    }
    Column content =
        columns.unnamed() == UnnamedRows.BY_FILE_AND_NUMBER
            ? concat_ws("/", col("_metadata.file_name"), col("_metadata.row_index"))
            : concat_ws("/", sha2(image.bytes(), 256), image.path(), question);
    return sha2(content.cast(DataTypes.BinaryType), 256);
  }

  private static Column imageKey(Picture image, Column question) {
    return when(image.bytes().isNotNull(), xxhash64(image.bytes()))
        .when(image.path().isNotNull(), xxhash64(image.path()))
        .otherwise(xxhash64(question));
  }

  private Column imageId() {
    String name = columns.imageId();
    if (name == null) {
      return nothing(DataTypes.StringType);
    }
    DataType type = type(name);
    if (type != null && !isTextOrNumber(type)) {
      problems.add(wrong("image-id", name, "text or a whole number", type));
    }
    return column("image-id", name).cast(DataTypes.StringType);
  }

  private Column text(String role, String name) {
    DataType type = type(name);
    if (type != null && !(type instanceof StringType)) {
      problems.add(wrong(role, name, "text", type));
    }
    return column(role, name);
  }

  private Column answers() {
    List<Column> lists = new ArrayList<>();
    for (String name : columns.answers()) {
      DataType type = type(name);
      Column column = column("answers", name);
      if (type instanceof ArrayType list && isTextOrNumber(list.elementType())) {
        lists.add(coalesce(column.cast(TEXTS), noTexts()));
      } else {
        if (type != null && !isTextOrNumber(type)) {
          problems.add(wrong("answers", name, "text, a whole number, or a list of these", type));
        }
        lists.add(array(column.cast(DataTypes.StringType)));
      }
    }
    return lists.isEmpty() ? noTexts() : array_compact(concat(lists.toArray(new Column[0])));
  }

  private Picture picture(String role, String name) {
    DataType type = type(name);
    Column column = column(role, name);
    DataType one = type instanceof ArrayType list ? list.elementType() : type;
    Column count = lit(1);
    if (type instanceof ArrayType) {
      count = coalesce(when(column.isNotNull(), size(column)), lit(0));
      column = when(count.equalTo(1), get(column, lit(0)));
    }
    if (one instanceof BinaryType) {
      return new Picture(count, column, nothing(DataTypes.StringType));
    }
    if (one instanceof StringType) {
      if (images == null) {
        problems.add(
            "column %s holds paths, so input.images must say under which folder".formatted(name));
      }
      return new Picture(count, nothing(DataTypes.BinaryType), column);
    }
    if (one instanceof StructType fields) {
      boolean bytes = field(fields, "bytes") instanceof BinaryType;
      boolean path = field(fields, "path") instanceof StringType;
      if (bytes || path) {
        Column content = bytes ? column.getField("bytes") : nothing(DataTypes.BinaryType);
        Column place = path ? column.getField("path") : nothing(DataTypes.StringType);
        // Beside bytes, a path is only what the file was once called.
        return new Picture(count, content, when(content.isNull(), place));
      }
    }
    if (one != null) {
      problems.add(
          wrong(role, name, "an image (struct<bytes, path>, binary, or a path as text)", one));
    }
    return Picture.NONE;
  }

  /** The column of a name; reports the missing one and goes on with a null. */
  private Column column(String role, String name) {
    if (type(name) == null) {
      problems.add("column %s (%s) is missing".formatted(name, role));
      return nothing(DataTypes.StringType);
    }
    if (Arrays.asList(input.schema().fieldNames()).contains(name)) {
      return quoted(name);
    }
    String[] steps = name.split("\\.", -1);
    Column column = quoted(steps[0]);
    for (int i = 1; i < steps.length; i++) {
      column = column.getField(steps[i]);
    }
    return column;
  }

  private static Column quoted(String name) {
    return col("`" + name.replace("`", "``") + "`");
  }

  /**
   * The type of a column, also of one inside structs or arrays of structs; null if there is none.
   */
  private @Nullable DataType type(String name) {
    DataType whole = field(input.schema(), name);
    if (whole != null) {
      return whole;
    }
    DataType at = input.schema();
    boolean many = false;
    for (String step : name.split("\\.", -1)) {
      if (at instanceof ArrayType list && !many) {
        many = true;
        at = list.elementType();
      }
      if (!(at instanceof StructType struct)) {
        return null;
      }
      at = field(struct, step);
      if (at == null) {
        return null;
      }
    }
    return many ? DataTypes.createArrayType(at) : at;
  }

  private static @Nullable DataType field(StructType struct, String name) {
    int index = Arrays.asList(struct.fieldNames()).indexOf(name);
    return index < 0 ? null : struct.fields()[index].dataType();
  }

  private static String wrong(String role, String name, String expected, DataType type) {
    return "column %s (%s) must hold %s, not %s"
        .formatted(name, role, expected, type.simpleString());
  }

  private static boolean isTextOrNumber(DataType type) {
    return type instanceof StringType || type instanceof DecimalType || NUMBER_TYPES.contains(type);
  }

  private static Column noTexts() {
    return array().cast(TEXTS);
  }

  private static Column nothing(DataType type) {
    return lit(null).cast(type);
  }

  /**
   * An image or a mask as columns.
   *
   * @param count how many the row has, as far as the type can tell
   * @param bytes the file's bytes, or null
   * @param path the file's path, or null
   */
  private record Picture(Column count, Column bytes, Column path) {
    static final Picture NONE =
        new Picture(
            lit(0), lit(null).cast(DataTypes.BinaryType), lit(null).cast(DataTypes.StringType));
  }
}
