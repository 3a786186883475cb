package io.sinklens.benchmark;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The benchmarks that are known. A new one is added here and nowhere else. */
public final class Benchmarks {
  private static final Map<String, Benchmark> ALL =
      Stream.of(
              Chair.benchmark(),
              Benchmark.of("cv-bench", List.of("idx"), CvBench.OFFICIAL),
              Benchmark.of("gqa", List.of("id"), Gqa.LLAVA),
              Benchmark.of("mme", List.of("question_id", "question"), Mme.LLAVA),
              Benchmark.of("mm-vet", List.of("question_id"), MmVet.OFFICIAL),
              Benchmark.of("mmhal-bench", List.of(), MmHalBench.OFFICIAL),
              Benchmark.of("mmvp", List.of("Index"), Mmvp.OFFICIAL),
              Benchmark.of("pope", List.of("category", "question_id"), Pope.LLAVA),
              Benchmark.of("scienceqa", List.of(), ScienceQa.LLAVA),
              Benchmark.of("textvqa", List.of("question_id"), TextVqa.LLAVA),
              Benchmark.of("vizwiz", List.of("question_id"), VizWiz.LLAVA),
              Benchmark.of("vqav2", List.of("question_id"), Vqav2.LLAVA))
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
