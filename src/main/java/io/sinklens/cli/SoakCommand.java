package io.sinklens.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.job.SoakJob;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What {@code jobs/soak} runs. */
@Command(
    name = "soak",
    description =
        "Runs annotate on the bundled questions, kills it at random moments, gives the same command"
            + " again, and checks after each kill what counts in the output.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    hidden = true)
final class SoakCommand implements Callable<Integer> {
  private static final ObjectMapper JSON =
      new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

  @Spec private CommandSpec spec;

  @Option(
      names = "--launcher",
      paramLabel = "FILE",
      required = true,
      description = "The program to run, such as jobs/sinklens")
  private Path launcher;

  @Option(
      names = "--kills",
      paramLabel = "N",
      defaultValue = "200",
      description = "How many (default: 200)")
  private int kills;

  @Option(
      names = "--stalls",
      paramLabel = "N",
      defaultValue = "3",
      description = "How many runs are stopped and taken over afterwards (default: 3)")
  private int stalls;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description = "Of moments and wave sizes (default: 1)")
  private long seed;

  @Option(
      names = "--output",
      paramLabel = "DIR",
      defaultValue = "sinklens-soak",
      description = "A new folder for outputs and logs (default: sinklens-soak)")
  private Path output;

  @Override
  public Integer call() throws IOException {
    PrintWriter err = spec.commandLine().getErr();
    SoakJob.Settings settings = new SoakJob.Settings(launcher, output, kills, stalls, seed);
    try (SparkSession spark = LocalSession.open("sinklens soak")) {
      SoakJob.Result result =
          new SoakJob(
                  settings,
                  line -> {
                    err.println(line);
                    err.flush();
                  })
              .run(spark);
      ObjectNode json = JSON.valueToTree(result);
      json.put("seed", seed);
      PrintWriter out = spec.commandLine().getOut();
      out.println(json.toPrettyString());
      out.flush();
      return result.isSound() ? ExitCode.DONE : ExitCode.INTERNAL;
    }
  }
}
