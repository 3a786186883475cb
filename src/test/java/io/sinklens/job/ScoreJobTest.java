package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.job.CompareJob.Entry;
import io.sinklens.job.ScoreJob.Result;
import io.sinklens.job.ScoreJob.UseSpark;
import io.sinklens.job.ScoreJob.VariantResult;
import io.sinklens.pipeline.JobFile;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.io.TempDir;

class ScoreJobTest {
  @TempDir private Path folder;

  /** Pairs, categories, missing predictions and copies of rows, in several files. */
  @Test
  void givesTheSameNumbersWithSparkAndWithout() throws IOException {
    Random random = new Random(1);
    List<String> lines = new ArrayList<>();
    for (String subtask : List.of("count", "code_reasoning")) {
      for (int image = 0; image < 20; image++) {
        for (String truth : List.of("Yes", "No")) {
          lines.add(
              "{\"question_id\": \"%s/%d.png\", \"question\": \"Is it %s?\", \"category\": \"%s\", \"answer\": \"%s\", \"prediction\": %s}"
                  .formatted(
                      subtask,
                      image,
                      truth,
                      subtask,
                      truth,
                      List.of("\"Yes\"", "\"No\"", "\"no idea\"", "null").get(random.nextInt(4))));
        }
      }
    }
    Path files = Files.createDirectories(folder.resolve("predictions"));
    Files.write(files.resolve("b.jsonl"), lines.subList(0, 50));
    Files.write(files.resolve("a.jsonl"), lines.subList(30, 80));
    Files.writeString(files.resolve("README.md"), "not a table");

    Path here = folder.resolve("here.jsonl");
    Path there = folder.resolve("there.jsonl");
    Result without = score("mme", "lmms-eval", files, here, UseSpark.NEVER, ScoreJobTest::noSpark);
    Result with = score("mme", "lmms-eval", files, there, UseSpark.ALWAYS, LocalSpark::session);
    Result onlySums = score("mme", "lmms-eval", files, null, UseSpark.ALWAYS, LocalSpark::session);

    assertThat(with).isEqualTo(without).isEqualTo(onlySums);
    assertThat(there).hasSameTextualContentAs(here);
    VariantResult result = without.variants().get(0);
    assertThat(result.rows()).isEqualTo(100);
    assertThat(result.scored()).isEqualTo(80);
    assertThat(result.duplicates()).isEqualTo(20);
    assertThat(result.missing())
        .isPositive()
        .isEqualTo(lines.stream().filter(line -> line.contains("null")).count());
    assertThat(Files.readAllLines(here)).hasSize(80);
  }

  private Result score(
      String benchmark,
      @Nullable String mode,
      Path predictions,
      @Nullable Path rows,
      UseSpark useSpark,
      Supplier<SparkSession> session) {
    return new ScoreJob(
            new ScoreJob.Settings(
                benchmark,
                mode,
                predictions.toString(),
                rows == null ? null : rows.toString(),
                null,
                useSpark))
        .run(session);
  }

  private Result score(String benchmark, Path predictions) {
    return score(benchmark, null, predictions, null, UseSpark.AUTO, ScoreJobTest::noSpark);
  }

  private static SparkSession noSpark() {
    throw new AssertionError("Spark is not needed");
  }

  private Path file(String... lines) throws IOException {
    return Files.write(folder.resolve("predictions.jsonl"), Arrays.asList(lines));
  }

  @Test
  void numbersRowsThatNothingNames() throws IOException {
    Path rows = folder.resolve("rows.jsonl");
    Path predictions =
        file(
            "{\"choices\": [\"x\", \"y\"], \"answer\": 1, \"grade\": \"grade2\", \"prediction\":"
                + " \"B\"}",
            "{\"choices\": [\"x\", \"y\"], \"answer\": 0, \"grade\": \"grade2\", \"prediction\":"
                + " \"B\"}");

    score("scienceqa", "lmms-eval", predictions, rows, UseSpark.NEVER, ScoreJobTest::noSpark);

    assertThat(rows)
        .content()
        .isEqualTo(
            """
            {"id":"0","parsed":"b","score":1.0}
            {"id":"1","parsed":"b","score":0.0}
            """);
  }

