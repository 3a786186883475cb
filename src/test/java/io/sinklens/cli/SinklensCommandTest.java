package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.pipeline.Versions;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.Command;

class SinklensCommandTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void helps() {
    assertThat(execute("--help")).isEqualTo(ExitCode.DONE);
    assertThat(out.toString())
        .startsWith("Usage: sinklens ")
        .contains("COMMAND", "annotate", "ask", "inspect", "demo", "bench", "--verbose")
        .contains("score", "compare");
    assertThat(err.toString()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"annotate", "ask", "inspect", "demo", "bench", "score", "compare"})
  void helpsWithEveryCommand(String command) {
    assertThat(execute(command, "--help")).isEqualTo(ExitCode.DONE);
    assertThat(out.toString()).startsWith("Usage: sinklens " + command + " ");
    assertThat(err.toString()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "annotate", "ask", "inspect", "demo", "bench", "score", "compare"})
  void printsItsVersion(String command) {
    assertThat(command.isEmpty() ? execute("--version") : execute(command, "--version"))
        .isEqualTo(ExitCode.DONE);
    assertThat(out.toString()).isEqualTo("sinklens " + Versions.sinklens() + "\n");
    assertThat(Versions.sinklens()).matches("[0-9]+\\.[0-9]+\\.[0-9]+(-SNAPSHOT)?");
  }

  @Test
  void refusesWhatItDoesNotKnow() {
    assertThat(execute()).isEqualTo(ExitCode.USAGE);
    assertThat(execute("anotate")).isEqualTo(ExitCode.USAGE);
    assertThat(err.toString()).contains("'anotate'", "annotate");
    assertThat(execute("--colour")).isEqualTo(ExitCode.USAGE);
    assertThat(execute("demo", "--colour")).isEqualTo(ExitCode.USAGE);
    assertThat(execute("demo", "somewhere")).isEqualTo(ExitCode.USAGE);
    assertThat(execute("bench", "--compare")).isEqualTo(ExitCode.USAGE);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void takesOptionsThatLookLikeFilesForText() {
    assertThat(execute("inspect", "@absent")).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo("sinklens: Cannot open checkpoint @absent: there is no such folder\n");
  }

  @Test
  void tellsTheShellWhatWentWrong() {
    assertThat(executeFailing(new IllegalArgumentException("a")))
        .isEqualTo(ExitCode.BAD_INPUT)
        .isEqualTo(1);
    assertThat(executeFailing(new UncheckedIOException("b", new IOException())))
        .isEqualTo(ExitCode.BAD_INPUT);
    assertThat(executeFailing(new RowFailedException(FailureKind.IMAGE_UNREADABLE, "c")))
        .isEqualTo(ExitCode.BAD_INPUT);
    assertThat(executeFailing(new IllegalStateException("d")))
        .isEqualTo(ExitCode.INTERNAL)
        .isEqualTo(4);
    assertThat(executeFailing(new CancellationException("e")))
        .isEqualTo(ExitCode.INTERRUPTED)
        .isEqualTo(130);
    assertThat(err.toString())
        .isEqualTo("sinklens: a\nsinklens: b\nsinklens: c\nsinklens: d\nsinklens: Interrupted\n");
  }

  @Test
  void putsMessagesOnOneLine() {
    executeFailing(new IllegalStateException(" much\n  to\r\ntell\n"));
    executeFailing(new IllegalStateException());
    assertThat(err.toString())
        .isEqualTo("sinklens: much to tell\n" + "sinklens: java.lang.IllegalStateException\n");
  }

  private int executeFailing(Exception failure) {
    return SinklensCommand.commandLine()
        .addSubcommand("fail", new Failing(failure))
        .setErr(new PrintWriter(err))
        .execute("fail");
  }

  private int execute(String... arguments) {
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(arguments);
  }

  @Command(name = "fail")
  private static final class Failing implements Callable<Integer> {
    private final Exception failure;

    Failing(Exception failure) {
      this.failure = failure;
    }

    @Override
    public Integer call() throws Exception {
      throw failure;
    }
  }
}
