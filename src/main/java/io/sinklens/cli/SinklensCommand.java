package io.sinklens.cli;

import io.sinklens.dataset.RowFailedException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.util.concurrent.CancellationException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;

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
    })
public final class SinklensCommand {
  @Option(
      names = "--verbose",
      scope = CommandLine.ScopeType.INHERIT,
      description = "Show the stack trace of an error")
  private boolean verbose;

  /** Runs a command and ends the process with its exit code. */
  public static void main(String[] args) {
    System.exit(commandLine().execute(args));
  }

  /** The program, ready to execute arguments. */
  static CommandLine commandLine() {
    SinklensCommand command = new SinklensCommand();
    return new CommandLine(command)
        .setExitCodeExceptionMapper(SinklensCommand::exitCode)
        .setExecutionExceptionHandler(command::report)
        .setParameterExceptionHandler(SinklensCommand::reportUsage)
        .setExpandAtFiles(false);
  }

  private static int reportUsage(CommandLine.ParameterException failure, String[] arguments) {
    CommandLine commandLine = failure.getCommandLine();
    PrintWriter err = commandLine.getErr();
    err.println("sinklens: " + oneLine(failure).replaceFirst("^Error: ", ""));
    CommandLine.UnmatchedArgumentException.printSuggestions(failure, err);
    err.printf("Try: %s --help%n", commandLine.getCommandSpec().qualifiedName());
    err.flush();
    return ExitCode.USAGE;
  }

  private int report(Exception failure, CommandLine commandLine, ParseResult arguments) {
    PrintWriter err = commandLine.getErr();
    err.println(
        "sinklens: "
            + (failure instanceof CancellationException ? "Interrupted" : oneLine(failure)));
    if (verbose) {
      failure.printStackTrace(err);
    }
    err.flush();
    return exitCode(failure);
  }

  private static int exitCode(Throwable failure) {
    if (failure instanceof CommandLine.ParameterException) {
      return ExitCode.USAGE;
    }
    if (failure instanceof CancellationException) {
      return ExitCode.INTERRUPTED;
    }
    return failure instanceof IllegalArgumentException
            || failure instanceof UncheckedIOException
            || failure instanceof RowFailedException
        ? ExitCode.BAD_INPUT
        : ExitCode.INTERNAL;
  }

  private static String oneLine(Exception failure) {
    String message = failure.getMessage();
    return message == null || message.isBlank()
        ? failure.toString()
        : message.strip().replaceAll("\\s*\\R\\s*", " ");
  }
}