  /** VizWiz's categories stand in its tables, though no file must have them. */
  @Test
  void looksAtColumnsThatMayBeMissing() throws IOException {
    String row = "{\"question_id\": \"%s\", \"answers\": [\"a\"], \"prediction\": \"a\"%s}";

    Result result =
        score(
            "vizwiz",
            file(row.formatted("1", ", \"category\": \"other\""), row.formatted("2", "")));

    assertThat(Manifest.tree(result.variants().get(0).summary()).path("answer_types").toString())
        .contains("\"other\"")
        .contains("\"rows\":1");
  }

  @Test
  void takesOtherWordsForObjects() throws IOException {
    Path synonyms = Files.writeString(folder.resolve("words.txt"), "zeppelin, airship\n");
    Path predictions =
        file("{\"question_id\": 1, \"gt_object\": [], \"prediction\": \"An airship over a dog.\"}");

    assertThat(mentions("chair", predictions, synonyms)).isEqualTo(1);
    assertThat(mentions("chair", predictions, null)).isEqualTo(1);
    Files.writeString(synonyms, "zeppelin, airship\ndog\n");
    assertThat(mentions("chair", predictions, synonyms)).isEqualTo(2);
    assertThatThrownBy(() -> mentions("pope", predictions, synonyms))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("--synonyms is for benchmark chair, not pope");
  }

  private static long mentions(String benchmark, Path predictions, @Nullable Path synonyms) {
    Result result =
        new ScoreJob(
                new ScoreJob.Settings(
                    benchmark, null, predictions.toString(), null, synonyms, UseSpark.NEVER))
            .run(ScoreJobTest::noSpark);
    return Manifest.tree(result.variants().get(0).summary()).path("mentions").asLong();
  }

  @Test
  void refusesWhatCannotBeScoredInOneLine() throws IOException {
    String row = "{\"question_id\": 1, \"category\": \"random\", \"answer\": \"yes\"%s}";
    refuses(
        file(row.formatted("")),
        "Cannot score %s as pope: column prediction is missing; it has question_id, category,"
            + " answer");
    refuses(
        file("{\"prediction\": \"Yes\"}"),
        "Cannot score %s as pope: columns category, question_id, answer are missing; it has"
            + " prediction");
    refuses(file(""), "Cannot score %s: it has no rows");
    Files.writeString(folder.resolve("predictions.jsonl"), "");
    refuses(folder.resolve("predictions.jsonl"), "Cannot score %s: it has no rows");
    refuses(
        file(row.formatted(", \"prediction\": \"Yes\""), row.formatted(", \"prediction\": \"No\"")),
        "Ids must be unique, but 1 of 2 rows have the id of another and differ from it, such as row"
            + " random/1");
    refuses(
        file(
            "{\"question_id\": 1, \"category\": \"random\", \"answer\": 3, \"prediction\": \"x\"}"),
        "Cannot score the predictions, for 1 reasons such as: Row random/1: .*3.*");
    assertThatThrownBy(() -> score("pope", folder.resolve("none.jsonl")))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot read %s: no such file", folder.resolve("none.jsonl"));
    assertThatThrownBy(() -> score("pop", folder))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("There is no benchmark pop: use one of ");
    assertThatThrownBy(
            () -> score("pope", "strict", folder, null, UseSpark.NEVER, ScoreJobTest::noSpark))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Benchmark pope has no mode strict: use one of ");
    assertThatThrownBy(
            () ->
                score(
                    "pope", null, folder, Path.of("x.csv"), UseSpark.NEVER, ScoreJobTest::noSpark))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("--rows must end in .jsonl or .parquet, not x.csv");
  }

  private void refuses(Path predictions, String message) {
    for (UseSpark useSpark : List.of(UseSpark.NEVER, UseSpark.ALWAYS)) {
      assertThatThrownBy(
              () -> score("pope", null, predictions, null, useSpark, LocalSpark::session))
          .isInstanceOf(IllegalArgumentException.class)
          .message()
          .matches(message.formatted(predictions));
    }
  }

