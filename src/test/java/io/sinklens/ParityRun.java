package io.sinklens;

import static org.junit.platform.engine.discovery.ClassNameFilter.includeClassNamePatterns;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** Runs the tests that hold networks and engine against golden files, where there is no Maven. */
public final class ParityRun {
  private static final List<String> ALL =
      List.of(
          "io.sinklens.pipeline.GoldenTest",
          "io.sinklens.pipeline.BatchInvarianceTest",
          "io.sinklens.model.decoder.LlamaDecoderTest",
          "io.sinklens.model.decoder.GroupedProjectionTest",
          "io.sinklens.intervention.RedistributionTest",
          "io.sinklens.tensor.OperatorsTest");

  private ParityRun() {}

  /** Tells the end of each test as it comes, so that a run that is stopped has said something. */
  private static final class Progress implements TestExecutionListener {
    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      if (test.isTest()) {
        String why =
            result
                .getThrowable()
                .map(e -> " " + e.toString().strip().lines().findFirst().orElse(""))
                .orElse("");
        System.out.println(
            result.getStatus() + " " + test.getUniqueId().replaceAll(".*class:", "") + why);
      }
    }
  }

  /** Runs all of them, or those named; the process ends with 1 where one fails. */
  public static void main(String[] names) {
    List<String> chosen = names.length == 0 ? ALL : Arrays.asList(names);
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(chosen.stream().map(name -> selectClass(name)).toList())
            .filters(includeClassNamePatterns(".*"))
            .configurationParameter("junit.jupiter.execution.parallel.enabled", "true")
            .configurationParameter("junit.jupiter.execution.parallel.mode.default", "concurrent")
            .build();
    Launcher launcher = LauncherFactory.create();
    SummaryGeneratingListener listener = new SummaryGeneratingListener();
    launcher.execute(request, listener, new Progress());
    TestExecutionSummary summary = listener.getSummary();
    PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
    summary.printFailuresTo(out, 12);
    summary.printTo(out);
    System.exit(
        summary.getTotalFailureCount() == 0 && summary.getTestsSucceededCount() > 0 ? 0 : 1);
  }
}
