package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.pipeline.BenchmarkPreset;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.LocalSpark;
import io.sinklens.table.QuestionTable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Presets of benchmarks on one row of each in the columns that the Hub has. */
class BenchmarkPresetTest {
  private static final String PICTURE =
      "named_struct('bytes', cast('pixels' AS binary), 'path', cast(null AS string))";
  private static final String SHORT = "\nAnswer the question using a single word or phrase.";
  private static final String LETTER =
      "\nAnswer with the option's letter from the given choices directly.";

  private static final String VQAV2 =
      "SELECT 'what is' AS question_type, 'blue' AS multiple_choice_answer, array(named_struct('answer', 'blue',"
          + " 'answer_confidence', 'yes', 'answer_id', 1L), named_struct('answer', 'navy', 'answer_confidence', 'no',"
          + " 'answer_id', 2L)) AS answers, 42L AS image_id, 'other' AS answer_type, 42000L AS question_id,"
          + " 'What Colour?' AS question, IMAGE AS image";
  private static final String VIZWIZ =
      "SELECT 'VizWiz_val_00000000' AS question_id, IMAGE AS image, 'What Is this?' AS question,"
          + " array('a box', 'box') AS answers, 'other' AS category";
  private static final String SCIENCEQA =
      "SELECT IMAGE AS image, 'Which is it?' AS question, array('solid', 'gas') AS choices, cast(1 AS tinyint) AS answer,"
          + " 'HINT' AS hint, 'closed choice' AS task, 'grade2' AS grade, 'natural science' AS subject, 'physics' AS topic,"
          + " 'c' AS category, 's' AS skill, 'l' AS lecture, 'x' AS solution";
  private static final String TEXTVQA =
      "SELECT 'abc' AS image_id, 7 AS question_id, 'what Does it say?' AS question, array('what') AS question_tokens,"
          + " IMAGE AS image, 10 AS image_width, 10 AS image_height, '' AS flickr_original_url, '' AS flickr_300k_url,"
          + " array('stop', 'stop') AS answers, array('Sign') AS image_classes, 'val' AS set_name,"
          + " array('STOP', 'ALL') AS ocr_tokens";
  private static final String MME =
      "SELECT 'code_reasoning/0020.png' AS question_id, IMAGE AS image, 'Is it code? Please answer yes or no.' AS question,"
          + " 'Yes' AS answer, 'code_reasoning' AS category";
  private static final String CHAIR =
      "SELECT '391895' AS question_id, IMAGE AS image, array('person', 'bicycle') AS gt_object";
  private static final String POPE =
      "SELECT '0' AS id, '1' AS question_id, 'Is there a snowboard in the image?' AS question, 'yes' AS answer,"
          + " 'COCO_val2014_000000310196' AS image_source, IMAGE AS image, 'adversarial' AS category";
  private static final String MMVP =
      "SELECT 1 AS Index, 'Are the wings open?' AS Question, '(a) Open (b) Closed' AS Options, '(a)' AS `Correct Answer`,"
          + " IMAGE AS image";
  private static final String CV_BENCH =
      "SELECT 0 AS idx, '2D' AS type, 'Count' AS task, IMAGE AS image, 'How many?' AS question, array('0', '1', '2') AS choices,"
          + " '(C)' AS answer, 'How many? Select.\n(A) 0\n(B) 1\n(C) 2' AS prompt, 'img/2D/0.png' AS filename, 'ADE20K' AS source";
  private static final String MM_VET =
      "SELECT 'v1_0' AS question_id, IMAGE AS image, 'What is x?' AS question, '-1<AND>-5' AS answer, 'internet' AS image_source,"
          + " 'ocr,math' AS capability";

  private static final String SCIENCEQA_ASKED =
      "Context: HINT\nWhich is it?\nA. solid\nB. gas" + LETTER;

