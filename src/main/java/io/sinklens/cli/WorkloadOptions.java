package io.sinklens.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What can be changed of a workload that is measured. */
final class WorkloadOptions {
  @Option(
      names = "--variants",
      paramLabel = "NAME",
      split = ",",
      description = "plain, baseline, var, one or more (default: the workload's)")
  private @Nullable List<String> variants;

  @Option(
      names = "--set",
      paramLabel = "a.b=YAML",
      description = "Sets a key of the job, such as model.dtype=float32; may be repeated")
  private List<String> overlays = List.of();

  /** Names of variants; null for the workload's. */
  @Nullable List<String> variants() {
    return variants;
  }

  /** More settings. */
  List<String> overlays() {
    return overlays;
  }
}
