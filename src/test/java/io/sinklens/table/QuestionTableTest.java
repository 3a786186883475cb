package io.sinklens.table;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.table.QuestionColumns.UnnamedRows;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QuestionTableTest {
  @TempDir Path folder;

  @Test
  void readsImagesHoweverTheyAreStored() throws IOException {
    Files.createDirectories(folder.resolve("deep"));
    Files.writeString(folder.resolve("deep/cat:1.png"), "cat");
    Dataset<Row> input =
        sql(
            """
            SELECT 1 AS id, 'Q' AS question,
              CAST('cat' AS BINARY) AS bare,
              'deep/cat:1.png' AS path,
              named_struct('bytes', CAST('cat' AS BINARY), 'path', 'gone.png') AS hub,
              named_struct('path', 'deep/cat:1.png') AS linked,
              named_struct('bytes', CAST(NULL AS BINARY), 'path', 'deep/cat:1.png') AS partly,
              array(CAST('cat' AS BINARY)) AS single,
              named_struct('inner', named_struct('bytes', CAST('cat' AS BINARY))) AS nested,
              array(named_struct('file', CAST('cat' AS BINARY))) AS listed
            """);
    for (String column :
        List.of(
            "bare", "path", "hub", "linked", "partly", "single", "nested.inner", "listed.file")) {
      assertThat(read(input, columns(column, null)).get(0).image())
          .as(column)
          .isInstanceOfSatisfying(
              ImageSource.Bytes.class,
              file -> assertThat(file.content()).asString().isEqualTo("cat"));
      assertThat(maskOf(read(input, columns("bare", column)).get(0)))
          .as("mask " + column)
          .isEqualTo("cat");
    }
  }

  @Test
  void saysWhatKeepsARowFromItsImage() throws IOException {
    Files.createDirectories(folder.resolve("images/folder"));
    Files.writeString(folder.resolve("secret.png"), "secret");
    Files.writeString(folder.resolve("images/plain.png"), "plain");
    Files.createSymbolicLink(folder.resolve("images/out.png"), folder.resolve("secret.png"));
    Files.createSymbolicLink(folder.resolve("images/outer"), folder);
    Files.createSymbolicLink(folder.resolve("images/in.png"), folder.resolve("images/plain.png"));
    Files.createSymbolicLink(folder.resolve("images/loop"), folder.resolve("images/loop"));
    Dataset<Row> input =
        sql(
            """
            SELECT id, 'Q' AS question, path AS image FROM VALUES
              (0, 'plain.png'), (1, 'in.png'), (2, 'absent.png'), (3, 'folder'), (4, ''), (5, NULL),
              (6, '../secret.png'), (7, 'folder/../../secret.png'), (8, '/etc/passwd'),
              (9, 'file:///etc/passwd'), (10, 'http://host/x.png'), (11, 'out.png'),
              (12, 'outer/secret.png'), (13, 'plain.png/deeper.png'), (14, 'loop') AS t(id, path)
            """);
    List<Question> questions =
        read(input, columns("image", "image"), folder.resolve("images").toString());

    assertThat(questions)
        .extracting(question -> outcome(question.image()))
        .containsExactly(
            "plain",
            "plain",
            "IMAGE_MISSING There is no image file absent.png",
            "IMAGE_MISSING Image path folder is not a file",
            "IMAGE_MISSING The row's image path is blank",
            "IMAGE_MISSING The row has no image",
            "IMAGE_FORBIDDEN Image path ../secret.png must be relative to input.images, without ..",
            "IMAGE_FORBIDDEN Image path folder/../../secret.png must be relative to input.images,"
                + " without ..",
            "IMAGE_FORBIDDEN Image path /etc/passwd must be relative to input.images, without ..",
            "IMAGE_FORBIDDEN Image path file:///etc/passwd must be relative to input.images,"
                + " without ..",
            "IMAGE_FORBIDDEN Image path http://host/x.png must be relative to input.images, without"
                + " ..",
            "IMAGE_FORBIDDEN Image path out.png is a link to outside input.images",
            "IMAGE_FORBIDDEN Image path outer/secret.png is a link to outside input.images",
            "IMAGE_UNREADABLE Cannot read image file plain.png/deeper.png: FileSystemException",
            "IMAGE_UNREADABLE Cannot read image file loop: FileSystemException");
    assertThat(maskOf(questions.get(0))).isEqualTo("plain");
    assertThat(questions.subList(2, questions.size()))
        .extracting(Question::mask)
        .containsOnlyNulls();
  }

  @Test
  void takesOneImageARow() {
    Dataset<Row> input =
        sql(
            """
            SELECT id, 'Q' AS question, image FROM VALUES
              (0, array(CAST('a' AS BINARY))), (1, array(CAST('a' AS BINARY), CAST('b' AS BINARY))),
              (2, array()), (3, NULL), (4, array(CAST(NULL AS BINARY))) AS t(id, image)
            """);

    assertThat(read(input, columns("image", null)))
        .extracting(question -> outcome(question.image()))
        .containsExactly(
            "a",
            "UNSUPPORTED_INPUT The row has 2 images, not one",
            "IMAGE_MISSING The row has no image",
            "IMAGE_MISSING The row has no image",
            "IMAGE_MISSING The row has no image");
  }

  @Test
  void needsAFolderForPaths() {
    Dataset<Row> input =
        sql(
            """
            SELECT 1 AS id, 'Q' AS question, 'a.png' AS image,
              named_struct('bytes', CAST(NULL AS BINARY), 'path', 'a.png') AS hub
            """);

    assertThatThrownBy(() -> QuestionTable.normalise(input, columns("image", null), null))
        .hasMessage(
            "Cannot read the questions: column image holds paths, so input.images must say under"
                + " which folder; the input has the columns id, question, image, hub");
    assertThat(outcome(read(input, columns("hub", null), null).get(0).image()))
        .isEqualTo("IMAGE_MISSING The row has only the path a.png, and input.images is not set");
  }

  @Test
  void joinsIdsAndGathersAnswers() {
    Dataset<Row> input =
        sql(
            """
            SELECT 'pope' AS category, 7L AS id, 'Q' AS question, CAST('a' AS BINARY) AS image,
              12 AS scene, 'yes' AS answer, array('ja', NULL, 'oui') AS more,
              CAST(NULL AS STRING) AS none, CAST(NULL AS ARRAY<STRING>) AS nothing,
              array(named_struct('answer', 'si')) AS votes, 2Y AS choice, 1.5D AS `a.b`
            """);
    QuestionColumns columns =
        new QuestionColumns(
            List.of("category", "id"),
            UnnamedRows.BY_FILE_AND_NUMBER,
            "image",
            "scene",
            "question",
            List.of("answer", "more", "none", "nothing", "votes.answer", "choice"),
            null,
            List.of("a.b", "more"));

    Question question = read(input, columns).get(0);
    assertThat(question.sampleId()).isEqualTo("pope/7");
    assertThat(question.imageId()).isEqualTo("12");
    assertThat(question.answers()).containsExactly("yes", "ja", "oui", "si", "2");

    Row carried =
        QuestionTable.normalise(input, columns, null)
            .select(QuestionTable.CARRIED)
            .first()
            .getStruct(0);
    assertThat(carried.schema().simpleString()).isEqualTo("struct<a.b:double,more:array<string>>");
    assertThat(carried.getDouble(0)).isEqualTo(1.5);
  }

  @Test
  void numbersRowsWithoutIds() {
    String path = folder.resolve("input").toString();
    sql("SELECT id, 'Q' AS question, CAST(CAST(id AS STRING) AS BINARY) AS image FROM range(3)")
        .coalesce(1)
        .write()
        .parquet(path);
    Dataset<Row> input = LocalSpark.session().read().parquet(path);

    List<String> ids =
        read(input, unnamed(UnnamedRows.BY_FILE_AND_NUMBER)).stream()
            .map(Question::sampleId)
            .toList();
    assertThat(ids).doesNotHaveDuplicates().allMatch(id -> id.matches("[0-9a-f]{64}"));
    assertThat(read(input.where("id = 2"), unnamed(UnnamedRows.BY_FILE_AND_NUMBER)))
        .extracting(Question::sampleId)
        .containsExactly(ids.get(2));

    Dataset<Row> twice = input.union(input);
    assertThat(read(twice, unnamed(UnnamedRows.BY_CONTENT)))
        .extracting(Question::sampleId)
        .hasSize(6)
        .satisfies(all -> assertThat(all.subList(0, 3)).isEqualTo(all.subList(3, 6)));
  }

  @Test
  void givesEqualImagesEqualKeys() {
    Dataset<Row> input =
        sql(
            """
            SELECT id, 'Q' AS question, image FROM VALUES
              (0, CAST('a' AS BINARY)), (1, CAST('b' AS BINARY)), (2, CAST('a' AS BINARY)),
              (3, NULL) AS t(id, image)
            """);
    List<Long> keys =
        QuestionTable.normalise(input, columns("image", null), null)
            .orderBy(QuestionTable.SAMPLE_ID)
            .collectAsList()
            .stream()
            .map(row -> row.<Long>getAs(QuestionTable.IMAGE_KEY))
            .toList();

    assertThat(keys.get(0)).isEqualTo(keys.get(2)).isNotEqualTo(keys.get(1));
    assertThat(keys).doesNotContainNull();
  }

  @Test
  void namesEverythingThatIsWrongAtOnce() {
    Dataset<Row> input = sql("SELECT 1.5D AS id, 3 AS question, 4 AS image, map(1, 2) AS answer");
    QuestionColumns columns =
        new QuestionColumns(
            List.of("id", "category"),
            UnnamedRows.BY_FILE_AND_NUMBER,
            "image",
            null,
            "question",
            List.of("answer"),
            "mask.bytes",
            List.of("extra"));

    assertThatThrownBy(() -> QuestionTable.normalise(input, columns, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot read the questions: column image (image) must hold an image (struct<bytes,"
                + " path>, binary, or a path as text), not int; column mask.bytes (mask) is"
                + " missing; column question (question) must hold text, not int; column id (id)"
                + " must hold text or a whole number, not double; column category (id) is missing;"
                + " column answer (answers) must hold text, a whole number, or a list of these, not"
                + " map<int,int>;"
                + " column extra (carried) is missing; the input has the columns id, question,"
                + " image, answer");
  }

  @Test
  void refusesCarriedColumnsThatWouldCollide() {
    assertThatThrownBy(() -> QuestionTable.requireFreeNames(List.of("category", "Answer")))
        .hasMessage("Cannot carry column Answer: the output has a column of its own called answer");
    assertThatThrownBy(() -> QuestionTable.requireFreeNames(List.of("wave")))
        .hasMessage("Cannot carry column wave: the output has a column of its own called wave");
    assertThatThrownBy(() -> QuestionTable.requireFreeNames(List.of("a", "A")))
        .hasMessage("Cannot carry column A twice");
  }

  private static String outcome(ImageSource image) {
    if (image instanceof ImageSource.Unavailable gone) {
      FailureKind kind = gone.failure().kind();
      return kind + " " + gone.failure().message();
    }
    return new String(((ImageSource.Bytes) image).content(), UTF_8);
  }

  private static String maskOf(Question question) {
    return new String(Objects.requireNonNull(question.mask()).content(), StandardCharsets.UTF_8);
  }

  private static QuestionColumns columns(String image, @Nullable String mask) {
    return new QuestionColumns(
        List.of("id"),
        UnnamedRows.BY_FILE_AND_NUMBER,
        image,
        null,
        "question",
        List.of(),
        mask,
        List.of());
  }

  private static QuestionColumns unnamed(UnnamedRows unnamed) {
    return new QuestionColumns(
        List.of(), unnamed, "image", null, "question", List.of(), null, List.of());
  }

  private List<Question> read(Dataset<Row> input, QuestionColumns columns) {
    return read(input, columns, folder.toString());
  }

  private static List<Question> read(
      Dataset<Row> input, QuestionColumns columns, @Nullable String images) {
    QuestionReader reader = new QuestionReader(new ImageFiles(images, new Configuration()));
    return QuestionTable.normalise(input, columns, images).collectAsList().stream()
        .map(reader::read)
        .toList();
  }

  private static Dataset<Row> sql(String query) {
    return LocalSpark.session().sql(query);
  }
}
