package io.sinklens.cli;

import io.sinklens.job.JobProgress;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.Locale;

/** Prints how far a job is, at most once in a while. */
final class ProgressLine implements JobProgress, AutoCloseable {
  private static final double SECONDS_BETWEEN = 2;

  private final PrintWriter err;
  private double printedAt;

  ProgressLine(PrintWriter err) {
    this.err = err;
  }

  @Override
  public synchronized void waits(String holder, Duration patience) {
    err.printf(
        "sinklens: another run may be at work on the output, %s; waiting up to %d s to see whether it"
            + " is%n",
        holder, patience.toSeconds());
    err.flush();
  }

  @Override
  public synchronized void goesOn(int formerWaves, int waves) {
    err.printf(Locale.ROOT, "sinklens: going on after %,d of %,d waves%n", formerWaves, waves);
    err.flush();
  }

  @Override
  public synchronized void report(State state) {
    boolean early = state.annotations() == 0 || state.seconds() < printedAt + SECONDS_BETWEEN;
    if (early && state.annotations() < state.total()) {
      return;
    }
    printedAt = state.seconds();
    double rate = state.annotations() / Math.max(state.seconds(), 1e-3);
    err.printf(
        Locale.ROOT,
        "%d of %d rows, %d failed, %.0f rows/s, %.0f tokens/s, %s left%n",
        state.annotations(),
        state.total(),
        state.failed(),
        rate,
        state.tokens() / Math.max(state.seconds(), 1e-3),
        duration((state.total() - state.annotations()) / rate));
    err.flush();
  }

  private static String duration(double seconds) {
    long whole = Math.round(seconds);
    return whole < 60
        ? whole + " s"
        : whole < 3600
            ? "%d min %d s".formatted(whole / 60, whole % 60)
            : "%d h %d min".formatted(whole / 3600, whole % 3600 / 60);
  }

  @Override
  public synchronized void close() {
    err.flush();
  }
}
