package io.sinklens.generation;

import ai.djl.engine.EngineException;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.CacheBlocks;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Answers requests from any number of threads on one device, with one thread of its own.
 *
 * <p>Batching is continuous: a request joins as soon as there is room in the token budget, its rows
 * leave as they end, and others take their place. The prefix of a request runs once for all its
 * rows. Where memory does not suffice, all requests under way begin again with half the budget.
 */
public final class Engine implements AutoCloseable {
  /** Requests that wait for room, at most; beyond it {@link #submit} waits. */
  private static final int QUEUE = 8;

  /** New prompt tokens of one pass, unless a single request has more; more make it no faster. */
  private static final int PASS_TOKENS = 1024;

  /** The same on a GPU, which has many more units to keep busy. */
  private static final int GPU_PASS_TOKENS = 8192;

  private final Batch batch;
  private final PhaseTimes times;
  private final GenerationRules rules;
  private final Thread thread;
  private final VisionLanguageModel model;
  private final int passTokens;
  private final Deque<Waiting> queue = new ArrayDeque<>();
  private final Map<ImageRun, Waiting> underWay = new LinkedHashMap<>();
  private final List<Runnable> unlocked = new ArrayList<>(); // Others' code, not under the lock.
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private long budget;
  private boolean closed;
  private @Nullable DeviceLostException lost;

  /**
   * A request, at most how many own tokens it may hold at once, since when, and who waits for it.
   */
  private record Waiting(
      Request request, int ownTokens, long since, CompletableFuture<Answers> answers) {}

