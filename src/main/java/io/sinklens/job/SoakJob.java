package io.sinklens.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.table.QuestionTable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.apache.hadoop.fs.FileUtil;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Runs {@code annotate} on the bundled questions in processes of its own, kills them, and after
 * each kill looks from outside at what lies in the output. The same command is given again until
 * the output is complete; then the next round begins, until there were kills enough. Then runs are
 * stopped as if their machine slept, others take over, and the first ones wake up.
 */
public final class SoakJob {
  private static final int POLL_MILLIS = 1;
  private static final List<KillMoment> MOMENTS = List.of(KillMoment.values());
  private static final List<KillMoment> STALLS =
      List.of(
          KillMoment.BEGUN,
          KillMoment.WRITING,
          KillMoment.BETWEEN_DATA_AND_COMMIT,
          KillMoment.MANIFEST_DRAFTED,
          KillMoment.COMMITTED);
  private static final List<String> VARIANTS = List.of("baseline", "var");

  /** What a run ends with that was taken over. */
  private static final int TAKEN_OVER = 4;

  private final Settings settings;
  private final Consumer<String> progress;
  private final Random random;

  private final Map<KillMoment, Integer> kills = new EnumMap<>(KillMoment.class);
  private final Map<KillMoment, Integer> stalls = new EnumMap<>(KillMoment.class);
  private int runs;
  private int rounds;
  private long lost;
  private long duplicated;
  private long resumedWaves;
  private long wastedWaves;
  private int mostWastedWaves;
  private double longestSeconds = 1;

  /**
   * What to do.
   *
   * @param launcher the program, as {@code jobs/sinklens}
   * @param output a folder that is not there, for outputs and logs of the runs
   * @param kills how many, above 0
   * @param stalls how many runs are stopped and taken over, 0 or more; each takes over a minute
   * @param seed of moments and wave sizes
   */
  public record Settings(Path launcher, Path output, int kills, int stalls, long seed) {
    public Settings {
      if (kills < 1) {
        throw new IllegalArgumentException("Kills must be at least 1, not " + kills);
      }
      if (stalls < 0) {
        throw new IllegalArgumentException("Stalls must be at least 0, not " + stalls);
      }
      if (Files.exists(output)) {
        throw new IllegalArgumentException("Output %s is there already".formatted(output));
      }
    }
  }

  /**
   * What came of it.
   *
   * @param kills by moment
   * @param stalls by moment: runs that were stopped, taken over, and could not commit any more
   * @param runs processes that were started
   * @param rounds outputs that became complete
   * @param rows annotations of one output
   * @param lost annotations that were missing in a wave that counts, or in a complete output
   * @param duplicated annotations that were there twice
   * @param resumedWaves waves that a killed run had left and the next one did not write again
   * @param wastedWaves waves that were begun by killed runs and written again
   * @param mostWastedWaves of one kill
   */
  public record Result(
      Map<String, Integer> kills,
      Map<String, Integer> stalls,
      int runs,
      int rounds,
      long rows,
      long lost,
      long duplicated,
      long resumedWaves,
      long wastedWaves,
      int mostWastedWaves) {

    /** Whether nothing was lost or there twice, and no kill cost more than what was under way. */
    public boolean isSound() {
      return lost == 0 && duplicated == 0 && mostWastedWaves <= WavesInFlight.AT_ONCE;
    }
  }

  public SoakJob(Settings settings, Consumer<String> progress) {
    this.settings = settings;
    this.progress = progress;
    random = new Random(settings.seed());
  }

  /** An annotation's key. */
  private record Key(String sampleId, String variant) {}

  /**
   * Runs.
   *
   * @param spark reads what runs have written; they have sessions of their own
   * @throws BrokenInvariantException when a run fails that was not killed, or changes an answer
   */
  public Result run(SparkSession spark) {
    try (Bundled bundled = Bundled.unpack()) {
      Files.createDirectories(settings.output());
      Map<Key, String> whole = runWithoutKills(spark, bundled);
      while (sum(kills) < settings.kills()) {
        Path output = settings.output().resolve("round-" + rounds);
        Path job = write(inWaves(bundled, output));
        while (!runAndKill(job, output)) {
          check(spark, output, whole);
        }
        requireSame(whole, check(spark, output, whole));
        rounds++;
        FileUtil.fullyDelete(output.toFile());
      }
      while (sum(stalls) < settings.stalls()) {
        stall(spark, bundled, whole);
      }
      return new Result(
          shown(kills),
          shown(stalls),
          runs,
          rounds,
          whole.size(),
          lost,
          duplicated,
          resumedWaves,
          wastedWaves,
          mostWastedWaves);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot soak in " + settings.output(), e);
    }
  }

