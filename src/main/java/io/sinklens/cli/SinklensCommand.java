package io.sinklens.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** The program: its commands, and what a shell is told when one ends. */
@Command(
    name = "sinklens",
    description =
        "Annotates image-question datasets with vision-language models, watching and correcting"
            + " visual attention sinks.",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    scope = CommandLine.ScopeType.INHERIT,
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      AnnotateCommand.class,
      AskCommand.class,
      InspectCommand.class,
      DemoCommand.class,
      BenchCommand.class,
      ScoreCommand.class,
      CompareCommand.class,
      SoakCommand.class,
    })
public final class SinklensCommand {
  @Option(
      names = "--verbose",
      scope = CommandLine.ScopeType.INHERIT,
      description = "Show the stack trace of an error")
  private boolean verbose;

  /** Runs a command and ends the process with its exit code. */
  public static void main(String[] args) {
    int code = commandLine().execute(args);
    // YARN takes a driver that exits before its main method returns for one that has failed.
    if (code != ExitCode.DONE || !"cluster".equals(System.getProperty("spark.submit.deployMode"))) {
      System.exit(code);
    }
  }

  /** The program, ready to execute arguments. */
  static CommandLine commandLine() {
    SinklensCommand command = new SinklensCommand();
    return Failures.reportedBy(new CommandLine(command), () -> command.verbose);
  }
}
