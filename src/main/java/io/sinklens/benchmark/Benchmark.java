package io.sinklens.benchmark;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A benchmark and the ways in which its answers are scored.
 *
 * @param name as in {@code --benchmark}
 * @param id columns that name a row together, joined by a slash; none where rows have no such
 *     columns
 * @param defaultMode the mode where none is asked for
 * @param scorers by mode, in the order to be shown
 */
public record Benchmark(
    String name, List<String> id, String defaultMode, Map<String, Scorer> scorers) {
  public Benchmark {
    id = List.copyOf(id);
    scorers = Collections.unmodifiableMap(new LinkedHashMap<>(scorers));
    if (!scorers.containsKey(defaultMode)) {
      throw new IllegalArgumentException(
          "Mode %s must be one of %s".formatted(defaultMode, scorers.keySet()));
    }
  }

  /**
   * A benchmark whose modes are the constants of an enum: {@code LMMS_EVAL} is mode {@code
   * lmms-eval}.
   *
   * @param id columns that name a row together; none where the input has no such columns
   */
  static <M extends Enum<M> & Scorer> Benchmark of(String name, List<String> id, M defaultMode) {
    Map<String, Scorer> scorers = new LinkedHashMap<>();
    for (M mode : defaultMode.getDeclaringClass().getEnumConstants()) {
      scorers.put(modeName(mode), mode);
    }
    return new Benchmark(name, id, modeName(defaultMode), scorers);
  }

  private static String modeName(Enum<?> mode) {
    return mode.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /**
   * The scorer of a mode.
   *
   * @throws IllegalArgumentException if the benchmark has no such mode
   */
  public Scorer scorer(String mode) {
    Scorer scorer = scorers.get(mode);
    if (scorer == null) {
      throw new IllegalArgumentException(
          "Benchmark %s has no mode %s: use one of %s"
              .formatted(name, mode, String.join(", ", scorers.keySet())));
    }
    return scorer;
  }
}
