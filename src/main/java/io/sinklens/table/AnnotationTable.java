package io.sinklens.table;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.FinishReason;
import io.sinklens.result.Answer.TokenLogprob;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.HeadStatistics;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.result.PromptFacts.View;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * The stored form of an {@link Annotation}: one row a question and variant.
 *
 * <p>Units and the meaning of nulls are in {@code schema.md}.
 */
public final class AnnotationTable {
  /** Stored in {@code status} for a row with an answer. */
  public static final String ANSWERED = "answered";

  /** Stored in {@code status} for a row with a failure. */
  public static final String FAILED = "failed";

  private static final ArrayType TEXTS = array(DataTypes.StringType);
  private static final ArrayType INTEGERS = array(DataTypes.IntegerType);
  private static final ArrayType FLOATS = array(DataTypes.FloatType);

  /** Columns in their order; carried columns of the input follow them. */
  public static final StructType SCHEMA =
      new StructType()
          .add("sample_id", DataTypes.StringType, false)
          .add("image_id", DataTypes.StringType)
          .add("question", DataTypes.StringType)
          .add("variant", DataTypes.StringType, false)
          .add("answers", TEXTS, false)
          .add("status", DataTypes.StringType, false)
          .add(
              "failure",
              new StructType()
                  .add("kind", DataTypes.StringType, false)
                  .add("message", DataTypes.StringType, false))
          .add("answer", DataTypes.StringType)
          .add("answer_token_ids", INTEGERS)
          .add("answer_logprob", DataTypes.DoubleType)
          .add("finish_reason", DataTypes.StringType)
          .add(
              "top_logprobs",
              array(
                  array(
                      new StructType()
                          .add("token_id", DataTypes.IntegerType, false)
                          .add("logprob", DataTypes.DoubleType, false))))
          .add(
              "choice_probabilities",
              new MapType(DataTypes.StringType, DataTypes.DoubleType, false))
          .add("prompt_token_count", DataTypes.IntegerType)
          .add("image_token_count", DataTypes.IntegerType)
          .add("image_width", DataTypes.IntegerType)
          .add("image_height", DataTypes.IntegerType)
          .add(
              "image_grid",
              new StructType()
                  .add(
                      "views",
                      array(
                          new StructType()
                              .add("row", DataTypes.IntegerType, false)
                              .add("column", DataTypes.IntegerType, false)
                              .add("rows", DataTypes.IntegerType, false)
                              .add("columns", DataTypes.IntegerType, false)
                              .add("x", DataTypes.DoubleType, false)
                              .add("y", DataTypes.DoubleType, false)
                              .add("width", DataTypes.DoubleType, false)
                              .add("height", DataTypes.DoubleType, false)),
                      false))
          .add("mask_background", FLOATS)
          .add(
              "sinks",
              array(
                  new StructType()
                      .add("layer", DataTypes.IntegerType, false)
                      .add("image_positions", INTEGERS, false)
                      .add("text_positions", INTEGERS, false)
                      .add("max_value", DataTypes.FloatType, false)))
          .add("head_selection", DataTypes.BinaryType)
          .add("head_selection_shape", INTEGERS)
          .add(
              "head_statistics",
              array(
                  new StructType()
                      .add("layer", DataTypes.IntegerType, false)
                      .add("image_attention", FLOATS, false)
                      .add("nonsink_ratio", FLOATS, false)
                      .add("sink_attention", FLOATS, false)
                      .add("sink_contribution", FLOATS)
                      .add("nonsink_contribution", FLOATS)))
          .add(
              "attention_maps",
              new StructType()
                  .add("shape", INTEGERS, false)
                  .add("before", DataTypes.BinaryType, false)
                  .add("after", DataTypes.BinaryType, false));

  private AnnotationTable() {}

  /** A row of {@link #SCHEMA}. */
  public static Row toRow(Annotation annotation) {
    @Nullable Object[] values = new @Nullable Object[SCHEMA.size()];
    put(values, "sample_id", annotation.sampleId());
    put(values, "image_id", annotation.imageId());
    put(values, "question", annotation.question());
    put(values, "variant", annotation.variant());
    put(values, "answers", texts(annotation.answers()));
    Outcome outcome = annotation.outcome();
    if (outcome instanceof Outcome.Answered answered) {
      put(values, "status", ANSWERED);
      putAnswer(values, answered.answer());
      putPrompt(values, answered.prompt());
      if (answered.attention() != null) {
        putAttention(values, answered.attention());
      }
    } else if (outcome instanceof Outcome.Failed failed) {
      put(values, "status", FAILED);
      put(
          values,
          "failure",
          RowFactory.create(failed.failure().kind().name(), failed.failure().message()));
    }
    return RowFactory.create(values);
  }