  /** Preset, row, id of the sample, what the model is asked, reference answers. */
  static List<Arguments> cases() {
    return List.of(
        Arguments.of("vqav2", VQAV2, "42000", "What Colour?" + SHORT, List.of("blue", "navy")),
        Arguments.of(
            "vqav2-lmms-eval", VQAV2, "42000", "What Colour?" + SHORT, List.of("blue", "navy")),
        Arguments.of(
            "vizwiz",
            VIZWIZ,
            "VizWiz_val_00000000",
            "What Is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'."
                + SHORT,
            List.of("a box", "box")),
        Arguments.of(
            "vizwiz-lmms-eval",
            VIZWIZ,
            "VizWiz_val_00000000",
            "What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'."
                + SHORT,
            List.of("a box", "box")),
        Arguments.of("scienceqa", SCIENCEQA, null, SCIENCEQA_ASKED, List.of("1")),
        Arguments.of("scienceqa-lmms-eval", SCIENCEQA, null, SCIENCEQA_ASKED, List.of("1")),
        Arguments.of(
            "scienceqa",
            SCIENCEQA.replace("HINT", ""),
            null,
            "Which is it?\nA. solid\nB. gas" + LETTER,
            List.of("1")),
        Arguments.of(
            "textvqa",
            TEXTVQA,
            "7",
            "what Does it say?\nReference OCR token: STOP, ALL" + SHORT,
            List.of("stop", "stop")),
        Arguments.of(
            "textvqa-plain", TEXTVQA, "7", "what Does it say?" + SHORT, List.of("stop", "stop")),
        Arguments.of(
            "textvqa-lmms-eval",
            TEXTVQA,
            "7",
            "What does it say?" + SHORT,
            List.of("stop", "stop")),
        Arguments.of(
            "mme",
            MME,
            "code_reasoning/0020.png/Is it code? Please answer yes or no.",
            "Is it code?" + SHORT,
            List.of("Yes")),
        Arguments.of(
            "mme-lmms-eval",
            MME,
            "code_reasoning/0020.png/Is it code? Please answer yes or no.",
            "Is it code?" + SHORT,
            List.of("Yes")),
        Arguments.of(
            "chair",
            CHAIR,
            "391895",
            "Please describe this image in detail.",
            List.of("person", "bicycle")),
        Arguments.of(
            "chair-lmms-eval",
            CHAIR,
            "391895",
            "Please describe this image in detail.",
            List.of("person", "bicycle")),
        Arguments.of(
            "pope",
            POPE,
            "adversarial/1",
            "Is there a snowboard in the image?" + SHORT,
            List.of("yes")),
        Arguments.of(
            "pope-lmms-eval",
            POPE,
            "adversarial/1",
            "Is there a snowboard in the image?" + SHORT,
            List.of("yes")),
        Arguments.of("mmvp", MMVP, "1", "Are the wings open? (a) Open (b) Closed", List.of("(a)")),
        Arguments.of(
            "mmvp-lmms-eval",
            MMVP,
            "1",
            "Are the wings open?\nA. Open\nB. Closed" + LETTER,
            List.of("(a)")),
        Arguments.of(
            "cv-bench",
            CV_BENCH,
            "0",
            "How many? Select.\n(A) 0\n(B) 1\n(C) 2" + LETTER,
            List.of("(C)")),
        Arguments.of(
            "cv-bench-lmms-eval",
            CV_BENCH,
            "0",
            "Note: You only need to respond with A, B, C without providing any additional information.\n\n"
                + "How many? Select.\n(A) 0\n(B) 1\n(C) 2",
            List.of("(C)")),
        Arguments.of("mm-vet", MM_VET, "v1_0", "What is x?", List.of("-1<AND>-5")));
  }

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void asksAsTheBenchmarkDoes(
      String name, String row, String sampleId, String asked, List<String> answers) {
    Path input = write("input", row);
    RunSettings run = preset(name, input);

    Row question = only(read(run));

    assertThat(question.getString(question.fieldIndex("question")) + run.model().promptSuffix())
        .isEqualTo(asked);
    assertThat(question.<String>getList(question.fieldIndex("answers"))).isEqualTo(answers);
    if (sampleId != null) {
      assertThat(question.getString(question.fieldIndex(QuestionTable.SAMPLE_ID)))
          .isEqualTo(sampleId);
    }
    assertThat(question.<byte[]>getAs("image_bytes")).asString().isEqualTo("pixels");
    Row carried = question.getStruct(question.fieldIndex(QuestionTable.CARRIED));
    assertThat(carried.schema().fieldNames()).containsExactlyElementsOf(run.output().keepColumns());
  }

  @Test
  void joinsTheImagesOfGqa() {
    write(
        "gqa/testdev_balanced_instructions",
        "SELECT '201' AS id, 'n1' AS imageId, 'Is it?' AS question, 'yes' AS answer, 'Yes.' AS fullAnswer, true AS isBalanced,"
            + " named_struct('global', cast(null AS string), 'local', 'x') AS groups, '' AS entailed, '' AS equivalent,"
            + " named_struct('structural', 'verify', 'semantic', 'attr', 'detailed', 'd') AS types, '' AS annotations,"
            + " array(named_struct('operation', 'select', 'argument', 'x')) AS semantic, '' AS semanticStr"
            + " UNION ALL SELECT '202', 'n2', 'Is it not?', 'no', 'No.', true, named_struct('global', null, 'local', 'x'), '', '',"
            + " named_struct('structural', 'verify', 'semantic', 'attr', 'detailed', 'd'), '',"
            + " array(named_struct('operation', 'select', 'argument', 'x')), ''");
    write("gqa/testdev_balanced_images", "SELECT 'n1' AS id, IMAGE AS image");
    for (String name : List.of("gqa", "gqa-lmms-eval")) {
      RunSettings run = preset(name, folder.resolve("gqa"));

      Map<String, byte[]> images = new LinkedHashMap<>();
      for (Row row : read(run).rows().orderBy(QuestionTable.SAMPLE_ID).collectAsList()) {
        images.put(row.getAs("image_id"), row.getAs("image_bytes"));
      }

      assertThat(images).containsOnlyKeys("n1", "n2");
      assertThat(images.get("n1")).asString().isEqualTo("pixels");
      assertThat(images.get("n2")).isNull();
    }
  }

