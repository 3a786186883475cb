package io.sinklens.cli;

import io.sinklens.pipeline.CheckpointReport;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** What a checkpoint is. */
@Command(
    name = "inspect",
    description = "Says what a checkpoint is, what it needs, and what is unsupported.",
    mixinStandardHelpOptions = true)
final class InspectCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "DIR", description = "Checkpoint folder")
  private Path folder;

  @Option(
      names = "--vision-path",
      paramLabel = "DIR",
      description = "Folder of the vision encoder, for a checkpoint that holds none")
  private @Nullable Path visionPath;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    CheckpointReport.of(folder, visionPath)
        .lines()
        .forEach((key, value) -> out.printf("%-18s %s%n", key, value));
    return ExitCode.DONE;
  }
}
