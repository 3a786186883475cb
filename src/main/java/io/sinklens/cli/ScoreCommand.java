package io.sinklens.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.job.ScoreJob;
import io.sinklens.job.ScoreJob.Result;
import io.sinklens.job.ScoreJob.UseSpark;
import io.sinklens.job.ScoreJob.VariantResult;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What predictions are worth. */
@Command(
    name = "score",
    description = "Scores the predictions of a benchmark as its own scripts do.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class ScoreCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Option(
      names = "--benchmark",
      required = true,
      paramLabel = "NAME",
      description = "Such as pope; a wrong name is answered with those that are known")
  private String benchmark;

  @Option(
      names = "--predictions",
      required = true,
      paramLabel = "PATH",
      description =
          "Parquet or JSONL, a file, a folder or a pattern, with the benchmark's columns and"
              + " prediction; or an output of annotate")
  private String predictions;

  @Option(
      names = "--mode",
      paramLabel = "M",
      description = "Whose script is followed (default: the benchmark's own)")
  private @Nullable String mode;

  @Option(
      names = "--rows",
      paramLabel = "OUT",
      description = "Write the score of every row there, as .jsonl or .parquet")
  private @Nullable String rows;

  @Option(
      names = "--synonyms",
      paramLabel = "FILE",
      description = "Words for objects, a category a line, in place of CHAIR's own")
  private @Nullable Path synonyms;

  @Option(
      names = "--spark",
      paramLabel = "WHEN",
      defaultValue = "auto",
      description =
          "auto, never or always: auto uses Spark for more than 100,000 rows and for other"
              + " machines' files; the numbers are the same (default: auto)")
  private UseSpark spark;

  @Option(names = "--json", description = "Print one JSON object and nothing else")
  private boolean json;

  @Override
  public Integer call() {
    ScoreJob job =
        new ScoreJob(new ScoreJob.Settings(benchmark, mode, predictions, rows, synonyms, spark));
    PrintWriter out = spec.commandLine().getOut();
    try (LazySession session = new LazySession("sinklens score")) {
      Result result = job.run(session);
      if (json) {
        out.println(new ObjectMapper().valueToTree(json(result)).toPrettyString());
      } else {
        print(result, out);
      }
    }
    out.flush();
    return ExitCode.DONE;
  }

  private Map<String, @Nullable Object> json(Result result) {
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("benchmark", result.benchmark());
    json.put("mode", result.mode());
    json.put("complete", result.complete());
    json.put("results", result.variants().stream().map(ScoreCommand::json).toList());
    return json;
  }

  private static Map<String, @Nullable Object> json(VariantResult variant) {
    Map<String, @Nullable Object> counts = new LinkedHashMap<>();
    counts.put("rows", variant.rows());
    counts.put("scored", variant.scored());
    counts.put("missing_predictions", variant.missing());
    counts.put("duplicates", variant.duplicates());
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("variant", variant.variant());
    json.put("counts", counts);
    json.put("summary", JsonNumbers.of(variant.summary()));
    return json;
  }

  private static void print(Result result, PrintWriter out) {
    out.printf("%s, mode %s%n", result.benchmark(), result.mode());
    if (Boolean.FALSE.equals(result.complete())) {
      out.println("The run is not complete: only its committed waves are scored");
    }
    List<Map<String, String>> columns =
        result.variants().stream().map(ScoreCommand::column).toList();
    Set<String> names = new LinkedHashSet<>();
    columns.forEach(column -> names.addAll(column.keySet()));
    int width = names.stream().mapToInt(String::length).max().orElse(0);
    for (String name : names) {
      StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%-" + width + "s", name));
      columns.forEach(
          column ->
              line.append(String.format(Locale.ROOT, "  %12s", column.getOrDefault(name, ""))));
      out.println(line);
    }
  }

  /** What is said of a variant, by name. */
  private static Map<String, String> column(VariantResult variant) {
    Map<String, String> column = new LinkedHashMap<>();
    if (variant.variant() != null) {
      column.put("variant", variant.variant());
    }
    column.put("rows", count(variant.rows()));
    column.put("scored", count(variant.scored()));
    column.put("missing predictions", count(variant.missing()));
    column.put("duplicates", count(variant.duplicates()));
    collect("", variant.summary(), column);
    return column;
  }

  private static void collect(String prefix, Map<?, ?> summary, Map<String, String> column) {
    summary.forEach(
        (name, value) -> {
          if (value instanceof Map<?, ?> nested) {
            collect(prefix + name + ".", nested, column);
          } else {
            column.put(prefix + name, text(value));
          }
        });
  }

  private static String text(Object value) {
    return value instanceof Double number
        ? Double.isNaN(number) ? "-" : String.format(Locale.ROOT, "%.4f", number)
        : value instanceof Number whole ? count(whole.longValue()) : String.valueOf(value);
  }

  private static String count(long number) {
    return String.format(Locale.ROOT, "%,d", number);
  }
}
