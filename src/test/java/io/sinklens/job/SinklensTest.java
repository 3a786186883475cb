package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.LocalSpark;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;

class SinklensTest {
  private static final Shouting SHOUTING = new Shouting("api");

  private final Dataset<Row> questions =
      LocalSpark.session()
          .sql(
              """
              SELECT id, CAST(image AS BINARY) AS image, question, note FROM VALUES
                (1, 'cat', 'Is it?', 'a'), (2, 'dog', 'Who?', 'b'), (3, 'cat', ' ', 'c'),
                (1, 'cat', 'Is it?', 'd')
                AS t(id, image, question, note)
              """);

  @Test
  void annotatesRowsInsideAnotherJob() {
    RunSettings settings =
        JobFile.parse(
            "",
            List.of(
                "input={path: unused, columns: {id: id, answers: null}, filter: id < 3}",
                "output={path: unused, keep-columns: note}",
                "model.path=any"));

    List<Row> rows =
        Sinklens.annotate(questions, settings, SHOUTING)
            .where("variant = 'var'")
            .orderBy("sample_id", "note")
            .collectAsList();

    assertThat(Arrays.asList(rows.get(0).schema().fieldNames()))
        .startsWith(AnnotationTable.SCHEMA.fieldNames())
        .endsWith("note");
    // Rows with the same id each keep what they carry.
    assertThat(rows)
        .extracting(row -> row.<String>getAs("sample_id") + row.getAs("note") + row.getAs("answer"))
        .containsExactly("1aIS IT?", "1dIS IT?", "2bWHO?");
  }

  @Test
  void putsAnnotationsBesideTheColumnsOfTheInput() {
    List<Row> rows =
        Sinklens.settings()
            .engine("PyTorch")
            .modelUrl("file:///models/any")
            .inputCols(List.of("image", "question"))
            .outputCol("said")
            .batchSize(4)
            .set("variants", "[{name: only, hook: none}]")
            .annotate(questions, SHOUTING)
            .orderBy("note")
            .collectAsList();

    assertThat(rows).hasSize(4);
    assertThat(rows.get(0).schema().fieldNames())
        .containsExactly("id", "image", "question", "note", "said");
    Row said = rows.get(0).getAs("said");
    assertThat(said.<String>getAs("answer")).isEqualTo("IS IT?");
    assertThat(said.<String>getAs("sample_id")).matches("[0-9a-f]{64}");
    assertThat(rows.get(2).<Row>getAs("said").<String>getAs("status")).isEqualTo("failed");
    // Equal content has equal ids.
    assertThat(rows.get(3).<Row>getAs("said").<String>getAs("sample_id"))
        .isEqualTo(said.<String>getAs("sample_id"));
  }

  @Test
  void translatesTheNamesOfTheDjlExtension() {
    RunSettings settings =
        Sinklens.settings()
            .modelUrl("/models/llava")
            .inputCols("picture", "q", "key")
            .batchSize(8)
            .set("generation.max-new-tokens", "7")
            .build();

    assertThat(settings.model().path()).isEqualTo("/models/llava");
    assertThat(settings.input().columns().image()).isEqualTo("picture");
    assertThat(settings.input().columns().question()).isEqualTo("q");
    assertThat(settings.input().columns().id()).containsExactly("key");
    assertThat(settings.input().columns().answers()).isEmpty();
    assertThat(settings.generation().batchTokens()).isEqualTo(8192);
    assertThat(settings.generation().maxNewTokens()).isEqualTo(7);
    assertThat(settings.variants()).hasSize(2);
  }

  @Test
  void refusesWhatItCannotDo() {
    Sinklens.Builder builder = Sinklens.settings();

    assertThatThrownBy(() -> builder.engine("TensorFlow"))
        .hasMessage("Engine must be PyTorch, not TensorFlow");
    assertThatThrownBy(() -> builder.modelUrl("djl://ai.djl.zoo/llava"))
        .hasMessage(
            "Model url must be a folder on every executor or on a Hadoop file system, not"
                + " djl://ai.djl.zoo/llava");
    assertThat(Sinklens.settings().modelUrl("s3a://models/llava").build().model().path())
        .isEqualTo("s3a://models/llava");
    assertThatThrownBy(() -> builder.inputCols("image"))
        .hasMessage("Input columns must be image, question and possibly id, not [image]");
    assertThatThrownBy(() -> builder.batchSize(0))
        .hasMessage("Batch size must be at least 1, not 0");
    assertThatThrownBy(builder::build).hasMessage("model.path must be given");
    assertThatThrownBy(
            () -> Sinklens.settings().modelUrl("m").outputCol("note").annotate(questions, SHOUTING))
        .hasMessage("Output column must be new, but the input has a column note");
    assertThatThrownBy(
            () ->
                Sinklens.settings()
                    .modelUrl("m")
                    .inputCols("picture", "question")
                    .annotate(questions, SHOUTING))
        .hasMessage(
            "Cannot read the questions: column picture (image) is missing; the input has the"
                + " columns id, image, question, note");
  }
}