  private static int sum(Map<KillMoment, Integer> counts) {
    return counts.values().stream().mapToInt(Integer::intValue).sum();
  }

  private static Map<String, Integer> shown(Map<KillMoment, Integer> counts) {
    Map<String, Integer> byMoment = new LinkedHashMap<>();
    counts.forEach((moment, count) -> byMoment.put(moment.shown(), count));
    return byMoment;
  }

  private Map<Key, String> runWithoutKills(SparkSession spark, Bundled bundled) throws IOException {
    Path output = settings.output().resolve("whole");
    Path job = write(bundled.job(output, List.of()));
    for (int i = 0; i < 2; i++) { // The launcher's first run starts slower than those to come.
      FileUtil.fullyDelete(output.toFile());
      long start = System.nanoTime();
      requireDone(end(start(job)));
      longestSeconds = (System.nanoTime() - start) / 1e9;
    }
    progress.accept(String.format(Locale.ROOT, "a run without kills takes %.1f s", longestSeconds));
    Map<Key, String> whole = annotations(spark, output, new OutputView(output).waves());
    requireEach(spark, bundled, whole);
    return whole;
  }

  /** The reference itself must hold every question under every variant. */
  private void requireEach(SparkSession spark, Bundled bundled, Map<Key, String> whole) {
    long questions = spark.read().parquet(bundled.scenes().toString()).count();
    if (whole.size() != questions * VARIANTS.size()) {
      throw new BrokenInvariantException(
          "%d questions under %d variants, but %d annotations"
              .formatted(questions, VARIANTS.size(), whole.size()));
    }
  }

  private RunSettings inWaves(Bundled bundled, Path output) {
    return bundled.job(output, List.of("run.wave-rows=" + (20 + random.nextInt(80))));
  }

  private Path write(RunSettings run) throws IOException {
    Path job = settings.output().resolve("job-" + rounds + ".yaml");
    try {
      return Files.writeString(job, Manifest.JSON.writeValueAsString(JobFile.toMap(run)));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write a job file", e);
    }
  }

  private Process start(Path job) throws IOException {
    return start(job, "last-run.log");
  }

  private Process start(Path job, String log) throws IOException {
    runs++;
    return new ProcessBuilder(settings.launcher().toString(), "annotate", job.toString())
        .redirectErrorStream(true)
        .redirectOutput(settings.output().resolve(log).toFile())
        .start();
  }

  private static int end(Process process) {
    try {
      return process.waitFor();
    } catch (InterruptedException e) {
      kill(process);
      Thread.currentThread().interrupt();
      throw new BrokenInvariantException("Interrupted while a run was at work");
    }
  }

  /** SIGKILL for the launcher and what it has started, as far as it waits for that. */
  private static void kill(Process process) {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }

  private void requireDone(int exitCode) throws IOException {
    if (exitCode != 0) {
      List<String> log = Files.readAllLines(settings.output().resolve("last-run.log"));
      throw new BrokenInvariantException(
          "A run that was not killed ended with exit code %d: %s"
              .formatted(exitCode, log.isEmpty() ? "" : log.get(log.size() - 1)));
    }
  }

  /** Starts a run and kills it at some moment; true when it was done before. */
  private boolean runAndKill(Path job, Path output) throws IOException {
    OutputView view = new OutputView(output);
    KillMoment moment = MOMENTS.get(random.nextInt(MOMENTS.size()));
    KillMoment.Before before = KillMoment.Before.of(view);
    long delay = (long) (moment.delaySeconds() * random.nextDouble() * 1e9);
    long limit = (long) (longestSeconds * random.nextDouble() * 1e9); // It may not come at all.
    Process process = start(job);
    long start = System.nanoTime();
    long reached = 0;
    try {
      while (process.isAlive() && sum(kills) < settings.kills()) {
        if (reached == 0 && moment.isReached(view, before)) {
          reached = System.nanoTime();
        }
        boolean late = System.nanoTime() - start >= limit;
        if (late || (reached != 0 && System.nanoTime() - reached >= delay)) {
          kill(process);
          end(process);
          noteKill(late ? KillMoment.ANY_TIME : moment, view, before);
          return false;
        }
        Thread.sleep(POLL_MILLIS);
      }
    } catch (InterruptedException e) {
      kill(process);
      Thread.currentThread().interrupt();
      throw new BrokenInvariantException("Interrupted while a run was at work");
    }
    requireDone(end(process));
    resumedWaves += before.waves().size();
    return true;
  }

