package io.sinklens.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import io.sinklens.job.HostBench;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * Measures the engine on a host without Spark; a program of its own, for the folder that {@code
 * jobs/gpu-check} makes.
 */
@Command(
    name = "gpu-check",
    description = "Measures the engine on the images of a folder and prints JSON.",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class)
public final class GpuCheck implements Callable<Integer> {
  private static final ObjectMapper JSON =
      new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

  @Spec private CommandSpec spec;

  @Option(
      names = "--workload",
      paramLabel = "NAME",
      required = true,
      description = "questions, single, captions or pairs")
  private String workload;

  @Option(names = "--model", paramLabel = "DIR", required = true, description = "Checkpoint folder")
  private Path model;

  @Option(
      names = "--images",
      paramLabel = "DIR",
      required = true,
      description = "Folder of image files, taken in the order of their names")
  private Path images;

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "How many of the images (default: the workload's number)")
  private @Nullable Integer count;

  @Mixin private WorkloadOptions options;

  @Option(names = "--verbose", description = "Show the stack trace of an error")
  private boolean verbose;

  @Option(names = "--output", paramLabel = "FILE", description = "Writes the JSON there, too")
  private @Nullable Path output;

  /** Runs the program and ends the process with its exit code. */
  public static void main(String[] args) {
    GpuCheck command = new GpuCheck();
    System.exit(Failures.reportedBy(new CommandLine(command), () -> command.verbose).execute(args));
  }

  @Override
  public Integer call() throws IOException {
    Map<String, Object> values =
        new HostBench(
                new HostBench.Settings(
                    workload, model, images, count, options.variants(), options.overlays()))
            .run();
    String json = JSON.valueToTree(values).toPrettyString();
    if (output != null) {
      Files.writeString(output, json + "\n");
    }
    spec.commandLine().getOut().println(json);
    return ExitCode.DONE;
  }
}
