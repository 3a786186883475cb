package io.sinklens.job;

import io.sinklens.pipeline.Addresses;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Reads what Spark throws: the cause of a failed task, in one line. */
final class SparkFailures {
  private static final int MAX_MESSAGE_LENGTH = 500;

  private static final String FULL_HEAP =
      "the Java heap is too small; a task holds a whole row group of the input at once, so write the"
          + " Parquet files with smaller row groups (100 MB), or give more heap: JAVA_OPTS=-Xmx8g"
          + " for jobs/sinklens, --executor-memory 8g for jobs/submit";

  /**
   * The error, also in the text of a trace, or the code with which Spark ends an executor for it.
   */
  private static final Pattern FULL_HEAP_SEEN =
      Pattern.compile(
          "\\bexit(ed with)? (code|status):? 52\\b|OutOfMemoryError: (Java heap|GC overhead)");

  private SparkFailures() {}

  /** What a task threw, out of Spark's wrapping. */
  static RuntimeException unwrapped(Exception failure, String step) {
    for (Throwable e : causes(failure)) {
      if (isFullHeap(e)) {
        return new IllegalArgumentException("%s: %s".formatted(step, FULL_HEAP), failure);
      }
      if (e instanceof UncheckedIOException file) {
        return new UncheckedIOException(oneLine(file), file.getCause());
      }
      if (e instanceof IOException store) {
        return new UncheckedIOException("%s: %s".formatted(step, oneLine(store)), store);
      }
      if (e instanceof BrokenInvariantException broken) {
        return broken;
      }
    }
    return new IllegalStateException(
        "%s: %s".formatted(step, oneLine(rootCause(failure))), failure);
  }

  /** The innermost reason in one line, for what only an input or a setting can break. */
  static String reason(Throwable failure) {
    return causes(failure).stream().anyMatch(SparkFailures::isFullHeap)
        ? FULL_HEAP
        : oneLine(rootCause(failure));
  }

  /** Here, or in an executor that ended for it and of which Spark tells only how it ended. */
  private static boolean isFullHeap(Throwable e) {
    return FULL_HEAP_SEEN.matcher(e.toString()).find();
  }

  /** A failure and what caused it, outermost first. */
  static List<Throwable> causes(Throwable failure) {
    return Stream.iterate(failure, e -> e != null, Throwable::getCause).limit(20).toList();
  }

  static Throwable rootCause(Throwable failure) {
    List<Throwable> causes = causes(failure);
    return causes.get(causes.size() - 1);
  }

  /** A message's first line, of bounded length and without passwords. */
  static String oneLine(Throwable e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    String line = message.lines().filter(text -> !text.isBlank()).findFirst().orElse("").strip();
    return Addresses.withoutSecrets(
        line.length() <= MAX_MESSAGE_LENGTH ? line : line.substring(0, MAX_MESSAGE_LENGTH) + "...");
  }
}
