package io.sinklens.table;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.Type;
import org.jspecify.annotations.Nullable;

/** Rows of the row groups that lie in a part of a file. */
final class ParquetRows implements RowReader {
  private final FilePart part;
  private final @Nullable ParquetReader<Group> reader; // Null where no column is wanted.
  private @Nullable Group next;

  ParquetRows(FilePart part, Set<String> columns, Configuration hadoop) throws IOException {
    this.part = part;
    Path path = new Path(part.path());
    MessageType schema = schema(path, hadoop);
    List<Type> wanted =
        schema.getFields().stream().filter(field -> columns.contains(field.getName())).toList();
    if (wanted.isEmpty()) {
      reader = null;
      return;
    }
    Configuration projected = new Configuration(hadoop);
    projected.set(
        ReadSupport.PARQUET_READ_SCHEMA, new MessageType(schema.getName(), wanted).toString());
    reader =
        ParquetReader.builder(new GroupReadSupport(), path)
            .withConf(projected)
            .withFileRange(part.start(), part.end())
            .build();
    next = reader.read();
  }

  private static MessageType schema(Path path, Configuration hadoop) throws IOException {
    try (ParquetFileReader file = ParquetFileReader.open(HadoopInputFile.fromPath(path, hadoop))) {
      return file.getFooter().getFileMetaData().getSchema();
    }
  }

  @Override
  public boolean hasNext() {
    return next != null;
  }

  @Override
  public Map<String, Object> next() {
    if (next == null || reader == null) {
      throw new NoSuchElementException();
    }
    try {
      Map<String, Object> row = struct(next);
      next = reader.read();
      return row;
    } catch (IOException | RuntimeException e) {
      throw FilePart.unreadable(part.path(), e);
    }
  }

  private static Map<String, Object> struct(Group group) {
    GroupType type = group.getType();
    Map<String, Object> struct = new LinkedHashMap<>();
    for (int field = 0; field < type.getFieldCount(); field++) {
      Object value = field(group, field);
      if (value != null) {
        struct.put(type.getFieldName(field), value);
      }
    }
    return struct;
  }

  private static @Nullable Object field(Group group, int field) {
    int values = group.getFieldRepetitionCount(field);
    if (group.getType().getType(field).isRepetition(Type.Repetition.REPEATED)) {
      List<@Nullable Object> list = new ArrayList<>(values); // Of a file without the type of lists.
      for (int i = 0; i < values; i++) {
        list.add(value(group, field, i));
      }
      return list;
    }
    return values == 0 ? null : value(group, field, 0);
  }

  private static @Nullable Object value(Group group, int field, int index) {
    Type type = group.getType().getType(field);
    if (type.isPrimitive()) {
      return primitive(group, field, index, type.asPrimitiveType());
    }
    Group value = group.getGroup(field, index);
    return type.getLogicalTypeAnnotation()
            instanceof LogicalTypeAnnotation.ListLogicalTypeAnnotation
        ? list(value)
        : struct(value);
  }

  /** By the rules of the format, also for lists that older programs have written. */
  private static List<@Nullable Object> list(Group list) {
    GroupType type = list.getType();
    Type repeated = type.getType(0);
    boolean wrapped =
        !repeated.isPrimitive()
            && repeated.asGroupType().getFieldCount() == 1
            && !repeated.getName().equals("array")
            && !repeated.getName().endsWith("_tuple");
    List<@Nullable Object> values = new ArrayList<>();
    for (int i = 0; i < list.getFieldRepetitionCount(0); i++) {
      values.add(wrapped ? field(list.getGroup(0, i), 0) : value(list, 0, i));
    }
    return values;
  }

  private static Object primitive(Group group, int field, int index, PrimitiveType type) {
    if (!isReadable(type)) {
      throw new UnsupportedOperationException(
          "column %s holds %s, which is neither text nor a plain number"
              .formatted(type.getName(), type));
    }
    return switch (type.getPrimitiveTypeName()) {
      case BOOLEAN -> group.getBoolean(field, index);
      case FLOAT -> (double) group.getFloat(field, index);
      case DOUBLE -> group.getDouble(field, index);
      case INT32 -> (long) group.getInteger(field, index);
      case INT64 -> group.getLong(field, index);
      case BINARY -> group.getString(field, index);
      default -> throw new IllegalStateException("A check has been forgotten");
    };
  }

  private static boolean isReadable(PrimitiveType type) {
    LogicalTypeAnnotation meaning = type.getLogicalTypeAnnotation();
    return switch (type.getPrimitiveTypeName()) {
      case BOOLEAN, FLOAT, DOUBLE -> true;
      case INT32, INT64 ->
          meaning == null || meaning instanceof LogicalTypeAnnotation.IntLogicalTypeAnnotation;
      case BINARY ->
          meaning instanceof LogicalTypeAnnotation.StringLogicalTypeAnnotation
              || meaning instanceof LogicalTypeAnnotation.EnumLogicalTypeAnnotation
              || meaning instanceof LogicalTypeAnnotation.JsonLogicalTypeAnnotation;
      default -> false;
    };
  }

  @Override
  public void close() {
    try {
      if (reader != null) {
        reader.close();
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot close " + part.path(), e);
    }
  }
}
