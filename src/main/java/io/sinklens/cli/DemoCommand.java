package io.sinklens.cli;

import io.sinklens.job.AnnotateJob;
import io.sinklens.job.DemoJob;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The main job on what is bundled. */
@Command(
    name = "demo",
    description = "Runs the main job on the bundled model and questions, plainly and with VAR.",
    mixinStandardHelpOptions = true)
final class DemoCommand implements Callable<Integer> {
  /** What the bundled model is, said before it runs. */
  static final String MODEL =
      "The bundled model was trained by us, with transformers, on scenes such as these. Its answers are"
          + " its own; its sinks are planted.";

  @Spec private CommandSpec spec;

  @Option(
      names = "--output",
      paramLabel = "DIR",
      defaultValue = "sinklens-demo",
      description = "Where the result goes; a former demo's is replaced (default: sinklens-demo)")
  private Path output;

  @Override
  public Integer call() throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    out.println(MODEL);
    out.flush();
    try (SparkSession spark = LocalSession.open("sinklens demo");
        ProgressLine progress = new ProgressLine(spec.commandLine().getErr())) {
      print(new DemoJob(output, progress).run(spark), out);
    }
    return ExitCode.DONE;
  }

  private void print(DemoJob.Result result, PrintWriter out) {
    AnnotateJob.Result run = result.run();
    out.printf(
        Locale.ROOT,
        "%d questions as baseline and with VAR: %d answered, %d failed; answers changed by VAR: %d%n%n",
        run.inputRows(),
        run.answered(),
        run.failed(),
        result.changed());
    result.comparison().forEach(out::println);
    out.printf(
        Locale.ROOT,
        "%n%.1f seconds, %.0f rows/s, %d prompt tokens, %d generated tokens%n%n",
        run.seconds(),
        (run.answered() + run.failed()) / run.seconds(),
        run.promptTokens(),
        run.generatedTokens());
    result.sinks().forEach(out::println);
    out.println("VAR leaves the last layer alone.");
    DemoJob.Picture picture = result.picture();
    out.printf("%nParquet:   %s%n", output.resolve("annotations"));
    out.printf("Manifest:  %s%n", output.resolve("manifest.json"));
    out.printf(
        "Picture:   %s%s%n",
        picture.file(), picture.hasText() ? "" : " (without text: this machine has no fonts)");
  }
}
