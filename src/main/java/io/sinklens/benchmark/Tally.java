package io.sinklens.benchmark;

import java.io.Serializable;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Sums over rows by name. They are whole numbers, so the order of rows and how they were divided
 * among machines make no difference.
 */
public final class Tally implements Serializable {
  private static final long serialVersionUID = 1;

  private final TreeMap<String, Long> sums = new TreeMap<>();

  /**
   * Adds what a row, or a pair of rows, counts for.
   *
   * @throws ArithmeticException if a sum does not fit 64 bits
   */
  public Tally add(Map<String, Long> counts) {
    counts.forEach((name, count) -> sums.merge(name, count, Math::addExact));
    return this;
  }

  /** Adds all of another. */
  public Tally add(Tally other) {
    return add(other.sums);
  }

  /** A sum, 0 if nothing was added to it. */
  public long of(String name) {
    return sums.getOrDefault(name, 0L);
  }

  /** Names that begin so, and their sums, the beginning cut off. */
  public SortedMap<String, Long> under(String beginning) {
    SortedMap<String, Long> found = new TreeMap<>();
    sums.tailMap(beginning).entrySet().stream()
        .takeWhile(sum -> sum.getKey().startsWith(beginning))
        .forEach(sum -> found.put(sum.getKey().substring(beginning.length()), sum.getValue()));
    return Collections.unmodifiableSortedMap(found);
  }

  /** The share of one sum in another; NaN where there is nothing to share. */
  public double share(String part, String whole) {
    return of(whole) == 0 ? Double.NaN : (double) of(part) / of(whole);
  }
}
