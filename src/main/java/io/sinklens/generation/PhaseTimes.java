package io.sinklens.generation;

import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Supplier;

/** Adds up how long each phase took and how many tokens it ran; shared by threads. */
public final class PhaseTimes {
  private final Map<Phase, LongAdder> nanos = new EnumMap<>(Phase.class);
  private final LongAdder promptTokens = new LongAdder();
  private final LongAdder generatedTokens = new LongAdder();

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

  void addTokens(long prompt, long generated) {
    promptTokens.add(prompt);
    generatedTokens.add(generated);
  }

  /** Seconds spent on a phase so far. */
  public double seconds(Phase phase) {
    return account(phase).sum() / 1e9;
  }

  /** Prompt tokens run through the decoder, a shared prefix counted once. */
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
