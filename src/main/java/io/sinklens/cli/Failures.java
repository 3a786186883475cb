package io.sinklens.cli;

import io.sinklens.dataset.RowFailedException;
import io.sinklens.pipeline.Addresses;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import picocli.CommandLine;

/** What a shell and its user are told when a command fails: one line, and an exit code. */
final class Failures {
  private Failures() {}

  /**
   * Lets a program report as all of ours do.
   *
   * @param verbose whether the stack trace is wanted too, asked once something has failed
   */
  static CommandLine reportedBy(CommandLine program, BooleanSupplier verbose) {
    return program
        .setExitCodeExceptionMapper(Failures::exitCode)
        .setExecutionExceptionHandler(
            (failure, commandLine, arguments) -> report(failure, commandLine, verbose))
        .setParameterExceptionHandler(Failures::reportUsage)
        .setCaseInsensitiveEnumValuesAllowed(true)
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

  private static int report(Exception failure, CommandLine commandLine, BooleanSupplier verbose) {
    PrintWriter err = commandLine.getErr();
    err.println(
        "sinklens: "
            + (failure instanceof CancellationException ? "Interrupted" : oneLine(failure)));
    if (verbose.getAsBoolean()) {
      StringWriter trace = new StringWriter();
      failure.printStackTrace(new PrintWriter(trace));
      err.print(Addresses.withoutSecrets(trace.toString()));
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
    return Addresses.withoutSecrets(
        message == null || message.isBlank()
            ? failure.toString()
            : message.strip().replaceAll("\\s*\\R\\s*", " "));
  }
}