  /** The annotation of a row that has the columns of {@link #SCHEMA}, in any order. */
  public static Annotation fromRow(Row row) {
    String status = text(row, "status");
    return new Annotation(
        text(row, "sample_id"),
        optionalText(row, "image_id"),
        optionalText(row, "question"),
        text(row, "variant"),
        list(row, "answers"),
        switch (status) {
          case ANSWERED -> new Outcome.Answered(answer(row), prompt(row), attention(row));
          case FAILED -> new Outcome.Failed(failure(row.getStruct(row.fieldIndex("failure"))));
          default ->
              throw new IllegalArgumentException(
                  "Column status must hold answered or failed, not " + status);
        });
  }

  private static void putAnswer(@Nullable Object[] values, Answer answer) {
    put(values, "answer", answer.text());
    put(values, "answer_token_ids", integers(answer.tokenIds()));
    put(values, "answer_logprob", answer.logprob());
    put(values, "finish_reason", answer.finishReason().name().toLowerCase(Locale.ROOT));
    if (!answer.topLogprobs().isEmpty()) {
      put(
          values,
          "top_logprobs",
          rows(
              answer.topLogprobs(),
              token -> rows(token, one -> RowFactory.create(one.tokenId(), one.logprob()))));
    }
    if (!answer.choiceProbabilities().isEmpty()) {
      // Sorted, so that equal annotations are stored as equal bytes.
      put(
          values,
          "choice_probabilities",
          ScalaMaps.of(new TreeMap<>(answer.choiceProbabilities())));
    }
  }

  private static void putPrompt(@Nullable Object[] values, PromptFacts prompt) {
    put(values, "prompt_token_count", prompt.promptTokenCount());
    put(values, "image_token_count", prompt.imageTokenCount());
    put(values, "image_width", prompt.imageWidth());
    put(values, "image_height", prompt.imageHeight());
    Object[] views =
        rows(
            prompt.views(),
            view ->
                RowFactory.create(
                    view.row(),
                    view.column(),
                    view.rows(),
                    view.columns(),
                    view.x(),
                    view.y(),
                    view.width(),
                    view.height()));
    put(values, "image_grid", RowFactory.create((Object) views));
    if (!prompt.maskBackground().isEmpty()) {
      put(values, "mask_background", floats(prompt.maskBackground()));
    }
  }

  private static void putAttention(@Nullable Object[] values, AttentionRecord attention) {
    put(
        values,
        "sinks",
        rows(
            attention.sinks(),
            layer ->
                RowFactory.create(
                    layer.layer(),
                    integers(layer.imagePositions()),
                    integers(layer.textPositions()),
                    layer.maxValue())));
    HeadSelection selection = attention.headSelection();
    put(values, "head_selection", selection.bits());
    put(
        values,
        "head_selection_shape",
        integers(List.of(selection.answerTokens(), selection.layers(), selection.heads())));
    put(
        values,
        "head_statistics",
        rows(
            attention.headStatistics(),
            layer ->
                RowFactory.create(
                    layer.layer(),
                    floats(layer.imageAttention()),
                    floats(layer.nonsinkRatio()),
                    floats(layer.sinkAttention()),
                    optionalFloats(layer.sinkContribution()),
                    optionalFloats(layer.nonsinkContribution()))));
    if (attention.maps() != null) {
      put(values, "attention_maps", maps(attention.maps()));
    }
  }

  private static Row maps(AttentionMaps maps) {
    int layers = maps.before().size();
    int imageTokens = layers == 0 ? 0 : maps.before().get(0).size();
    return RowFactory.create(
        integers(List.of(layers, imageTokens)),
        HalfFloats.encode(maps.before()),
        HalfFloats.encode(maps.after()));
  }

  private static Failure failure(Row failure) {
    return new Failure(FailureKind.valueOf(text(failure, "kind")), text(failure, "message"));
  }

  private static Answer answer(Row row) {
    Map<String, Double> choices =
        absent(row, "choice_probabilities")
            ? Map.of()
            : row.getJavaMap(row.fieldIndex("choice_probabilities"));
    return new Answer(
        text(row, "answer"),
        list(row, "answer_token_ids"),
        row.getDouble(row.fieldIndex("answer_logprob")),
        FinishReason.valueOf(text(row, "finish_reason").toUpperCase(Locale.ROOT)),
        AnnotationTable.<Object>list(row, "top_logprobs").stream()
            .map(AnnotationTable::tokenLogprobs)
            .toList(),
        choices);
  }