  /**
   * Starts an engine.
   *
   * @param batchTokens tokens of prefixes and rows under way together, above 0; a request above it
   *     runs alone, and no more of its rows at once than fit
   */
  public Engine(
      VisionLanguageModel model, GenerationRules rules, int batchTokens, PhaseTimes times) {
    this.model = model;
    passTokens = model.operators().areOnGpu() ? GPU_PASS_TOKENS : PASS_TOKENS;
    this.rules = rules;
    this.times = times;
    budget = batchTokens;
    batch = new Batch(model, rules, times);
    thread = new Thread(this::serve, "sinklens-engine");
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * Hands in a request; waits while too many others do.
   *
   * @return its answers to come, or {@link OutOfDeviceMemoryException}, or {@link
   *     DeviceLostException}, or what else went wrong
   */
  public CompletableFuture<Answers> submit(Request request) {
    CompletableFuture<Answers> answers = new CompletableFuture<>();
    lock.lock();
    try {
      while (queue.size() >= QUEUE && !closed) {
        changed.awaitUninterruptibly();
      }
      if (closed) {
        answers.completeExceptionally(
            lost == null ? new CancellationException("The engine is closed") : lost);
      } else {
        queue.add(
            new Waiting(
                request, request.ownTokens(rules.maxNewTokens()), System.nanoTime(), answers));
        changed.signalAll();
      }
    } finally {
      lock.unlock();
    }
    return answers;
  }

  /** Stops; requests that are not answered yet end with a {@link CancellationException}. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void serve() {
    model.operators().enterThread();
    while (admit()) {
      if (batch.isEmpty()) { // What was to begin could not.
        continue;
      }
      try {
        batch.step().forEach(this::finish);
      } catch (RuntimeException | Error e) {
        if (isOutOfMemory(e)) {
          retreat(e);
        } else if (isDeviceLost(e)) {
          lose(e);
        } else {
          fail(e);
        }
      }
    }
    fail(lost == null ? new CancellationException("The engine is closed") : lost);
  }

  /** Stops taking requests, since the device answers none any more. */
  private void lose(Throwable cause) {
    lock.lock();
    try {
      lost =
          new DeviceLostException("The device is lost to this process: " + firstLine(cause), cause);
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Waits for work and takes in what there is room for; false when the engine has been closed. */
  private boolean admit() {
    lock.lock();
    try {
      while (batch.isEmpty() && queue.isEmpty() && !closed) {
        changed.awaitUninterruptibly();
      }
      takeIn();
      return !closed;
    } finally {
      lock.unlock();
      runUnlocked();
    }
  }

  private void runUnlocked() {
    unlocked.forEach(Runnable::run);
    unlocked.clear();
  }

  private void takeIn() {
    long newTokens = 0;
    while (!queue.isEmpty() && !closed) {
      Waiting next = queue.element();
      int own = ownCapacity(next);
      int tokens = next.request().prefixIds().length + own;
      boolean fitsBatch = batch.isEmpty() || batch.tokens() + batch.newTokens(tokens) <= budget;
      boolean fitsPass = newTokens == 0 || newTokens + tokens <= passTokens;
      if (!fitsBatch || !fitsPass) {
        break;
      }
      queue.remove();
      changed.signalAll(); // Whoever waits to hand in another.
      if (!begin(next, own, places(tokens))) {
        break;
      }
      newTokens += tokens;
    }
  }

  /**
   * How many requests of about so many tokens to get memory for at once: as many as are here, on a
   * GPU as fill half of what the budget leaves, but no more than it has room for.
   */
  private int places(int tokens) {
    int capacity = CacheBlocks.capacity(tokens);
    long waiting =
        queue.stream()
            .map(next -> next.request().prefixIds().length + ownCapacity(next))
            .filter(others -> CacheBlocks.capacity(others) == capacity)
            .count();
    long room = (budget - batch.tokens()) / capacity;
    long here = 1 + waiting + batch.requests(capacity);
    long wanted = model.operators().areOnGpu() ? Math.max(here, room / 2) : here;
    return (int) Math.max(1, Math.min(wanted, room));
  }

  /** Takes a request in; false where memory does not suffice as things are. */
  private boolean begin(Waiting next, int ownCapacity, int places) {
    try {
      underWay.put(batch.begin(next.request(), ownCapacity, places), next);
      times.addBegun(System.nanoTime() - next.since());
      return true;
    } catch (RuntimeException | Error e) {
      if (!isOutOfMemory(e)) {
        unlocked.add(() -> next.answers().completeExceptionally(e));
        return true;
      }
      if (batch.isEmpty()) {
        halved(next, e).ifPresent(queue::addFirst);
      } else {
        budget = batch.usedTokens();
        queue.addFirst(next);
      }
      return false;
    }
  }

  /**
   * Own tokens a request may hold at once: what it needs, but no more than the prefix has, since
   * rows read past each other's, nor than the budget leaves; at least one row.
   */
  private int ownCapacity(Waiting next) {
    Request request = next.request();
    int prefix = request.prefixIds().length;
    long most = Math.min(Math.max(prefix, PASS_TOKENS / 2), budget - prefix);
    int longest = request.longestRow(rules.maxNewTokens());
    return (int) Math.max(longest, Math.min(next.ownTokens(), most));
  }

  private void finish(ImageRun run) {
    Waiting done = underWay.remove(run);
    run.close();
    if (done != null && !done.answers().complete(run.answers())) {
      run.abandon(); // Nobody waits any more.
    }
  }

  /** Begins everything under way again, with half as much of it together. */
  private void retreat(Throwable e) {
    List<Waiting> again = new ArrayList<>(underWay.values());
    long tokens = batch.tokens();
    boolean spacious = tokens > batch.usedTokens();
    batch.close();
    model.operators().freeUnused();
    underWay.clear();
    if (again.size() == 1 && !spacious) {
      again = halved(again.get(0), e).stream().toList();
    } else {
      budget = Math.max(1, tokens / 2);
    }
    lock.lock();
    try {
      for (int i = again.size() - 1; i >= 0; i--) {
        queue.addFirst(again.get(i));
      }
    } finally {
      lock.unlock();
    }
    runUnlocked(); // Before the wait for more: whoever is told now may be who would ask.
  }

  /** The same with half as many own tokens at once; ends a request that ran row by row already. */
  private Optional<Waiting> halved(Waiting alone, Throwable e) {
    int own = ownCapacity(alone);
    if (own <= alone.request().longestRow(rules.maxNewTokens())) {
      unlocked.add(() -> alone.answers().completeExceptionally(outOfMemory(e)));
      return Optional.empty();
    }
    return Optional.of(new Waiting(alone.request(), own / 2, alone.since(), alone.answers()));
  }

  /** Ends all that is under way; when closed, what waits too. */
  private void fail(Throwable cause) {
    List<Waiting> ended = new ArrayList<>(underWay.values());
    batch.close();
    underWay.clear();
    lock.lock();
    try {
      if (closed) {
        ended.addAll(queue);
        queue.clear();
      }
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    ended.forEach(waiting -> waiting.answers().completeExceptionally(cause));
  }

  private static boolean isOutOfMemory(Throwable e) {
    String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
    return e instanceof EngineException
        && (message.contains("not enough memory") || message.contains("out of memory"));
  }

  /** CUDA repeats most of its errors at every later call of the process. */
  private static boolean isDeviceLost(Throwable e) {
    return e instanceof EngineException && String.valueOf(e.getMessage()).contains("CUDA error");
  }

  private static OutOfDeviceMemoryException outOfMemory(Throwable e) {
    return new OutOfDeviceMemoryException(firstLine(e), e);
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).strip().lines().findFirst().orElse("");
  }
}
