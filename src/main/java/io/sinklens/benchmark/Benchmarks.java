package io.sinklens.benchmark;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The benchmarks that are known. A new one is added here and nowhere else. */
public final class Benchmarks {
  private static final Map<String, Benchmark> ALL =
      List.<Benchmark>of().stream()
          .collect(
              Collectors.toMap(
                  Benchmark::name, benchmark -> benchmark, (a, b) -> a, LinkedHashMap::new));

  private Benchmarks() {}

  /** Their names. */
  public static List<String> names() {
    return List.copyOf(ALL.keySet());
  }

  /**
   * A benchmark by its name.
   *
   * @throws IllegalArgumentException if none is called so
   */
  public static Benchmark named(String name) {
    Benchmark benchmark = ALL.get(name);
    if (benchmark == null) {
      throw new IllegalArgumentException(
          "There is no benchmark %s: use one of %s".formatted(name, String.join(", ", names())));
    }
    return benchmark;
  }
}
