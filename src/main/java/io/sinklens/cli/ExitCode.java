package io.sinklens.cli;

/** What a finished command says to the shell. */
final class ExitCode {
  static final int DONE = 0;

  /** Bad input, settings or checkpoint; one line on standard error says which. */
  static final int BAD_INPUT = 1;

  /** The command line itself is wrong. */
  static final int USAGE = 2;

  /** Everything is written, but more rows failed than the run permits. */
  static final int TOO_MANY_FAILED = 3;

  /** A bug, or rows that do not add up. */
  static final int INTERNAL = 4;

  /** Stopped from outside. */
  static final int INTERRUPTED = 130;

  private ExitCode() {}
}
