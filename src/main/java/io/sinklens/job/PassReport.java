package io.sinklens.job;

import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.RunTimes;
import io.sinklens.pipeline.RunTimes.Passes;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * How near the decoder's passes come to their products with weights alone, which are measured right
 * after, with the same weights and the same numbers of tokens.
 */
final class PassReport {
  private static final int BIN = 16; // Sizes up to so many tokens apart are measured as one.

  private final ModelAnnotator annotator;
  private final RunTimes spent;
  private final Map<List<Integer>, Double> products = new LinkedHashMap<>(); // By size.

  PassReport(ModelAnnotator annotator, RunTimes spent) {
    this.annotator = annotator;
    this.spent = spent;
  }

  /** By phase: passes, tokens, seconds, seconds of the products alone, their ratio, and rates. */
  Map<String, Object> values() {
    Map<String, Object> byPhase = new TreeMap<>();
    spent.passes().stream()
        .map(Passes::phase)
        .distinct()
        .forEach(
            phase ->
                byPhase.put(
                    phase,
                    sums(
                        spent.passes().stream()
                            .filter(passes -> passes.phase().equals(phase))
                            .toList())));
    return byPhase;
  }

  private Map<String, Object> sums(List<Passes> ofPhase) {
    long count = 0;
    long tokens = 0;
    double seconds = 0;
    double alone = 0;
    double operations = 0;
    for (Passes passes : ofPhase) {
      count += passes.count();
      tokens += passes.count() * passes.tokens();
      seconds += passes.seconds();
      alone += passes.count() * productSeconds(passes);
      operations +=
          (double) passes.count() * annotator.productOperations(passes.tokens(), passes.answers());
    }
    Map<String, Object> sums = new LinkedHashMap<>();
    sums.put("passes", count);
    sums.put("tokens", tokens);
    sums.put("seconds", seconds);
    sums.put("product_seconds", alone);
    sums.put("product_share", alone / seconds);
    sums.put("gflops", operations / seconds / 1e9);
    sums.put("product_gflops", operations / alone / 1e9);
    return sums;
  }

  /** Of that size, or scaled from a size near it. */
  private double productSeconds(Passes passes) {
    int bin = passes.tokens() < 4 * BIN ? 1 : BIN;
    int tokens = (passes.tokens() + bin - 1) / bin * bin;
    int answers = Math.min(tokens, passes.answers());
    double seconds =
        products.computeIfAbsent(
            List.of(tokens, answers), size -> annotator.productSeconds(tokens, answers));
    return seconds * passes.tokens() / tokens;
  }
}
