package io.sinklens.cli;

import io.sinklens.pipeline.CheckpointReport;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
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

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    CheckpointReport.of(folder)
        .lines()
        .forEach((key, value) -> out.printf("%-18s %s%n", key, value));
    return ExitCode.DONE;
  }
}
