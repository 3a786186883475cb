package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.job.RunLease.LostException;
import io.sinklens.job.RunLease.Pace;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Who may write an output. */
class RunLeaseTest {
  private static final Pace QUICK =
      new Pace(Duration.ofMillis(100), Duration.ofMillis(3000), Duration.ofMillis(20));

  /** Holders that never give a sign of life. */
  private static final Pace STALLED =
      new Pace(Duration.ofHours(1), Duration.ofHours(2), Duration.ofMillis(20));

  @TempDir private Path folder;
  private OutputFolder output;

  @BeforeEach
  void open() {
    output = new OutputFolder(folder.resolve("out").toString(), new Configuration());
  }

  private RunLease request(Pace pace) {
    return RunLease.request(output, pace, JobProgress.NONE);
  }

  private RunLease taken(Pace pace) {
    RunLease lease = request(pace);
    lease.take();
    return lease;
  }

  @Test
  void leavesNothingBehind() throws IOException {
    try (RunLease lease = request(QUICK)) {
      assertThat(folder.resolve("out")).doesNotExist();
      lease.take();
      assertThat(lease.isHeld()).isTrue();
      assertThat(output.lease()).contains(lease.run());
      assertThat(output.foreign()).isEmpty();
    }
    try (Stream<Path> left = Files.list(folder.resolve("out"))) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void refusesASecondRunWhileTheFirstGivesSigns() {
    try (RunLease first = taken(QUICK)) {
      long start = System.nanoTime();
      assertThatIllegalArgumentException()
          .isThrownBy(() -> request(QUICK))
          .withMessageMatching(
              "Cannot write to output.path \\S+: another run is at work on it, process "
                  + ProcessHandle.current().pid()
                  + " on .+");
      assertThat(System.nanoTime() - start).isLessThan(QUICK.patience().toNanos());
      assertThat(first.isHeld()).isTrue();
    }
    try (RunLease second = taken(QUICK)) {
      assertThat(second.isHeld()).isTrue();
    }
  }

  @Test
  void takesOverFromAStalledRunWhichThenWritesNothingMore() throws IOException {
    List<String> told = new ArrayList<>();
    JobProgress progress =
        new JobProgress() {
          @Override
          public void waits(String holder, Duration patience) {
            told.add(holder + " " + patience.toMillis());
          }

          @Override
          public void report(State state) {}
        };
    RunLease stalled = taken(STALLED);
    long start = System.nanoTime();
    try (RunLease second = RunLease.request(output, QUICK, progress)) {
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(QUICK.patience().toNanos());
      assertThat(told).singleElement().asString().matches("process \\d+ on .+ 3000");
      second.take();

      assertThat(stalled.isHeld()).isFalse();
      assertThatExceptionOfType(LostException.class)
          .isThrownBy(() -> output.writeLease(stalled, "late"))
          .withMessageMatching(
              "Another run has taken over output.path \\S+, process \\d+ on .+; this one ends");
      stalled.close();
      assertThat(second.isHeld()).isTrue();
    }
  }

  @Test
  void takesOverAtOnceFromAProcessThatIsGone() throws IOException {
    Process process = new ProcessBuilder("sleep", "60").start();
    RunLease.Origin ours = RunLease.Origin.current();
    long started;
    try {
      started = startOf(process);
      write(new RunLease.Origin(process.pid(), started, ours.system()));
      assertThat(holderIsGone()).isFalse();
    } finally {
      process.destroyForcibly().onExit().join();
    }
    assertThat(holderIsGone()).isTrue();
    write(new RunLease.Origin(process.pid(), started, "another machine"));
    assertThat(holderIsGone()).isFalse();
    write(new RunLease.Origin(ours.pid(), ours.started() + 1, ours.system())); // Its number again.
    try (RunLease lease = RunLease.request(output, STALLED, JobProgress.NONE)) {
      lease.take();
      assertThat(lease.isHeld()).isTrue();
    }
  }

  private static long startOf(Process process) throws IOException {
    String line = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
    return Long.parseLong(line.substring(line.lastIndexOf(')') + 2).split(" ", -1)[19]);
  }

  private void write(RunLease.Origin origin) throws IOException {
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(
        folder.resolve("out/_lease"),
        Manifest.JSON.writeValueAsString(new RunLease.Holder("other", 1, "there", origin)));
  }

  private boolean holderIsGone() throws IOException {
    return Manifest.JSON
        .readValue(folder.resolve("out/_lease").toFile(), RunLease.Holder.class)
        .origin()
        .isGone();
  }

  @Test
  void givesTheOutputToOneOfTwoThatAskAtATime() {
    try (RunLease first = request(QUICK);
        RunLease second = request(QUICK)) {
      first.take();
      assertThatIllegalArgumentException()
          .isThrownBy(second::take)
          .withMessageContaining("another run is at work on it");
      assertThat(first.isHeld()).isTrue();
    }
  }

  @Test
  void doesNotTakeOverFromAHolderThatHasGivenASignSinceTheLastLook() {
    RunLease sleeper = taken(STALLED);
    try (RunLease second = request(QUICK)) {
      output.writeLease(sleeper, output.lease().replace("\"beats\":1", "\"beats\":2"));
      assertThatIllegalArgumentException()
          .isThrownBy(second::take)
          .withMessageContaining("another run is at work on it");
      assertThat(sleeper.isHeld()).isTrue();
    }
    sleeper.close();
  }

  @Test
  void throwsAwayWhatAStalledRunWasAboutToRename() throws IOException {
    Files.createDirectories(folder.resolve("out"));
    Path draft = folder.resolve("out/.manifest.json.4711.new");
    Files.writeString(draft, "{}");
    assertThat(output.foreign()).isEmpty();
    try (RunLease lease = request(QUICK)) {
      assertThat(draft).exists();
      lease.take();
      assertThat(draft).doesNotExist();
    }
  }

  @Test
  void waitsForALeaseThatCannotBeUnderstood() throws IOException {
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(folder.resolve("out/_lease"), "{\"run");
    long start = System.nanoTime();
    try (RunLease lease = taken(QUICK)) {
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(QUICK.patience().toNanos());
      assertThat(lease.isHeld()).isTrue();
    }
  }
}
