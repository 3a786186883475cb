package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.Outcome;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import org.apache.logging.log4j.LogManager;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is told of a local run of three rows in two waves, one of them failed, and of a bad one. */
class SinklensPluginTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private static Path folder;
  private static final Map<String, Double> BEFORE = MetricFiles.of(ExecutorAnnotator.metrics());
  private static final List<JsonNode> LOG = new ArrayList<>();
  private static final Set<String> JOBS = new ConcurrentSkipListSet<>();

  /** What the web page calls Spark's jobs; empty for one without a name. */
  private static final class JobNames extends SparkListener {
    @Override
    public void onJobStart(SparkListenerJobStart job) {
      JOBS.add(job.properties().getProperty("spark.job.description", ""));
    }
  }

  @BeforeAll
  static void run() throws IOException {
    LocalSpark.stop();
    Map<String, String> settings = new HashMap<>(MetricFiles.settings(folder.resolve("metrics")));
    settings.put("spark.plugins", SinklensPlugin.class.getName());
    settings.put("spark.sinklens.log.dir", folder.resolve("logs").toString());
    settings.forEach(System::setProperty);
    String application;
    try (SparkSession spark = LocalSpark.session()) {
      application = spark.sparkContext().applicationId();
      spark
          .sql(
              """
              SELECT id, CAST(image AS BINARY) AS image, question FROM VALUES
                (1, 'cat', 'Is it?'), (2, 'dog', ' '), (3, 'cow', 'Who?') AS t(id, image, question)
              """)
          .write()
          .parquet(folder.resolve("in").toString());
      spark.sparkContext().addSparkListener(new JobNames());
      job(folder.resolve("in").toString()).run(spark);
      assertThatThrownBy(() -> job("s3a://key:hidden@bucket/in").run(spark)).isNotNull();
      LogManager.getLogger("anyone").warn("Cannot reach s3a://key:hidden@bucket");
    } finally {
      settings.keySet().forEach(System::clearProperty);
    }
    Path file = folder.resolve("logs").resolve(application).resolve("driver.jsonl");
    for (String line : Files.readAllLines(file)) {
      LOG.add(JSON.readTree(line));
    }
  }

  private static AnnotateJob job(String input) {
    RunSettings settings =
        JobFile.parse(
            "",
            List.of(
                "input={path: '%s', columns: {id: id, answers: null}}".formatted(input),
                "output.path='%s'".formatted(folder.resolve("out")),
                "model.path=any",
                "run.wave-rows=2"));
    return new AnnotateJob(
        new AnnotateJob.Settings(settings, null, AnnotateJob.Restart.FROM_SCRATCH, 1),
        new Shouting("plugin"),
        JobProgress.NONE);
  }

  @Test
  void showsWhatWasDoneInTheSinksOfSpark() throws IOException {
    Map<String, Double> told = MetricFiles.read(folder.resolve("metrics"));

    assertThat(told).containsOnlyKeys(BEFORE.keySet());
    BEFORE.forEach((name, value) -> told.merge(name, -value, Double::sum));
    assertThat(told)
        .containsEntry("rows.answered", 4.0)
        .containsEntry("rows.failed", 2.0)
        .containsEntry("rows.failed.QUESTION_MISSING", 2.0)
        .containsEntry("rows.failed.IMAGE_MISSING", 0.0)
        .containsEntry("tokens.prompt", 40.0)
        .containsEntry("tokens.generated", 8.0)
        .containsEntry("model.loads", 1.0);
  }

  @Test
  void callsEveryJobOfSparkByWhatItDoes() {
    assertThat(JOBS)
        .allMatch(name -> name.startsWith("sinklens annotate: "))
        .contains(
            "sinklens annotate: reading the input",
            "sinklens annotate: loading the model",
            "sinklens annotate: checking the output")
        .anyMatch(name -> name.matches(".*: wave 1 of 2: [12] rows"))
        .anyMatch(name -> name.matches(".*: wave 2 of 2: [12] rows"));
  }

  @Test
  void countsEveryFailureByItsKind() {
    ExecutorMetrics metrics = new ExecutorMetrics();

    for (FailureKind kind : FailureKind.values()) {
      metrics.count(
          new Annotation(
              "1", null, "?", "var", List.of(), new Outcome.Failed(new Failure(kind, "Bad luck"))));
    }

    Map<String, Double> told = MetricFiles.of(metrics);
    assertThat(told).containsEntry("rows.failed", (double) FailureKind.values().length);
    for (FailureKind kind : FailureKind.values()) {
      assertThat(told).containsEntry("rows.failed." + kind, 1.0);
    }
  }

  @Test
  void writesALineOfJsonForEveryEvent() {
    assertThat(LOG)
        .filteredOn(line -> line.has("event"))
        .extracting(line -> line.path("event").asText())
        .filteredOn(event -> !event.equals("rows failed"))
        .containsExactlyInAnyOrder(
            "model loaded",
            "run begins",
            "wave begins",
            "wave begins",
            "wave committed",
            "wave committed",
            "run ends",
            "run stopped")
        .startsWith("model loaded", "run begins", "wave begins")
        .endsWith("wave committed", "run ends", "run stopped");
    assertThat(LOG)
        .allSatisfy(
            line -> {
              assertThat(line.path("time").asText()).matches("2\\d{3}-.*Z");
              assertThat(line.path("process").asText()).isEqualTo("driver");
            });
    assertThat(event("rows failed").path("failures").toString())
        .isEqualTo("{\"QUESTION_MISSING\":2}");
    assertThat(event("run ends").path("answered").asInt()).isEqualTo(4);
    assertThat(event("run ends").path("failures").path("QUESTION_MISSING").asInt()).isEqualTo(2);
    assertThat(event("model loaded").path("device").asText()).isEqualTo("cpu");
  }

  @Test
  void keepsPasswordsOutOfTheLog() {
    assertThat(LOG.toString()).contains("s3a://bucket").doesNotContain("hidden");
    assertThat(LOG)
        .filteredOn(line -> line.path("logger").asText().equals("anyone"))
        .singleElement()
        .extracting(line -> line.path("message").asText())
        .isEqualTo("Cannot reach s3a://bucket");
  }

  private static JsonNode event(String name) {
    return LOG.stream()
        .filter(line -> line.path("event").asText().equals(name))
        .findFirst()
        .orElseThrow();
  }
}
