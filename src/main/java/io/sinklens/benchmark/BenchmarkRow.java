package io.sinklens.benchmark;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A question of a benchmark and what a model said to it.
 *
 * @param id names the row in results; unique within a benchmark
 * @param columns the columns of the benchmark by their names on the Hub, as String, Long, Double,
 *     Boolean, List, Map or {@link References}; a column that is null is not in it
 * @param prediction what the model said, null where nothing is known of it
 */
public record BenchmarkRow(String id, Map<String, Object> columns, @Nullable String prediction) {
  public BenchmarkRow {
    columns = Map.copyOf(columns);
  }

  /**
   * A column that must be there, as text: numbers as they are written in JSON.
   *
   * @throws UnscorableRowException if the row has none, or it is a list or a struct
   */
  public String text(String column) {
    Object value = columns.get(column);
    if (value instanceof References references) {
      value = references.texts().size() == 1 ? references.texts().get(0) : references.texts();
    }
    if (value == null || value instanceof List || value instanceof Map) {
      throw new UnscorableRowException(
          "Row %s: column %s must be a text, not %s"
              .formatted(id, column, value == null ? "null" : "a list or a struct"));
    }
    return value.toString();
  }

  /**
   * A column that may be missing, as text.
   *
   * @throws UnscorableRowException if it is a list or a struct
   */
  public @Nullable String textOrNull(String column) {
    return columns.containsKey(column) ? text(column) : null;
  }

  /**
   * A column of several texts; an empty list if the row has none.
   *
   * @throws UnscorableRowException if it is not a list of texts
   */
  public List<String> texts(String column) {
    return list(column).stream().map(value -> textIn(column, value)).toList();
  }

  /**
   * One field of each struct of a column, for columns that are lists of structs.
   *
   * @throws UnscorableRowException if it is not such a list
   */
  public List<String> texts(String column, String field) {
    return structs(column).stream().map(struct -> textIn(column, struct.get(field))).toList();
  }

  /**
   * A column of several structs; an empty list if the row has none.
   *
   * @throws UnscorableRowException if it is not a list of structs
   */
  public List<Map<?, ?>> structs(String column) {
    return list(column).stream().<Map<?, ?>>map(value -> struct(column, value)).toList();
  }

  /**
   * One field of a column that is a struct and must be there, as text.
   *
   * @throws UnscorableRowException if the row has none
   */
  public String text(String column, String field) {
    return textIn(column, struct(column, columns.get(column)).get(field));
  }

  /**
   * The prediction, where the benchmark's script refuses to go on without one.
   *
   * @throws UnscorableRowException if it is missing
   */
  public String requiredPrediction() {
    if (prediction == null) {
      throw new UnscorableRowException(
          "Row %s: the prediction is missing, and this mode scores no incomplete set"
              .formatted(id));
    }
    return prediction;
  }

  /** The prediction, empty if it is missing. */
  public String predictionOrEmpty() {
    return prediction == null ? "" : prediction;
  }

  private List<?> list(String column) {
    Object value = columns.getOrDefault(column, List.of());
    if (value instanceof References references) {
      return references.texts();
    }
    if (!(value instanceof List<?> list)) {
      throw new UnscorableRowException(
          "Row %s: column %s must be a list, not %s".formatted(id, column, value));
    }
    return list;
  }

  private Map<?, ?> struct(String column, @Nullable Object value) {
    if (!(value instanceof Map<?, ?> struct)) {
      throw new UnscorableRowException(
          "Row %s: column %s must hold structs, not %s".formatted(id, column, value));
    }
    return struct;
  }

  private String textIn(String column, @Nullable Object value) {
    if (value == null || value instanceof List || value instanceof Map) {
      throw new UnscorableRowException(
          "Row %s: column %s must hold texts, not %s".formatted(id, column, value));
    }
    return value.toString();
  }
}
