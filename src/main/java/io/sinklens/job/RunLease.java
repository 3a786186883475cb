package io.sinklens.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The right of one run to write an output, kept in a file of it.
 *
 * <p>Its holder writes the file anew now and then. Another run that finds it watches: when it
 * changes, somebody is at work; when it stays the same for long enough, or the process that wrote
 * it is known to be gone, it is taken over. The time is the watcher's own, which no setting of a
 * clock moves. Whoever has lost it finds that out before the next thing that would count.
 */
final class RunLease implements AutoCloseable {
  private final OutputFolder output;
  private final Pace pace;
  private final String found;
  private final String run = UUID.randomUUID().toString();
  private final ScheduledExecutorService renewals =
      Executors.newSingleThreadScheduledExecutor(
          work -> {
            Thread thread = new Thread(work, "sinklens lease");
            thread.setDaemon(true);
            return thread;
          });
  private long beats;
  private boolean taken;

  /**
   * How often things happen.
   *
   * @param renewal how long a holder waits before it writes the file again
   * @param patience how long a watcher sees the same file before it takes over
   * @param look how long it waits between two looks
   */
  record Pace(Duration renewal, Duration patience, Duration look) {
    static final Pace USUAL =
        new Pace(Duration.ofSeconds(10), Duration.ofSeconds(60), Duration.ofSeconds(1));

    Pace {
      if (patience.compareTo(renewal) <= 0) {
        throw new IllegalArgumentException("Patience must be longer than a renewal");
      }
    }
  }

