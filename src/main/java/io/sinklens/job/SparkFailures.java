package io.sinklens.job;

import io.sinklens.pipeline.Addresses;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.stream.Stream;

/** Reads what Spark throws: the cause of a failed task, in one line. */
final class SparkFailures {
  private static final int MAX_MESSAGE_LENGTH = 500;

  private SparkFailures() {}

  /** What a task threw, out of Spark's wrapping. */
  static RuntimeException unwrapped(Exception failure, String step) {
    for (Throwable e : causes(failure)) {
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