  /** Question, reference, and what baseline and VAR say: one row fails. */
  private Path annotated(TestInfo test, String select, String... overlays) {
    Path input = folder.resolve("input");
    SparkSession spark = LocalSpark.session();
    spark.sql(select).coalesce(1).write().parquet(input.toString());
    Path output = folder.resolve("out");
    List<String> all =
        new ArrayList<>(
            List.of("input.path=" + input, "output.path=" + output, "model.path=/models/any"));
    all.addAll(Arrays.asList(overlays));
    new AnnotateJob(
            AnnotateJob.Settings.of(JobFile.parse("", all)),
            new Scripted(test.getDisplayName()),
            JobProgress.NONE)
        .run(spark);
    return output;
  }

  private static final String POPE =
      """
      SELECT question_id, category, CAST(image AS BINARY) AS image, image AS name, question, answer
      FROM VALUES
        (1, 'random', 'cat', 'Yes|Yes', 'yes'), (2, 'random', 'cat', 'Yes|No', 'no'),
        (3, 'random', 'dog', 'No|Yes', 'yes'), (4, 'random', 'dog', ' ', 'no')
        AS t(question_id, category, image, question, answer)
      """;

  @Test
  void scoresEveryVariantOfAnOutput(TestInfo test) throws IOException {
    Path output =
        annotated(
            test,
            POPE,
            "input.columns.id=[category, question_id]",
            "output.keep-columns=category",
            "run.wave-rows=2",
            "run.max-failed-share=1");
    // A wave that was never committed.
    Path waves = output.resolve("annotations");
    Path committed;
    try (var folders = Files.newDirectoryStream(waves, "wave=*")) {
      committed = folders.iterator().next();
    }
    Path stray = Files.createDirectories(waves.resolve("wave=00099"));
    try (var files = Files.newDirectoryStream(committed, "*.parquet")) {
      for (Path file : files) {
        Files.copy(file, stray.resolve(file.getFileName()));
      }
    }
    Path rows = folder.resolve("rows.parquet");

    Result result = score("pope", null, output, rows, UseSpark.AUTO, ScoreJobTest::noSpark);

    assertThat(result.complete()).isTrue();
    assertThat(result.variants())
        .extracting(VariantResult::variant)
        .containsExactly("baseline", "var");
    // A missing prediction is no "no", hence a wrong yes.
    assertThat(accuracies(result)).containsExactly(0.25, 0.75);
    assertThat(result.variants()).allMatch(each -> each.rows() == 4 && each.missing() == 1);
    assertThat(
            LocalSpark.session()
                .read()
                .parquet(rows.toString())
                .where("variant = 'var'")
                .collectAsList())
        .extracting(row -> row.getAs("id") + " " + row.getAs("parsed") + " " + row.getAs("score"))
        .containsExactly(
            "random/1 yes 1.0", "random/2 no 1.0", "random/3 yes 1.0", "random/4 null 0.0");
  }

  private static List<Double> accuracies(Result result) {
    return result.variants().stream()
        .map(each -> Manifest.tree(each.summary()).path("mean").path("accuracy").asDouble())
        .toList();
  }