  /** Says that another run has taken over. */
  static final class LostException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private LostException(String message, @Nullable Exception cause) {
      super(message, cause);
    }
  }

  /**
   * What the file holds.
   *
   * @param run whose it is
   * @param beats how often it was written, so that a renewal is seen
   * @param host for people
   * @param origin what the holder is on its machine
   */
  record Holder(String run, long beats, String host, Origin origin) {
    String shown() {
      return "process %d on %s".formatted(origin.pid(), host);
    }
  }

  /**
   * A process, told from all others that ever were.
   *
   * @param pid its number
   * @param started when it began, in ticks since its system did; 0 where that cannot be told
   * @param system which start of which machine numbers it so, and for whom; or empty
   */
  record Origin(long pid, long started, String system) {
    static Origin current() {
      long pid = ProcessHandle.current().pid();
      return new Origin(pid, startOf(pid), thisSystem());
    }

    /** Whether this process can be seen to be no more: only where processes have such numbers. */
    boolean isGone() {
      return started > 0
          && !system.isEmpty()
          && system.equals(thisSystem())
          && startOf(pid) != started;
    }

    /**
     * From its status line, since when a clock shows makes no difference there; 0 if it is dead.
     */
    private static long startOf(long pid) {
      try {
        String line = Files.readString(Path.of("/proc/" + pid + "/stat"));
        String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ", -1);
        return "ZX".contains(fields[0]) ? 0 : Long.parseLong(fields[19]);
      } catch (IOException e) {
        return 0;
      }
    }

    private static String thisSystem() {
      try {
        return String.join(
            " ",
            Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip(),
            Files.readSymbolicLink(Path.of("/proc/self/ns/pid")).toString(),
            System.getProperty("user.name"));
      } catch (IOException e) {
        return ""; // Not Linux: only time can tell.
      }
    }
  }

  private RunLease(OutputFolder output, Pace pace, String found) {
    this.output = output;
    this.pace = pace;
    this.found = found;
  }

  /**
   * Waits until nobody can be at work on an output. Writes nothing.
   *
   * @throws IllegalArgumentException when somebody is
   */
  static RunLease request(OutputFolder output, Pace pace, JobProgress progress) {
    String found = output.lease();
    if (!found.isEmpty() && !isGone(found)) {
      progress.waits(shown(found), pace.patience());
      return new RunLease(output, pace, watch(output, pace, found));
    }
    return new RunLease(output, pace, found);
  }

  /** Looks until a lease is given back, or was the same for long enough; what is there then. */
  private static String watch(OutputFolder output, Pace pace, String found) {
    long start = System.nanoTime();
    while (System.nanoTime() - start < pace.patience().toNanos()) {
      try {
        Thread.sleep(pace.look().toMillis());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new CancellationException("Interrupted while waiting for another run");
      }
      String now = output.lease();
      if (now.isEmpty()) {
        return now;
      }
      if (!now.equals(found)) {
        throw atWork(output, now);
      }
    }
    return found; // Not read again: what has changed since the last look is a sign of life.
  }

  private static IllegalArgumentException atWork(OutputFolder output, String lease) {
    return new IllegalArgumentException(
        "Cannot write to output.path %s: another run is at work on it, %s"
            .formatted(output, shown(lease)));
  }

  private static boolean isGone(String lease) {
    return holder(lease).map(holder -> holder.origin().isGone()).orElse(false);
  }

  private static String shown(String lease) {
    return holder(lease).map(Holder::shown).orElse("which says nothing about itself");
  }

  private static Optional<Holder> holder(String lease) {
    try {
      return Optional.of(Manifest.JSON.readValue(lease, Holder.class));
    } catch (JsonProcessingException e) {
      return Optional.empty();
    }
  }

  /** What names this run's files. */
  String run() {
    return run;
  }

  /**
   * Takes the right, and renews it until it is closed.
   *
   * @throws IllegalArgumentException when somebody else has taken it since it was asked for
   */
  synchronized void take() {
    String now = output.lease();
    if (!now.isEmpty() && !now.equals(found)) {
      throw atWork(output, now);
    }
    output.writeLease(this, content());
    taken = true;
    output.deleteDraftsOfOthers(this);
    requireHeld();
    long period = pace.renewal().toMillis();
    var unused =
        renewals.scheduleWithFixedDelay(this::renew, period, period, TimeUnit.MILLISECONDS);
  }

  private synchronized void renew() {
    try {
      if (taken && isOurs(output.lease())) {
        output.writeLease(this, content());
      }
    } catch (RuntimeException e) {
      // The store is out of order, or the lease is lost. A renewal comes again, and a commit looks.
    }
  }

  private String content() {
    beats++;
    try {
      return Manifest.JSON.writeValueAsString(new Holder(run, beats, host(), Origin.current()));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write a lease", e);
    }
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "a machine without a name";
    }
  }

  /** Whether another run is known to have it. */
  boolean isLost() {
    try {
      return !isHeld();
    } catch (UncheckedIOException e) {
      return false;
    }
  }

  /** Whether what counts may be written. */
  boolean isHeld() {
    return !taken || isOurs(output.lease());
  }

  /**
   * Looks whether the right is still this run's.
   *
   * @throws LostException when another run has it, or somebody has deleted the file
   */
  void requireHeld() {
    if (!isHeld()) {
      throw lost(null);
    }
  }

  /**
   * Says who has it now.
   *
   * @param cause what came of it, or null
   */
  LostException lost(@Nullable Exception cause) {
    String now = output.lease();
    return new LostException(
        "Another run has taken over output.path %s%s; this one ends"
            .formatted(output, now.isEmpty() ? "" : ", " + shown(now)),
        cause);
  }

  private boolean isOurs(String lease) {
    return holder(lease).map(holder -> holder.run().equals(run)).orElse(false);
  }

  /** Gives the right back, if it is still this run's. */
  @Override
  public void close() {
    renewals.shutdown(); // Does not interrupt one under way.
    synchronized (this) {
      try {
        if (taken && isHeld()) {
          output.deleteLease();
        }
      } catch (UncheckedIOException e) {
        // Whatever the run came to stands; the next one waits until nothing has changed for long.
      }
      taken = false;
    }
  }
}
