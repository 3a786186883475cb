package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** No case needs Spark. */
class ScoreCommandTest {
  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** Where nothing is said to be yes, precision is a share of nothing. */
  @Test
  void printsJsonAndNothingElse() throws IOException {
    Path predictions =
        file(row(1, "yes", "\"No.\""), row(2, "no", "\"no\""), row(2, "no", "\"no\""));

    assertThat(execute("--predictions", predictions.toString(), "--json")).isEqualTo(ExitCode.DONE);

    JsonNode json = new ObjectMapper().readTree(out.toString());
    assertThat(json.fieldNames())
        .toIterable()
        .containsExactly("benchmark", "mode", "complete", "results");
    assertThat(json.path("benchmark").asText()).isEqualTo("pope");
    assertThat(json.path("mode").asText()).isEqualTo("llava");
    assertThat(json.path("complete").isNull()).isTrue();
    JsonNode result = json.path("results").path(0);
    assertThat(result.path("variant").isNull()).isTrue();
    assertThat(result.path("counts").toString())
        .isEqualTo("{\"rows\":3,\"scored\":2,\"missing_predictions\":0,\"duplicates\":1}");
    JsonNode mean = result.path("summary").path("mean");
    assertThat(mean.path("accuracy").asDouble()).isEqualTo(0.5);
    assertThat(mean.path("precision").isNull()).isTrue();
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void printsATableForPeople() throws IOException {
    Path predictions = file(row(1, "yes", "\"Yes\""), row(2, "no", "null"));

    assertThat(execute("--predictions", predictions.toString())).isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .startsWith("pope, mode llava")
        .anyMatch(line -> line.matches("missing predictions +1"))
        .anyMatch(line -> line.matches("mean\\.accuracy +0\\.5000"));
  }

  @Test
  void answersAWrongNameWithThoseThatAreKnown() throws IOException {
    assertThat(execute("--predictions", file().toString(), "--mode", "strict"))
        .isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .startsWith("sinklens: Benchmark pope has no mode strict: use one of ")
        .contains("lmms-eval")
        .hasLineCount(1);
    assertThat(execute("--predictions", "x", "--spark", "perhaps")).isEqualTo(ExitCode.USAGE);
    assertThat(out.toString()).isEmpty();
  }

  private static String row(int id, String answer, String prediction) {
    return "{\"question_id\": %d, \"category\": \"random\", \"answer\": \"%s\", \"prediction\": %s}"
        .formatted(id, answer, prediction);
  }

  private Path file(String... lines) throws IOException {
    return Files.write(folder.resolve("predictions.jsonl"), Arrays.asList(lines));
  }

  private int execute(String... arguments) {
    List<String> all = new ArrayList<>(List.of("score", "--benchmark", "pope"));
    all.addAll(Arrays.asList(arguments));
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(all.toArray(new String[0]));
  }
}
