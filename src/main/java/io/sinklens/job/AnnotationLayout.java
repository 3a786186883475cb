package io.sinklens.job;

import static java.util.Objects.requireNonNull;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.benchmark.References;
import io.sinklens.benchmark.Scorer;
import io.sinklens.table.AnnotationTable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Where annotations hold the columns of a benchmark: carried along under their own names, or as
 * question, image, id or reference answers, of which the manifest says what columns they were.
 *
 * @param sources by column of the benchmark, the column of the annotations
 * @param answerField of which field of a list of structs the answers were; empty where they were
 *     not
 */
record AnnotationLayout(Map<String, String> sources, String answerField) implements RowLayout {
  private static final Set<String> OWN =
      Set.copyOf(Arrays.asList(AnnotationTable.SCHEMA.fieldNames()));
  private static final String ANSWERS = "answers";

  AnnotationLayout {
    sources = Map.copyOf(sources);
  }

  /**
   * Finds the columns of a benchmark.
   *
   * @param needed what is looked for
   * @param there what the annotations have
   * @param manifest of the run
   * @return those that were found
   */
  static AnnotationLayout find(
      Collection<String> needed, Collection<String> there, Manifest manifest) {
    JsonNode mapped = manifest.settings().path("input").path("columns");
    Map<String, String> sources = new HashMap<>();
    String field = "";
    for (String column : needed) {
      if (there.contains(column) && !OWN.contains(column)) {
        sources.put(column, column);
      } else if (isOnly(mapped.path("answers"), column)) {
        sources.put(column, ANSWERS);
        field = fieldOf(mapped.path("answers"));
      } else if (isOnly(mapped.path("question"), column)) {
        sources.put(column, "question");
      } else if (isOnly(mapped.path("image-id"), column)) {
        sources.put(column, "image_id");
      } else if (isOnly(mapped.path("id"), column)) {
        sources.put(column, "sample_id");
      }
    }
    return new AnnotationLayout(sources, field);
  }

  /** Whether a setting names one column, and this one or a field of its structs. */
  private static boolean isOnly(JsonNode setting, String column) {
    return only(setting).equals(column) || only(setting).startsWith(column + ".");
  }

  private static String fieldOf(JsonNode setting) {
    String only = only(setting);
    return only.contains(".") ? only.substring(only.lastIndexOf('.') + 1) : "";
  }

  /** The one column that a setting names; empty if it names several or none. */
  private static String only(JsonNode setting) {
    JsonNode only = setting.isArray() && setting.size() == 1 ? setting.get(0) : setting;
    return only.isTextual() ? only.asText() : "";
  }

  /** The answers as the input had them, so far as that is known. */
  private Object answers(List<?> answers) {
    if (answerField.isEmpty()) {
      return new References(answers.stream().map(String::valueOf).toList());
    }
    List<Map<String, Object>> structs = new ArrayList<>();
    for (Object answer : answers) {
      // Equal answers of different annotators stay apart, as VQA's numbers of them keep them.
      structs.add(Map.of(answerField, answer, "answer_id", structs.size() + 1L));
    }
    return structs;
  }

  /** What annotations have besides their own columns. */
  static List<String> carried(Collection<String> there) {
    return there.stream().filter(column -> !OWN.contains(column)).toList();
  }

  @Override
  public Set<String> columns() {
    Set<String> columns = new TreeSet<>(List.of("sample_id", "image_id", "variant", "answer"));
    columns.addAll(sources.values());
    return columns;
  }

  @Override
  public ScoredRow score(Map<String, Object> row, String number, Scorer scorer) {
    Map<String, Object> columns = new HashMap<>();
    sources.forEach(
        (column, source) -> {
          Object value = row.get(source);
          if (source.equals(ANSWERS) && value instanceof List<?> answers) {
            if (!answers.isEmpty()) {
              columns.put(column, answers(answers));
            }
          } else if (value != null) {
            columns.put(column, value);
          }
        });
    String id = text(row, "sample_id");
    return RowLayout.scored(
        text(row, "variant"),
        row.containsKey("image_id") ? text(row, "image_id") : "row " + id,
        id,
        columns,
        row.containsKey("answer") ? text(row, "answer") : null,
        scorer);
  }

  private static String text(Map<String, Object> row, String column) {
    return requireNonNull(row.get(column), column).toString();
  }
}
