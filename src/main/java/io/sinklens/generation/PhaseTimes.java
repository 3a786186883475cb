package io.sinklens.generation;

import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Supplier;

/** Adds up how long each phase took and how many tokens it ran; shared by threads. */
public class PhaseTimes {
  private final Map<Phase, LongAdder> nanos = new EnumMap<>(Phase.class);
  private final Map<PassSize, PassSum> passes = new ConcurrentHashMap<>();
  private final LongAdder promptTokens = new LongAdder();
  private final LongAdder answeredRows = new LongAdder();
  private final LongAdder generatedTokens = new LongAdder();
  private final LongAdder begun = new LongAdder();
  private final LongAdder waitNanos = new LongAdder();

  public PhaseTimes() {
    for (Phase phase : Phase.values()) {
      nanos.put(phase, new LongAdder());
    }
  }

  /** Runs work on a phase's account, less the time hooks took meanwhile. */
  public <T> T time(Phase phase, Supplier<T> work) {
    long hookBefore = hookNanos();
    long start = System.nanoTime();
    try {
      return work.get();
    } finally {
      long inHooks = hookNanos() - hookBefore;
      add(phase, System.nanoTime() - start - inHooks);
    }
  }

  /** Adds time measured by the caller. */
  public void add(Phase phase, long elapsedNanos) {
    account(phase).add(elapsedNanos);
  }

  /** Adds a pass through the decoder of so many tokens, of which so many gave answer tokens. */
  protected void addPass(Phase phase, int tokens, int answers, long elapsedNanos) {
    passes.merge(new PassSize(phase, tokens, answers), new PassSum(1, elapsedNanos), PassSum::plus);
  }

  /** Passes by size, with the seconds they took, hooks included. */
  public Map<PassSize, PassSum> passes() {
    return Map.copyOf(passes);
  }

  /**
   * The size of a pass.
   *
   * @param phase prompt pass or generation
   * @param tokens that went through the layers
   * @param answers tokens that gave answer tokens
   */
  public record PassSize(Phase phase, int tokens, int answers) {}

  /**
   * Passes of one size.
   *
   * @param count how many
   * @param nanos what they took together
   */
  public record PassSum(long count, long nanos) {
    PassSum plus(PassSum other) {
      return new PassSum(count + other.count, nanos + other.nanos);
    }
  }

  /** Adds a request that was answered. */
  void addAnswered(long prompt, long rows, long generated) {
    promptTokens.add(prompt);
    answeredRows.add(rows);
    generatedTokens.add(generated);
  }

  /** Adds a request that begins; one that memory made begin again counts again. */
  void addBegun(long waitedNanos) {
    begun.increment();
    waitNanos.add(waitedNanos);
  }

  /** Requests that have begun. */
  public long begun() {
    return begun.sum();
  }

  /** Seconds they had waited for room, together. */
  public double waitSeconds() {
    return waitNanos.sum() / 1e9;
  }

  /** Seconds spent on a phase so far. */
  public double seconds(Phase phase) {
    return account(phase).sum() / 1e9;
  }

  /** Rows that were answered, equal prompts under one variant counted once. */
  public long answeredRows() {
    return answeredRows.sum();
  }

  /** Prompt tokens that ran for requests that were answered: a shared one counts once. */
  public long promptTokens() {
    return promptTokens.sum();
  }

  /** Answer tokens given. */
  public long generatedTokens() {
    return generatedTokens.sum();
  }

  private long hookNanos() {
    return account(Phase.HOOK).sum();
  }

  private LongAdder account(Phase phase) {
    LongAdder account = nanos.get(phase);
    if (account == null) {
      throw new IllegalStateException("Cannot account for phase " + phase);
    }
    return account;
  }
}
