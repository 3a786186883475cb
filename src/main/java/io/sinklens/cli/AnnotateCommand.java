package io.sinklens.cli;

import io.sinklens.job.AnnotateJob;
import io.sinklens.job.AnnotateJob.Plan;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** The main job. */
@Command(
    name = "annotate",
    description = "Annotates every question of a dataset, as a job file says.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class AnnotateCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "JOB.yaml", description = "Job file")
  private Path job;

  @Option(
      names = "--set",
      paramLabel = "a.b=YAML",
      description = "Replace a setting of the job file; may stand several times")
  private List<String> overlays = List.of();

  @Option(names = "--limit", paramLabel = "N", description = "Only the first N rows by id")
  private @Nullable Integer limit;

  @Option(names = "--dry-run", description = "Check everything but the model, and print the plan")
  private boolean dryRun;

  @Option(names = "--restart", description = "Delete the output of a former run and begin again")
  private boolean restart;

  @Override
  public Integer call() throws IOException {
    RunSettings run = JobFile.read(job, overlays);
    AnnotateJob.Settings settings =
        new AnnotateJob.Settings(
            run, limit, restart ? Restart.FROM_SCRATCH : Restart.NOT_ASKED, null);
    PrintWriter out = spec.commandLine().getOut();
    try (SparkSession spark = LocalSession.open("sinklens annotate");
        ProgressLine progress = new ProgressLine(spec.commandLine().getErr())) {
      AnnotateJob annotate = new AnnotateJob(settings, progress);
      if (dryRun) {
        print(annotate.plan(spark), out);
        return ExitCode.DONE;
      }
      Result result = annotate.run(spark);
      print(result, run, out);
      return result.failedShare() > run.run().maxFailedShare()
          ? ExitCode.TOO_MANY_FAILED
          : ExitCode.DONE;
    }
  }

  private static void print(Plan plan, PrintWriter out) {
    out.printf("%-12s %,d%n", "rows", plan.rows());
    out.printf("%-12s %,d%n", "images", plan.images());
    out.printf("%-12s %,d%n", "variants", plan.variants());
    out.printf("%-12s %,d%n", "annotations", plan.annotations());
    out.printf("%-12s %,d%n", "waves", plan.waves());
    if (plan.modelBytes() != null) {
      out.printf(Locale.ROOT, "%-12s %.1f MB on disk%n", "model", plan.modelBytes() / 1e6);
    } else {
      out.printf("%-12s not to be seen from here%n", "model");
    }
    out.flush();
  }

  private static void print(Result result, RunSettings run, PrintWriter out) {
    out.printf(
        Locale.ROOT,
        "Annotated %,d rows under %d variants in %.0f s: %,d answered, %,d failed%n",
        result.inputRows(),
        result.variants(),
        result.seconds(),
        result.answered(),
        result.failed());
    result.failures().forEach((kind, rows) -> out.printf("  %s %,d%n", kind, rows));
    out.printf("Results are in %s%n", run.output().path());
    if (result.failedShare() > run.run().maxFailedShare()) {
      out.printf(
          Locale.ROOT,
          "The failed share %.4f is above run.max-failed-share %s%n",
          result.failedShare(),
          run.run().maxFailedShare());
    }
    out.flush();
  }
}