  @Test
  void saysWhatAnOutputShouldHaveCarried(TestInfo test) {
    Path output = annotated(test, POPE, "input.columns.id=question_id", "run.max-failed-share=1");

    assertThatThrownBy(() -> score("pope", output))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot score %s as pope: column category is missing; it carries no columns; annotate"
                + " with output.keep-columns",
            output);
  }

  /** Equal answers of two annotators stay two. */
  @Test
  void findsReferenceAnswersThatWereFieldsOfStructs(TestInfo test) {
    Path output =
        annotated(
            test,
            """
            SELECT 7 AS question_id, CAST('cat' AS BINARY) AS image, 'red|blue' AS question,
              transform(array('red', 'red', 'green', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
                (a, i) -> named_struct('answer', a, 'answer_id', i + 1)) AS answers
            """,
            "input.columns={id: question_id, answers: answers.answer}");

    Result result = score("vqav2", "lmms-eval", output, null, UseSpark.AUTO, ScoreJobTest::noSpark);

    assertThat(result.variants())
        .extracting(each -> each.summary().get("accuracy"))
        .containsExactly(0.6, 0.0);
  }

  @Test
  void comparesTheVariantsOfAnOutput(TestInfo test) throws IOException {
    Path output =
        annotated(
            test,
            POPE,
            "input.columns.id=[category, question_id]",
            "input.columns.image-id=name",
            "output.keep-columns=category",
            "run.max-failed-share=1");
    Path target = folder.resolve("comparison");
    List<Entry> entries =
        List.of(Entry.parse("pope=" + output), Entry.parse("pope:lmms-eval=" + output));

    CompareJob.Result result =
        new CompareJob(
                new CompareJob.Settings(
                    entries, null, "llava-1.5-7b", 1000, 1, target, UseSpark.AUTO))
            .run(ScoreJobTest::noSpark);

    assertThat(target.resolve("comparison.md"))
        .content()
        .isEqualTo(String.join("\n", result.markdown()) + "\n");
    assertThat(result.markdown().get(2))
        .matches(
            "\\| pope \\| llava \\| mean.accuracy \\| 0.2500 \\(baseline\\) \\| var \\| 0.7500 \\|"
                + " \\+0.5000 \\| \\+0.5000 to \\+0.5000 \\| VAR paper, COCO: 0.8590, VAR 0.8653"
                + " \\(\\+0.0063\\) \\|");
    assertThat(result.markdown())
        .contains("| pope | var | 4 | 2 | mcnemar | 0 | 2 | 0.5000 | 1.0000 | not significant |");
    JsonNode json = Manifest.JSON.readTree(target.resolve("comparison.json").toFile());
    JsonNode first = json.path("comparisons").path(0);
    assertThat(json.path("comparisons")).hasSize(2);
    assertThat(first.path("test").toString())
        .isEqualTo(
            "{\"name\":\"mcnemar\",\"only_baseline_right\":0,\"only_variant_right\":2,\"p\":0.5,"
                + "\"p_holm\":1.0,\"significant\":false}");
    assertThat(first.path("numbers").path(0).path("number").asText()).isEqualTo("mean.accuracy");
    assertThat(first.path("numbers").path(0).path("difference").asDouble()).isEqualTo(0.5);
    assertThat(
            LocalSpark.session()
                .read()
                .parquet(target.resolve("comparison.parquet").toString())
                .where("mode = 'llava' AND number = 'mean.f1'")
                .selectExpr("variant", "published_baseline", "significant")
                .collectAsList()
                .toString())
        .isEqualTo("[[var,0.8476,false]]");
  }

  @Test
  void refusesToCompareWhatHasNothingToCompare(TestInfo test) throws IOException {
    Path output =
        annotated(
            test,
            POPE,
            "input.columns.id=[category, question_id]",
            "output.keep-columns=category",
            "variants=[{name: plain, hook: none}]",
            "run.max-failed-share=1");
    refusesToCompare("pope=" + output, "Cannot compare variants of %s: it has only plain", output);
    Path predictions =
        file(
            "{\"question_id\": 1, \"category\": \"random\", \"answer\": \"yes\", \"prediction\":"
                + " \"\"}");
    refusesToCompare(
        "pope=" + predictions,
        "Cannot compare variants of %s: it is not an output of annotate",
        predictions);
    assertThatThrownBy(() -> Entry.parse("pope"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Outputs must be named as BENCHMARK=OUTPUT or BENCHMARK:MODE=OUTPUT, not pope");
  }

  private void refusesToCompare(String entry, String message, Path path) {
    CompareJob.Settings settings =
        new CompareJob.Settings(
            List.of(Entry.parse(entry)), null, null, 1000, 1, folder.resolve("c"), UseSpark.AUTO);
    assertThatThrownBy(() -> new CompareJob(settings).run(ScoreJobTest::noSpark))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message, path);
  }
}
