package io.sinklens.benchmark;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a {@link Scorer#summary} measures, without nesting: {@code random.f1} for f1 in random.
 * Whole numbers are counts of rows and left out.
 */
public final class SummaryNumbers {
  private SummaryNumbers() {}

  /** Numbers by name, in their order. */
  public static Map<String, Double> of(Map<String, Object> summary) {
    Map<String, Double> numbers = new LinkedHashMap<>();
    collect("", summary, numbers);
    return Collections.unmodifiableMap(numbers);
  }

  private static void collect(String prefix, Map<?, ?> summary, Map<String, Double> numbers) {
    summary.forEach(
        (name, value) -> {
          if (value instanceof Map<?, ?> nested) {
            collect(prefix + name + ".", nested, numbers);
          } else if (value instanceof Double number) {
            numbers.put(prefix + name, number);
          }
        });
  }
}
