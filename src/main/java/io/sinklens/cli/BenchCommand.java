package io.sinklens.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.job.BenchJob;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
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

  private static final String PEER = "peer"; // Only files of peer_bench.py have it.

  @Spec private CommandSpec spec;

  @Option(
      names = "--workload",
      paramLabel = "NAME",
      defaultValue = "baseline-and-var",
      description =
          "load: nothing; plain, observe or baseline-and-var: the bundled questions; questions,"
              + " single, captions or pairs: the same for every image, answers of one length"
              + " (default: baseline-and-var)")
  private String workload;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Checkpoint folder (default: the bundled one)")
  private @Nullable Path model;

  @Option(
      names = "--compare",
      paramLabel = "FILE",
      description =
          "Output of an earlier bench or of peer_bench.py, to add this one's rates as ratios to it")
  private @Nullable Path compare;

  @Option(
      names = "--images",
      paramLabel = "N",
      description =
          "How many of the bundled images; where all are asked the same, mirrored ones come behind"
              + " them (default: the workload's number)")
  private @Nullable Integer images;

  @Option(
      names = "--questions",
      paramLabel = "N",
      description = "How many of the workload's questions an image (default: all)")
  private @Nullable Integer questions;

  @Mixin private WorkloadOptions options;

  @Option(names = "--engine-only", description = "Does not measure the job in Spark")
  private boolean engineOnly;

  @Override
  public Integer call() throws IOException {
    BenchJob.requireWorkload(workload);
    BenchJob.Settings settings =
        new BenchJob.Settings(
            workload,
            model,
            images,
            questions,
            options.variants(),
            !engineOnly,
            options.overlays());
    JsonNode earlier = compare == null ? null : read(compare);
    if (earlier != null && !earlier.path("workload").asText(workload).equals(workload)) {
      throw new IllegalArgumentException(
          "Cannot compare workload %s with %s of %s"
              .formatted(workload, earlier.path("workload").asText(), compare));
    }
    ObjectNode measured;
    try (SparkSession spark = LocalSession.open("sinklens bench")) {
      measured = JSON.valueToTree(new BenchJob(settings).run(spark).values());
    }
    if (earlier != null) {
      measured.set("compared", ratios(measured, earlier));
    }
    spec.commandLine().getOut().println(measured.toPrettyString());
    return ExitCode.DONE;
  }

  /** This run's rates divided by the earlier run's, or by the best of a peer's runs. */
  private static ObjectNode ratios(JsonNode measured, JsonNode earlier) {
    ObjectNode ratios = JSON.createObjectNode();
    if (earlier.has(PEER)) {
      double rate = measured.path("engine").path("rows_per_second").asDouble();
      return ratios.put("engine.rows_per_second", rate / peerRate(earlier));
    }
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
    return ratios;
  }

  private static double peerRate(JsonNode peer) {
    return peer.path("best").path("rows_per_second").asDouble();
  }

  private static JsonNode read(Path file) {
    if (!Files.exists(file)) {
      throw new IllegalArgumentException("Cannot read %s: no such file".formatted(file));
    }
    try {
      JsonNode earlier = JSON.readTree(file.toFile());
      double rate =
          earlier.has(PEER)
              ? peerRate(earlier)
              : earlier.path("engine").path("rows_per_second").asDouble();
      if (rate > 0) {
        return earlier;
      }
    } catch (IOException e) {
      throw notOfABench(file, e);
    }
    throw notOfABench(file, null);
  }

  private static IllegalArgumentException notOfABench(Path file, @Nullable IOException cause) {
    return new IllegalArgumentException(
        "Cannot read %s: it is not the output of a bench".formatted(file), cause);
  }
}
