package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** With the bundled model and a few of the bundled questions. */
class AnnotateCommandTest {
  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeEach
  void writeJobFile() throws IOException, URISyntaxException {
    Files.writeString(
        folder.resolve("job.yaml"),
        """
        input:
          path: %s
          columns: {id: question_id, image-id: image_id}
        output: {path: %s, keep-columns: category}
        model: {path: %s}
        generation: {max-new-tokens: 2}
        """
            .formatted(bundled("scenes.parquet"), folder.resolve("out"), bundled("checkpoint")));
  }

  @Test
  void annotatesWithARealModel() {
    assertThat(annotate("--limit", "3")).as(err.toString()).isEqualTo(ExitCode.DONE);

    assertThat(out.toString())
        .startsWith("Annotated 3 rows under 2 variants in ")
        .contains(": 6 answered, 0 failed")
        .endsWith("Results are in %s%n".formatted(folder.resolve("out")));
    assertThat(err.toString()).contains("6 of 6 rows");
    assertThat(
            LocalSpark.session()
                .read()
                .parquet(folder.resolve("out/annotations").toString())
                .where("status = 'answered' AND size(sinks) > 0 AND category IS NOT NULL")
                .count())
        .isEqualTo(6);

    out.getBuffer().setLength(0);
    assertThat(annotate("--limit", "3")).isEqualTo(ExitCode.DONE);
    assertThat(out.toString())
        .startsWith("Of 1 wave, 1 had been annotated before%nAnnotated 3 rows".formatted());
    assertThat(annotate("--limit", "3", "--retry-failed")).isEqualTo(ExitCode.DONE);
    assertThat(annotate("--limit", "1")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .endsWith(
            "sinklens: Cannot write to output.path %s: it holds a run that differs: --limit was 3,"
                    .formatted(folder.resolve("out"))
                + " and is 1 now; choose another, or replace it with --restart\n");
    assertThat(annotate("--limit", "1", "--restart")).isEqualTo(ExitCode.DONE);
  }

  @Test
  void endsWithAnotherCodeWhenTooManyRowsFail() {
    String questions = folder.resolve("questions").toString();
    LocalSpark.session()
        .read()
        .parquet(scenes())
        .limit(2)
        .withColumn("question", functions.lit(" "))
        .write()
        .parquet(questions);

    assertThat(annotate("--set", "input.path=" + questions)).isEqualTo(ExitCode.TOO_MANY_FAILED);
    assertThat(out.toString())
        .contains("  QUESTION_MISSING 4")
        .endsWith("Results are in %s%n".formatted(folder.resolve("out")));
    assertThat(err.toString())
        .endsWith("sinklens: The failed share 1.0000 is above run.max-failed-share 0.01\n");
    assertThat(folder.resolve("out/_SUCCESS")).exists();

    assertThat(
            annotate(
                "--restart", "--set", "input.path=" + questions, "--set", "run.max-failed-share=1"))
        .isEqualTo(ExitCode.DONE);

    err.getBuffer().setLength(0);
    assertThat(annotate("--set", "input.path=" + questions, "--retry-failed"))
        .isEqualTo(ExitCode.TOO_MANY_FAILED);
    assertThat(err.toString()).startsWith("sinklens: going on after 1 of 1 waves\n");
    assertThat(
            LocalSpark.session()
                .read()
                .parquet(folder.resolve("out/annotations").toString())
                .count())
        .isEqualTo(4);
  }

  @Test
  void printsAPlanAndDoesNothing() {
    // Named, since auto depends on the processor.
    assertThat(annotate("--dry-run", "--set", "model.dtype=bfloat16"))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .contains(
            "variants     baseline (observe), var (var)",
            "rows         720 on 120 images",
            "annotations  1,440 in 1 wave")
        .anyMatch(
            line -> line.matches("tokens +about [0-9,]+ of prompts .* at most 2,880 generated"))
        .anyMatch(line -> line.matches("memory +weights 10.8 MiB .* free [0-9.]+ [MG]iB"));
    assertThat(folder.resolve("out")).doesNotExist();
  }

  @Test
  void plansNothingThatTheRunWouldRefuse() {
    assertThat(annotate("--dry-run", "--set", "model.preset=none")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .startsWith("sinklens: Cannot run variant var: no sink dimensions are known")
        .hasLineCount(1);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void saysInOneLineWhatIsWrong() throws IOException {
    assertThat(annotate("--set", "generation.max-tokens=5")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Unknown setting generation.max-tokens; did you mean"
                + " generation.max-new-tokens?\n");

    err.getBuffer().setLength(0);
    assertThat(annotate("--limit", "0")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).isEqualTo("sinklens: Limit must be at least 1, not 0\n");

    err.getBuffer().setLength(0);
    assertThat(annotate("--set", "model.path=/absent")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).matches("sinklens: [^\n]*/absent[^\n]*\n");

    err.getBuffer().setLength(0);
    assertThat(annotate("--set", "model.path=/absent", "--verbose")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).contains("\tat io.sinklens.");

    err.getBuffer().setLength(0);
    Path snapshot = Files.createDirectories(folder.resolve("snapshot/data")).getParent();
    assertThat(annotate("--set", "input.path=" + snapshot)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Cannot read input.path %s: no Parquet files are there; name a folder that"
                    .formatted(snapshot)
                + " holds them itself, or a pattern such as FOLDER/data/*.parquet\n");
    assertThat(folder.resolve("out")).doesNotExist();
  }

  @Test
  void refusesOptionsItDoesNotKnow() {
    assertThat(annotate("--retry")).isEqualTo(ExitCode.USAGE);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Unknown option: '--retry'\n"
                + "Possible solutions: --restart, --retry-failed\n"
                + "Try: sinklens annotate --help\n");
    err.getBuffer().setLength(0);
    assertThat(annotate("--retry-failed", "--restart")).isEqualTo(ExitCode.USAGE);
    assertThat(err.toString())
        .startsWith("sinklens: ")
        .contains("--restart, --retry-failed are mutually exclusive");
    assertThat(commandLine().execute("annotate")).isEqualTo(ExitCode.USAGE);
  }

  @Test
  void asksABenchmarkWithoutAJobFile() {
    String output = folder.resolve("pope").toString();
    String[] benchmark = {
      "annotate", "--benchmark", "pope", "--model", model(), "--input", scenes(), "--output", output
    };
    List<String> more = new ArrayList<>(Arrays.asList(benchmark));
    more.addAll(List.of("--set", "input.columns.image-id=image_id", "--limit", "1"));
    assertThat(commandLine().execute(more.toArray(new String[0])))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);
    assertThat(
            LocalSpark.session()
                .read()
                .parquet(output + "/annotations")
                .where("category IS NOT NULL AND size(choice_probabilities) = 2")
                .count())
        .isEqualTo(2);

    assertThat(annotate(Arrays.copyOfRange(benchmark, 1, benchmark.length)))
        .as("a job file and a benchmark")
        .isEqualTo(ExitCode.USAGE);
    assertThat(commandLine().execute(Arrays.copyOf(benchmark, 7))).isEqualTo(ExitCode.USAGE);
    err.getBuffer().setLength(0);
    benchmark[2] = "popes";
    assertThat(commandLine().execute(benchmark)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).startsWith("sinklens: There is no benchmark popes: use one of ");
  }

  private int annotate(String... options) {
    List<String> arguments = new ArrayList<>();
    arguments.add("annotate");
    arguments.add(folder.resolve("job.yaml").toString());
    arguments.addAll(Arrays.asList(options));
    return commandLine().execute(arguments.toArray(new String[0]));
  }

  private CommandLine commandLine() {
    return SinklensCommand.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
  }

  private static String scenes() {
    return path("scenes.parquet");
  }

  private static String model() {
    return path("checkpoint");
  }

  private static String path(String name) {
    try {
      return bundled(name).toString();
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static Path bundled(String name) throws URISyntaxException {
    return Path.of(
        Objects.requireNonNull(
                AnnotateCommandTest.class.getResource("/io/sinklens/demo/" + name), name)
            .toURI());
  }
}
