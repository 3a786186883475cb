package io.sinklens.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.job.CompareJob;
import io.sinklens.job.CompareJob.Entry;
import io.sinklens.job.CompareJob.Settings;
import io.sinklens.job.ScoreJob.UseSpark;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Whether variants differ by more than chance. */
@Command(
    name = "compare",
    description =
        "Compares the variants of outputs of annotate on their benchmarks, with intervals, tests"
            + " and published numbers.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class CompareCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(
      paramLabel = "NAME[:MODE]=OUTPUT",
      arity = "1..*",
      description = "Benchmark, perhaps the mode of scoring, and an output of annotate")
  private List<String> outputs;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description = "Where comparison.md, comparison.json and comparison.parquet go")
  private Path folder;

  @Option(
      names = "--baseline",
      paramLabel = "VARIANT",
      description = "What the others are compared with (default: baseline, else the first)")
  private @Nullable String baseline;

  @Option(
      names = "--published",
      paramLabel = "MODEL",
      description = "Show published numbers of this model (default: the run's preset)")
  private @Nullable String published;

  @Option(
      names = "--resamples",
      paramLabel = "N",
      defaultValue = "" + Settings.DEFAULT_RESAMPLES,
      description = "Of bootstrap and randomisation test (default: ${DEFAULT-VALUE})")
  private int resamples;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description = "Of their random numbers (default: 1)")
  private long seed;

  @Option(
      names = "--spark",
      paramLabel = "WHEN",
      defaultValue = "auto",
      description = "auto, never or always, as for score (default: auto)")
  private UseSpark spark;

  @Option(names = "--json", description = "Print the JSON and nothing else")
  private boolean json;

  @Override
  public Integer call() {
    CompareJob job =
        new CompareJob(
            new Settings(
                outputs.stream().map(Entry::parse).toList(),
                baseline,
                published,
                resamples,
                seed,
                folder,
                spark));
    PrintWriter out = spec.commandLine().getOut();
    try (LazySession session = new LazySession("sinklens compare")) {
      CompareJob.Result result = job.run(session);
      if (json) {
        out.println(new ObjectMapper().valueToTree(result.values()).toPrettyString());
      } else {
        result.markdown().forEach(out::println);
        out.println();
        result.files().forEach(file -> out.printf("Written: %s%n", file));
      }
    }
    out.flush();
    return ExitCode.DONE;
  }
}
