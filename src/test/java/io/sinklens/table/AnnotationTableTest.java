package io.sinklens.table;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AnnotationTableTest {
  private static final PromptFacts PROMPT =
      new PromptFacts(
          700, 576, 640, 480, List.of(new View(0, 0, 24, 24, -80.5, 0, 640, 640)), List.of());

  private static final Annotation FULL =
      new Annotation(
          "popular/7",
          "scene",
          "What is it?",
          "var",
          List.of("a cat", "cat"),
          new Outcome.Answered(
              new Answer(
                  "Cat",
                  List.of(5, 2),
                  -0.75,
                  FinishReason.STOP,
                  List.of(
                      List.of(new TokenLogprob(5, -0.5), new TokenLogprob(6, -1.5)),
                      List.of(new TokenLogprob(2, -0.25), new TokenLogprob(7, -3))),
                  Map.of("yes", 0.25, "no", 0.5)),
              PROMPT.withMaskBackground(List.of(0f, 0.5f, 1f)),
              new AttentionRecord(
                  List.of(
                      new LayerSinks(2, List.of(1, 575), List.of(0), 31.5f),
                      new LayerSinks(3, List.of(), List.of(), 7f)),
                  HeadSelection.pack(
                      List.of(
                          new boolean[][] {{true, false, true}, {false, false, true}},
                          new boolean[][] {{false, true, false}, {true, true, true}}),
                      2,
                      3),
                  List.of(
                      new HeadStatistics(
                          2,
                          List.of(0.5f, 0.25f),
                          List.of(1f, 0f),
                          List.of(0.125f, 0f),
                          List.of(2.5f, 0f),
                          List.of(0.75f, 3f)),
                      new HeadStatistics(
                          3,
                          List.of(0.5f, 0.25f),
                          List.of(1f, 0f),
                          List.of(0.125f, 0f),
                          null,
                          List.of(0.75f, 3f))),
                  new AttentionMaps(
                      List.of(List.of(0.5f, 0.25f, 0f), List.of(0.125f, 1f, 0.0625f)),
                      List.of(List.of(0f, 0.5f, 0.5f), List.of(1f, 0f, 0.25f))))));

  private static final Annotation LEAST =
      new Annotation(
          "popular/8",
          null,
          "",
          "baseline",
          List.of(),
          new Outcome.Answered(
              new Answer("", List.of(), 0, FinishReason.LENGTH, List.of(), Map.of()),
              PROMPT,
              null));

  private static final Annotation FAILED =
      new Annotation(
          "popular/9",
          null,
          null,
          "baseline",
          List.of("no"),
          new Outcome.Failed(new Failure(FailureKind.IMAGE_UNREADABLE, "Cannot read it")));

  @Test
  void storesAnnotationsInParquet(@TempDir Path folder) {
    String path = folder.resolve("annotations").toString();
    List<Annotation> annotations = List.of(FULL, LEAST, FAILED);
    LocalSpark.session()
        .createDataset(
            annotations.stream().map(AnnotationTable::toRow).toList(),
            Encoders.row(AnnotationTable.SCHEMA))
        .write()
        .parquet(path);

    // Other columns around and another order: fields are found by their names.
    List<Row> rows =
        LocalSpark.session()
            .read()
            .parquet(path)
            .select(
                functions.lit(1).as("before"),
                functions.col("variant"),
                functions.col("status"),
                functions.struct("*").as("all"))
            .orderBy("all.sample_id")
            .select("before", "status", "all.*")
            .collectAsList();

    assertThat(rows).extracting(AnnotationTable::fromRow).containsExactlyElementsOf(annotations);
  }

  @Test
  void leavesNullWhatWasNotAskedFor() {
    Row least = AnnotationTable.toRow(LEAST);
    for (String column :
        List.of(
            "image_id",
            "failure",
            "top_logprobs",
            "choice_probabilities",
            "mask_background",
            "sinks",
            "head_selection",
            "head_selection_shape",
            "head_statistics",
            "attention_maps")) {
      assertThat(least.isNullAt(AnnotationTable.SCHEMA.fieldIndex(column))).as(column).isTrue();
    }

    Row failed = AnnotationTable.toRow(FAILED);
    assertThat(AnnotationTable.SCHEMA.fieldNames())
        .filteredOn(column -> !failed.isNullAt(AnnotationTable.SCHEMA.fieldIndex(column)))
        .containsExactly("sample_id", "variant", "answers", "status", "failure");
  }

  @Test
  void refusesAnUnknownStatus() {
    Row row =
        LocalSpark.session()
            .createDataset(
                List.of(AnnotationTable.toRow(LEAST)), Encoders.row(AnnotationTable.SCHEMA))
            .withColumn("status", functions.lit("lost"))
            .first();

    assertThatThrownBy(() -> AnnotationTable.fromRow(row))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Column status must hold answered or failed, not lost");
  }

  /** The page lists exactly the columns of the schema, in their order, with their types. */
  @Test
  void agreesWithItsPage() throws IOException {
    List<String> documented =
        Files.readAllLines(Path.of("src/site/markdown/schema.md")).stream()
            .filter(line -> line.startsWith("| `"))
            .map(line -> line.split("\\|", -1))
            .map(cells -> cells[1].strip().replace("`", "") + " " + cells[2].replace(" ", ""))
            .toList();

    assertThat(documented)
        .containsExactlyElementsOf(
            Arrays.stream(AnnotationTable.SCHEMA.fields())
                .map(field -> field.name() + " " + field.dataType().simpleString())
                .toList());
  }
}