  @Test
  void refusesImagesWithOneIdAndColumnsThatAreThereAlready() {
    Path questions =
        write(
            "questions", "SELECT 'a' AS id, 'n1' AS scene, 'Is it?' AS question, 'yes' AS answer");
    write("images", "SELECT 'n1' AS id, IMAGE AS image UNION ALL SELECT 'n1', IMAGE");
    write("good", "SELECT 'n1' AS id, IMAGE AS image");
    RunSettings run = withImages(questions, "input.columns.image=picture");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(run))
        .withMessage(
            "Ids of input.image-table must be unique, but column id has duplicates, such as n1");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(withImages(questions, "input.columns.image=scene")))
        .withMessage(
            "Cannot take images from input.image-table: the input has a column scene itself");
    assertThatIllegalArgumentException()
        .isThrownBy(
            () -> read(withImages(questions, "input.columns.image-id=nothing", images("good"))))
        .withMessageStartingWith("Cannot join input.image-table by input.columns.image-id: ");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(withImages(questions, "input.image-table.id=nothing")))
        .withMessageStartingWith("Cannot read input.image-table ");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> withImages(questions, "input.columns.image-id=null"))
        .withMessageStartingWith("input.image-table needs input.columns.image-id");
  }

  @Test
  void drawsTheSameRowsWhateverTheirOrder() {
    String rows =
        "SELECT concat('q', id) AS question_id, IMAGE AS image, array('person') AS gt_object FROM range(40)";
    List<String> drawn = ids(preset("chair", write("some", rows), "input.draw=7"));
    assertThat(drawn).hasSize(7).doesNotHaveDuplicates();
    assertThat(ids(preset("chair", write("same", rows + " ORDER BY -id"), "input.draw=7")))
        .isEqualTo(drawn);
    assertThat(ids(preset("chair", folder.resolve("some")))).hasSize(40);
  }

  @ParameterizedTest
  @MethodSource("calls")
  void refusesSqlThatCallsJava(String setting, String sql) {
    Path input = write("input", POPE);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(preset("pope", input, setting + "=" + sql)))
        .withMessage(setting + " must not call Java (java_method, reflect)");
  }

  static List<Arguments> calls() {
    return List.of(
        Arguments.of(
            "input.filter", "java_method('java.lang.System', 'getProperty', 'user.home') <> ''"),
        Arguments.of("input.filter", "id IN (SELECT reflect('java.util.UUID', 'randomUUID'))"),
        Arguments.of("input.derived.x", "upper(`reflect`('java.util.UUID', 'randomUUID'))"));
  }

  @Test
  void namesADerivedColumnThatCannotBeMade() {
    Path input = write("input", POPE);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(preset("pope", input, "input.derived.x=upper(nothing)")))
        .withMessageMatching("Cannot use input.derived.x upper\\(nothing\\): [^\n]*nothing[^\n]*");
  }

  @Test
  void knowsEveryFileOfTheFolder() throws Exception {
    try (Stream<Path> files = Files.list(Path.of("conf/benchmarks"))) {
      assertThat(files.map(file -> file.getFileName().toString().replace(".yaml", "")))
          .containsExactlyInAnyOrderElementsOf(BenchmarkPreset.NAMES);
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> preset("popes", folder))
        .withMessageStartingWith("There is no benchmark popes: use one of chair, ");
  }

  private String images(String name) {
    return "input.image-table.path='%s'".formatted(folder.resolve(name));
  }

  private RunSettings withImages(Path questions, String... more) {
    List<String> settings =
        Stream.concat(
                Stream.of(
                    "input.path='%s'".formatted(questions),
                    "input.columns.id=id",
                    "input.columns.image-id=scene",
                    images("images"),
                    "output.path=out",
                    "model.path=any"),
                Arrays.stream(more))
            .toList();
    return JobFile.parse("", settings);
  }

  private RunSettings preset(String name, Path input, String... overlays) {
    return BenchmarkPreset.run(
        name, "/models/any", input.toString(), folder.resolve("out").toString(), List.of(overlays));
  }

  private InputQuestions read(RunSettings run) {
    OutputFolder output =
        new OutputFolder(run.output().path(), spark.sparkContext().hadoopConfiguration());
    return InputQuestions.read(spark, run, output, null, null);
  }

  private List<String> ids(RunSettings run) {
    return read(run)
        .rows()
        .orderBy(QuestionTable.SAMPLE_ID)
        .select(QuestionTable.SAMPLE_ID)
        .collectAsList()
        .stream()
        .map(row -> row.getString(0))
        .toList();
  }

  private static Row only(InputQuestions questions) {
    List<Row> rows = questions.rows().collectAsList();
    assertThat(rows).hasSize(1);
    return rows.get(0);
  }

  private Path write(String name, String sql) {
    Path path = folder.resolve(name);
    Dataset<Row> rows = spark.sql(sql.replace("IMAGE", PICTURE));
    rows.coalesce(1).write().parquet(path.toString());
    return path;
  }
}