  private static List<TokenLogprob> tokenLogprobs(Object token) {
    // One value in a row of its own: the public way from a Scala sequence to a list.
    List<Row> most = RowFactory.create(token).getList(0);
    return most.stream()
        .map(
            one ->
                new TokenLogprob(
                    integer(one, "token_id"), one.getDouble(one.fieldIndex("logprob"))))
        .toList();
  }

  private static PromptFacts prompt(Row row) {
    return new PromptFacts(
        integer(row, "prompt_token_count"),
        integer(row, "image_token_count"),
        integer(row, "image_width"),
        integer(row, "image_height"),
        AnnotationTable.<Row>list(row.getStruct(row.fieldIndex("image_grid")), "views").stream()
            .map(
                view ->
                    new View(
                        integer(view, "row"),
                        integer(view, "column"),
                        integer(view, "rows"),
                        integer(view, "columns"),
                        view.getDouble(view.fieldIndex("x")),
                        view.getDouble(view.fieldIndex("y")),
                        view.getDouble(view.fieldIndex("width")),
                        view.getDouble(view.fieldIndex("height"))))
            .toList(),
        list(row, "mask_background"));
  }

  private static @Nullable AttentionRecord attention(Row row) {
    if (absent(row, "head_selection")) {
      return null;
    }
    List<Integer> shape = list(row, "head_selection_shape");
    return new AttentionRecord(
        AnnotationTable.<Row>list(row, "sinks").stream()
            .map(
                layer ->
                    new LayerSinks(
                        integer(layer, "layer"),
                        list(layer, "image_positions"),
                        list(layer, "text_positions"),
                        layer.getFloat(layer.fieldIndex("max_value"))))
            .toList(),
        new HeadSelection(
            (byte[]) row.get(row.fieldIndex("head_selection")),
            shape.get(0),
            shape.get(1),
            shape.get(2)),
        AnnotationTable.<Row>list(row, "head_statistics").stream()
            .map(
                layer ->
                    new HeadStatistics(
                        integer(layer, "layer"),
                        list(layer, "image_attention"),
                        list(layer, "nonsink_ratio"),
                        list(layer, "sink_attention"),
                        optionalList(layer, "sink_contribution"),
                        optionalList(layer, "nonsink_contribution")))
            .toList(),
        absent(row, "attention_maps")
            ? null
            : maps(row.getStruct(row.fieldIndex("attention_maps"))));
  }

  private static AttentionMaps maps(Row maps) {
    List<Integer> shape = list(maps, "shape");
    return new AttentionMaps(
        HalfFloats.decode((byte[]) maps.get(maps.fieldIndex("before")), shape.get(0), shape.get(1)),
        HalfFloats.decode((byte[]) maps.get(maps.fieldIndex("after")), shape.get(0), shape.get(1)));
  }

  private static void put(@Nullable Object[] values, String column, @Nullable Object value) {
    values[SCHEMA.fieldIndex(column)] = value;
  }

  // Row encoders take arrays of objects, not lists.

  private static String[] texts(List<String> texts) {
    return texts.toArray(new String[0]);
  }

  private static Integer[] integers(List<Integer> integers) {
    return integers.toArray(new Integer[0]);
  }

  private static Float[] floats(List<Float> floats) {
    return floats.toArray(new Float[0]);
  }

  private static Float @Nullable [] optionalFloats(@Nullable List<Float> floats) {
    return floats == null ? null : floats(floats);
  }

  private static <T> Object[] rows(List<T> items, Function<T, Object> row) {
    return items.stream().map(row).toArray();
  }

  private static ArrayType array(DataType element) {
    return new ArrayType(element, false);
  }

  private static String text(Row row, String column) {
    return row.getString(row.fieldIndex(column));
  }

  private static @Nullable String optionalText(Row row, String column) {
    return absent(row, column) ? null : text(row, column);
  }

  private static int integer(Row row, String column) {
    return row.getInt(row.fieldIndex(column));
  }

  /** An absent list is an empty one. */
  private static <T> List<T> list(Row row, String column) {
    return absent(row, column) ? List.of() : row.getList(row.fieldIndex(column));
  }

  private static @Nullable List<Float> optionalList(Row row, String column) {
    return absent(row, column) ? null : list(row, column);
  }

  private static boolean absent(Row row, String column) {
    return row.isNullAt(row.fieldIndex(column));
  }
}