  /** Stops a run at some moment, lets another one take over and end, and wakes the first one up. */
  private void stall(SparkSession spark, Bundled bundled, Map<Key, String> whole)
      throws IOException {
    Path output = settings.output().resolve("stall");
    Path job = write(inWaves(bundled, output));
    OutputView view = new OutputView(output);
    KillMoment moment = STALLS.get(random.nextInt(STALLS.size()));
    KillMoment.Before before = KillMoment.Before.of(view);
    Process first = start(job, "stalled-run.log");
    try {
      while (first.isAlive() && !moment.isReached(view, before)) {
        Thread.sleep(POLL_MILLIS);
      }
      signal("STOP", first);
      boolean done = view.isComplete(); // Then it ended before it could be stopped.
      requireDone(end(start(job)));
      signal("CONT", first);
      int exitCode = end(first);
      if (!done) {
        if (exitCode != TAKEN_OVER) {
          throw new BrokenInvariantException(
              "A run that was stopped and taken over ended with exit code " + exitCode);
        }
        stalls.merge(moment, 1, Integer::sum);
        progress.accept(
            "stall %d of %d, %s: taken over"
                .formatted(sum(stalls), settings.stalls(), moment.shown()));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new BrokenInvariantException("Interrupted while a run was at work");
    } finally {
      kill(first);
    }
    requireSame(whole, check(spark, output, whole));
    FileUtil.fullyDelete(output.toFile());
  }

  /** Sends a signal to the launcher and what it has started. */
  private static void signal(String name, Process process)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("kill", "-" + name, "" + process.pid()));
    process.descendants().forEach(child -> command.add("" + child.pid()));
    new ProcessBuilder(command).start().waitFor(); // Fails for what has ended, which is as well.
  }

  private void noteKill(KillMoment moment, OutputView view, KillMoment.Before before) {
    kills.merge(moment, 1, Integer::sum);
    Set<Integer> counting = view.waves();
    resumedWaves += before.waves().size();
    Set<Integer> begun = new HashSet<>(view.folders());
    begun.removeAll(counting);
    begun.removeAll(before.folders());
    int wasted = begun.size();
    wastedWaves += wasted;
    mostWastedWaves = Math.max(mostWastedWaves, wasted);
    progress.accept(
        "kill %d of %d, %s: %d of %d waves committed, %d under way; round %d"
            .formatted(
                sum(kills),
                settings.kills(),
                moment.shown(),
                counting.size(),
                view.slices(),
                wasted,
                rounds + 1));
  }

  /** Whatever the manifest lists must be there, as large as it says, and nothing twice. */
  private Map<Key, String> check(SparkSession spark, Path output, Map<Key, String> whole) {
    OutputView view = new OutputView(output);
    Set<Integer> waves = view.waves();
    Map<Key, String> found = annotations(spark, output, waves);
    lost += Math.max(0, view.rows() * VARIANTS.size() - found.size());
    for (Map.Entry<Key, String> annotation : found.entrySet()) {
      if (!annotation.getValue().equals(whole.get(annotation.getKey()))) {
        throw new BrokenInvariantException(
            "Another answer than that of a run without kills: " + annotation.getKey());
      }
    }
    if (view.isComplete()) {
      lost += whole.size() - found.size();
    }
    return found;
  }

  private static void requireSame(Map<Key, String> whole, Map<Key, String> found) {
    if (!whole.equals(found)) {
      throw new BrokenInvariantException("The output differs from that of a run without kills");
    }
  }

  private Map<Key, String> annotations(SparkSession spark, Path output, Set<Integer> waves) {
    if (waves.isEmpty()) {
      return Map.of();
    }
    String[] folders =
        waves.stream()
            .map(wave -> OutputView.folder(output, wave).toString())
            .toArray(String[]::new);
    List<Row> rows =
        spark
            .read()
            .parquet(folders)
            .select(QuestionTable.SAMPLE_ID, "variant", "answer")
            .collectAsList();
    Set<Key> keys = new HashSet<>();
    List<Row> once = new ArrayList<>();
    for (Row row : rows) {
      if (keys.add(new Key(row.getString(0), row.getString(1)))) {
        once.add(row);
      } else {
        duplicated++;
      }
    }
    return once.stream()
        .collect(
            Collectors.toMap(
                row -> new Key(row.getString(0), row.getString(1)), row -> row.getString(2)));
  }
}
