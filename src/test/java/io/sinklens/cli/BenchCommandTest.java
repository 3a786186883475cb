package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BenchCommandTest {
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** Whose session the command takes over. */
  @BeforeAll
  static void startSpark() {
    LocalSpark.session();
  }

  @Test
  void measuresEngineAndJobAndComparesThemWithAnEarlierRun() throws IOException {
    Path earlier =
        Files.writeString(
            folder.resolve("earlier.json"),
            """
            {"workload": "observe",
             "engine": {"rows": 1, "seconds": 2, "rows_per_second": 0.5,
                        "prompt_tokens_per_second": 4.0, "generated_tokens_per_second": 8.0},
             "write": {"rows_per_second": 0},
             "job": {"rows_per_second": 0.25, "ratio_to_engine": 0.5}}
            """);

    assertThat(bench("--workload=observe", "--compare=" + earlier))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);

    JsonNode json = JSON.readTree(out.toString());
    assertThat(names(json))
        .containsExactly(
            "workload",
            "model",
            "load",
            "engine",
            "passes",
            "first_answer",
            "attention",
            "write",
            "job",
            "seconds_by_phase",
            "memory",
            "machine",
            "compared");
    assertThat(json.get("workload").asText()).isEqualTo("observe");
    assertThat(json.get("model").get("sink_dimensions")).hasSize(2);
    JsonNode engine = json.get("engine");
    for (String part : List.of("rows", "prompt_tokens", "generated_tokens")) {
      assertThat(engine.get(part).asLong()).as(part).isPositive();
      assertThat(engine.get(part + "_per_second").asDouble())
          .as(part)
          .isCloseTo(engine.get(part).asLong() / engine.get("seconds").asDouble(), within(1e-6));
    }
    assertThat(engine.get("rows").asInt()).isEqualTo(720);
    JsonNode job = json.get("job");
    assertThat(job.get("rows").asInt()).isEqualTo(720);
    assertThat(job.get("failed").asInt()).isZero();
    assertThat(job.get("rows_per_second").asDouble())
        .isCloseTo(720 / job.get("seconds").asDouble(), within(1e-9));
    double beyondOneImage =
        (720 - 6) / (job.get("seconds").asDouble() - job.get("start_seconds").asDouble());
    assertThat(job.get("ratio_to_engine").asDouble())
        .isCloseTo(beyondOneImage / engine.get("rows_per_second").asDouble(), within(1e-9));
    assertThat(names(json.get("seconds_by_phase")))
        .containsExactly("decode_image", "vision", "prompt_pass", "generation", "hook", "write");
    double onTheEngine = 0; // Images are decoded beside it.
    for (String phase : List.of("vision", "prompt_pass", "generation", "hook")) {
      assertThat(json.get("seconds_by_phase").get(phase).asDouble()).as(phase).isPositive();
      onTheEngine += json.get("seconds_by_phase").get(phase).asDouble();
    }
    assertThat(onTheEngine).isLessThanOrEqualTo(engine.get("seconds").asDouble());
    assertThat(engine.get("computed_tokens").asLong())
        .isEqualTo(
            engine.get("prompt_tokens").asLong()
                + engine.get("generated_tokens").asLong()
                - engine.get("rows").asLong());
    assertThat(engine.get("useful_over_computed_tokens").asDouble()).isEqualTo(1.0);
    JsonNode passes = json.get("passes");
    assertThat(names(passes)).containsExactly("generation", "prompt_pass");
    assertThat(
            passes.get("prompt_pass").get("tokens").asLong()
                + passes.get("generation").get("tokens").asLong())
        .isEqualTo(engine.get("computed_tokens").asLong());
    for (JsonNode phase : passes) {
      assertThat(phase.get("product_share").asDouble())
          .isCloseTo(
              phase.get("product_seconds").asDouble() / phase.get("seconds").asDouble(),
              within(1e-9));
      assertThat(phase.get("product_share").asDouble()).isBetween(0.01, 1.5);
    }
    JsonNode attention = json.get("attention").get("baseline");
    assertThat(attention.get("image_sinks_per_layer").asDouble()).isBetween(3.0, 5.5);
    assertThat(attention.get("selected_head_share").asDouble()).isBetween(0.05, 0.95);
    assertThat(json.get("load").get("seconds").asDouble()).isPositive();
    assertThat(json.get("memory").get("peak_heap_bytes").asLong()).isGreaterThan(1 << 20);
    assertThat(json.get("machine").get("processors").asInt()).isPositive();

    JsonNode compared = json.get("compared");
    assertThat(names(compared))
        .containsExactly(
            "engine.rows_per_second",
            "engine.prompt_tokens_per_second",
            "engine.generated_tokens_per_second",
            "job.rows_per_second");
    assertThat(compared.get("engine.rows_per_second").asDouble())
        .isCloseTo(engine.get("rows_per_second").asDouble() / 0.5, within(1e-9));
    assertThat(compared.get("job.rows_per_second").asDouble())
        .isCloseTo(job.get("rows_per_second").asDouble() / 0.25, within(1e-9));
  }

  @Test
  void asksEveryImageTheSameAndForcesAnswersToOneLength() throws IOException {
    assertThat(
            bench(
                "--workload=questions",
                "--images=3",
                "--questions=2",
                "--variants=plain,var",
                "--set=model.dtype=float32",
                "--engine-only"))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);

    JsonNode json = JSON.readTree(out.toString());
    assertThat(json.has("job")).isFalse();
    assertThat(json.get("model").get("dtype").asText()).isEqualTo("float32");
    assertThat(json.get("engine").get("rows").asInt()).isEqualTo(3 * 2 * 2);
    assertThat(json.get("engine").get("generated_tokens").asInt()).isEqualTo(3 * 2 * 2 * 3);
    assertThat(names(json.get("first_answer"))).containsExactly("plain", "var");
    assertThat(json.get("first_answer").get("plain")).hasSize(3);
    assertThat(names(json.get("attention"))).containsExactly("var");
  }

  @Test
  void refusesVariantsAndNumbersItDoesNotKnow() {
    assertThat(bench("--workload=single", "--variants=plain,other")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo("sinklens: Variants must be of plain, baseline, var, not other\n");
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=single", "--images=0")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).isEqualTo("sinklens: Images must be above 0, not 0\n");
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=single", "--images=241")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Images must be at most the 120 bundled ones and as many mirrored, not 241\n");
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=questions", "--questions=7")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).isEqualTo("sinklens: Questions must be from 1 to 6, not 7\n");
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=plain", "--questions=1")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo("sinklens: Questions cannot be counted off where each image has its own\n");
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=plain", "--images=121")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo("sinklens: Images must be at most the 120 bundled ones, not 121\n");
  }

  @Test
  void comparesTheEngineWithTheBestOfAPeer() throws IOException {
    Path peer =
        Files.writeString(
            folder.resolve("peer.json"),
            """
            {"peer": "transformers", "workload": "single", "runs": [{"rows_per_second": 7.0}],
             "best": {"rows_per_second": 0.5}}
            """);

    assertThat(bench("--workload=single", "--images=2", "--engine-only", "--compare=" + peer))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);

    JsonNode json = JSON.readTree(out.toString());
    assertThat(names(json.get("compared"))).containsExactly("engine.rows_per_second");
    assertThat(json.get("compared").get("engine.rows_per_second").asDouble())
        .isCloseTo(json.get("engine").get("rows_per_second").asDouble() / 0.5, within(1e-9));
    refuses("Cannot compare workload plain with single of %s".formatted(peer), peer);
  }

  @Test
  void onlyLoadsTheModel() throws IOException {
    assertThat(bench("--workload=load")).as(err.toString()).isEqualTo(ExitCode.DONE);

    JsonNode json = JSON.readTree(out.toString());
    assertThat(names(json)).containsExactly("workload", "model", "load", "memory", "machine");
    assertThat(json.get("load").get("seconds").asDouble()).isPositive();
  }

  @Test
  void asksAboutMirroredImagesBehindTheBundledOnes() throws IOException {
    assertThat(bench("--workload=single", "--images=122", "--engine-only"))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);

    assertThat(JSON.readTree(out.toString()).get("engine").get("rows").asInt()).isEqualTo(122);
  }

  @Test
  void readsTheEarlierRunBeforeItMeasures() throws IOException {
    Path absent = folder.resolve("absent.json");
    refuses("Cannot read %s: no such file".formatted(absent), absent);
    Path broken = Files.writeString(folder.resolve("broken.json"), "{\"engine\": ");
    refuses("Cannot read %s: it is not the output of a bench".formatted(broken), broken);
    Path other = Files.writeString(folder.resolve("other.json"), "{\"engine\": {\"rows\": 3}}");
    refuses("Cannot read %s: it is not the output of a bench".formatted(other), other);
    Path empty = Files.writeString(folder.resolve("empty.json"), "");
    refuses("Cannot read %s: it is not the output of a bench".formatted(empty), empty);
    Path limits =
        Files.writeString(folder.resolve("limits.json"), "{\"peer\": \"x\", \"best\": {}}");
    refuses("Cannot read %s: it is not the output of a bench".formatted(limits), limits);
  }

  @Test
  void namesTheWorkloadsItKnows() {
    assertThat(bench("--workload=everything")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Workload must be one of load, plain, observe, baseline-and-var, questions, single,"
                + " captions, pairs, not everything\n");
    assertThat(out.toString()).isEmpty();
  }

  private void refuses(String message, Path earlier) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    assertThat(bench("--workload=plain", "--compare=" + earlier)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).isEqualTo("sinklens: " + message + "\n");
    assertThat(out.toString()).isEmpty();
  }

  private static List<String> names(JsonNode json) {
    List<String> names = new ArrayList<>();
    json.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private int bench(String... options) {
    List<String> arguments = new ArrayList<>(List.of("bench"));
    arguments.addAll(List.of(options));
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(arguments.toArray(new String[0]));
  }
}
