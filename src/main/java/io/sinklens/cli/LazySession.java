package io.sinklens.cli;

import java.util.function.Supplier;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/** The Spark session of a command that may need none: opened when it is asked for. */
final class LazySession implements Supplier<SparkSession>, AutoCloseable {
  private final String name;
  private @Nullable SparkSession session;

  /**
   * A session to be.
   *
   * @param name what cluster pages call it
   */
  LazySession(String name) {
    this.name = name;
  }

  @Override
  public SparkSession get() {
    SparkSession open = session != null ? session : LocalSession.open(name);
    session = open;
    return open;
  }

  @Override
  public void close() {
    if (session != null) {
      session.stop();
    }
  }
}
