package io.sinklens.cli;

import io.sinklens.job.AnnotateJob;
import io.sinklens.job.AnnotateJob.Plan;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.StoredJobFile;
import io.sinklens.pipeline.Addresses;
import io.sinklens.pipeline.BenchmarkPreset;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunForecast;
import io.sinklens.pipeline.RunSettings;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
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

  @ArgGroup(multiplicity = "1")
  private What what;

  /** A job file, or what takes its place. */
  private static final class What {
    @Parameters(
        paramLabel = "JOB.yaml",
        description = "Job file, here or on any Hadoop file system, such as s3a://bucket/job.yaml")
    private String job = "";

    @ArgGroup(exclusive = false)
    private @Nullable Preset preset;

    /** The settings, where no session is needed to read them. */
    @Nullable RunSettings settings(List<String> overlays) {
      if (preset != null) {
        return preset.run(overlays);
      }
      return Addresses.isAddress(job) ? null : JobFile.read(Path.of(job), overlays);
    }
  }

  /** A published benchmark, and where things are. */
  private static final class Preset {
    @Option(
        names = "--benchmark",
        paramLabel = "NAME",
        required = true,
        description = "A published benchmark in place of a job file, such as pope")
    private String benchmark;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "Its checkpoint")
    private String model;

    @Option(
        names = "--input",
        paramLabel = "PATH",
        required = true,
        description = "The benchmark's Parquet files as the Hub has them")
    private String input;

    @Option(
        names = "--output",
        paramLabel = "DIR",
        required = true,
        description = "Folder for the results")
    private String output;

    RunSettings run(List<String> overlays) {
      return BenchmarkPreset.run(benchmark, model, input, output, overlays);
    }
  }

  @Option(
      names = "--set",
      paramLabel = "a.b=YAML",
      description = "Replace a setting of the job file; may stand several times")
  private List<String> overlays = List.of();

  @Option(names = "--limit", paramLabel = "N", description = "Only the first N rows by id")
  private @Nullable Integer limit;

  @Option(
      names = "--dry-run",
      description = "Check everything but the weights; print plan, tokens and memory")
  private boolean dryRun;

  @ArgGroup private Former former = new Former();

  /** What to do about a former run's output; without either, to go on with it. */
  private static final class Former {
    @Option(names = "--restart", description = "Delete the output of a former run and begin again")
    private boolean restart;

    @Option(
        names = "--retry-failed",
        description = "Go on with a former run's output, and ask again what has failed in it")
    private boolean retry;

    Restart choice() {
      return restart ? Restart.FROM_SCRATCH : retry ? Restart.FAILED_ROWS : Restart.NOT_ASKED;
    }
  }

  @Override
  public Integer call() throws IOException {
    // Before a session, which takes seconds, where that is possible.
    RunSettings here = what.settings(overlays);
    PrintWriter out = spec.commandLine().getOut();
    try (SparkSession spark = LocalSession.open("sinklens annotate");
        ProgressLine progress = new ProgressLine(spec.commandLine().getErr())) {
      RunSettings run = here != null ? here : StoredJobFile.read(what.job, overlays, spark);
      AnnotateJob.Settings settings = new AnnotateJob.Settings(run, limit, former.choice(), null);
      AnnotateJob annotate = new AnnotateJob(settings, progress);
      if (dryRun) {
        Plan plan = annotate.plan(spark);
        RunSettings local = StoredJobFile.withLocalModel(run, spark);
        print(run, plan, RunForecast.of(local.annotator(), plan.sample()), out);
        return ExitCode.DONE;
      }
      Result result = annotate.run(spark);
      print(result, run, out);
      if (result.failedShare() > run.run().maxFailedShare()) {
        PrintWriter err = spec.commandLine().getErr();
        err.printf(
            Locale.ROOT,
            "sinklens: The failed share %.4f is above run.max-failed-share %s%n",
            result.failedShare(),
            run.run().maxFailedShare());
        err.flush();
        return ExitCode.TOO_MANY_FAILED;
      }
      return ExitCode.DONE;
    }
  }

  private static void print(RunSettings run, Plan plan, RunForecast forecast, PrintWriter out) {
    double prompt =
        (double) plan.images() * forecast.prefixTokens()
            + plan.annotations() * forecast.ownTokens();
    double generated = (double) plan.annotations() * run.generation().maxNewTokens();
    String variants =
        run.variants().stream()
            .map(v -> v.name() + " (" + v.hook().name().toLowerCase(Locale.ROOT) + ")")
            .collect(Collectors.joining(", "));
    out.printf("%-12s %s%n", "input", shown(run.input().path()));
    out.printf("%-12s %s%n", "output", shown(run.output().path()));
    out.printf("%-12s %s%n", "model", shown(run.model().path()));
    out.printf("%-12s %s%n", "variants", variants);
    out.printf(Locale.ROOT, "%-12s %,d on %,d images%n", "rows", plan.rows(), plan.images());
    out.printf(
        Locale.ROOT,
        "%-12s %,d in %s%n",
        "annotations",
        plan.annotations(),
        counted(plan.waves(), "wave"));
    out.printf(
        Locale.ROOT,
        "%-12s about %,.0f of prompts (%d an image, %.1f a row and variant), at most %,.0f generated%n",
        "tokens",
        prompt,
        forecast.prefixTokens(),
        forecast.ownTokens(),
        generated);
    out.printf("%-12s %s%n", "memory", forecast.memory());
    out.flush();
  }

  private static String shown(String address) {
    return Addresses.withoutSecrets(address);
  }

  private static String counted(int number, String noun) {
    return String.format(Locale.ROOT, "%,d %s%s", number, noun, number == 1 ? "" : "s");
  }

  private static void print(Result result, RunSettings run, PrintWriter out) {
    if (result.formerWaves() > 0) {
      out.printf(
          Locale.ROOT,
          "Of %s, %,d had been annotated before%n",
          counted(result.waves(), "wave"),
          result.formerWaves());
    }
    out.printf(
        Locale.ROOT,
        "Annotated %,d rows under %s in %.0f s: %,d answered, %,d failed%n",
        result.inputRows(),
        counted(result.variants(), "variant"),
        result.seconds(),
        result.answered(),
        result.failed());
    result.failures().forEach((kind, rows) -> out.printf("  %s %,d%n", kind, rows));
    out.printf("Results are in %s%n", shown(run.output().path()));
    out.flush();
  }
}
