package io.sinklens.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.job.BenchJob;
import io.sinklens.job.BenchJob.Workload;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** How fast questions are answered. */
@Command(
    name = "bench",
    description = "Measures engine and job on the bundled questions and prints JSON.",
    mixinStandardHelpOptions = true)
final class BenchCommand implements Callable<Integer> {
  private static final ObjectMapper JSON =
      new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

  @Spec private CommandSpec spec;

  @Option(
      names = "--workload",
      paramLabel = "NAME",
      defaultValue = "baseline-and-var",
      description = "plain, observe or baseline-and-var (default: baseline-and-var)")
  private String workload;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Checkpoint folder (default: the bundled one)")
  private @Nullable Path model;

  @Option(
      names = "--compare",
      paramLabel = "FILE",
      description = "Output of an earlier bench, to add this one's rates as ratios to it")
  private @Nullable Path compare;

  @Override
  public Integer call() throws IOException {
    JsonNode earlier = compare == null ? null : read(compare);
    ObjectNode measured;
    try (SparkSession spark = LocalSession.open("sinklens bench")) {
      BenchJob.Settings settings = new BenchJob.Settings(workload(), model);
      measured = JSON.valueToTree(new BenchJob(settings).run(spark).values());
    }
    if (earlier != null) {
      measured.set("compared", ratios(measured, earlier));
    }
    spec.commandLine().getOut().println(measured.toPrettyString());
    return ExitCode.DONE;
  }

  private Workload workload() {
    for (Workload known : Workload.values()) {
      if (name(known).equals(workload)) {
        return known;
      }
    }
    throw new IllegalArgumentException(
        "--workload must be one of %s, not %s"
            .formatted(
                Arrays.stream(Workload.values())
                    .map(BenchCommand::name)
                    .collect(Collectors.joining(", ")),
                workload));
  }

  private static String name(Workload workload) {
    return workload.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** This run's rates divided by the earlier run's. */
  private static ObjectNode ratios(JsonNode measured, JsonNode earlier) {
    ObjectNode ratios = JSON.createObjectNode();
    for (String part : new String[] {"engine", "write", "job"}) {
      JsonNode rates = measured.path(part);
      rates
          .fieldNames()
          .forEachRemaining(
              name -> {
                double before = earlier.path(part).path(name).asDouble();
                if (name.endsWith("_per_second") && before > 0) {
                  ratios.put(part + "." + name, rates.path(name).asDouble() / before);
                }
              });
    }
    if (ratios.isEmpty()) {
      throw new IllegalArgumentException("Cannot compare: the file holds no rates of a bench");
    }
    return ratios;
  }

  private static JsonNode read(Path file) {
    try {
      return JSON.readTree(file.toFile());
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "Cannot read %s: it is not the output of a bench".formatted(file), e);
    }
  }
}
