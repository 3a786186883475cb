package io.sinklens.job;

import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.AnnotatorSettings;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import java.util.HashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.apache.spark.TaskContext;
import org.apache.spark.resource.ResourceInformation;

/**
 * The annotator of this JVM, loaded once and shared by all tasks of an executor.
 *
 * <p>The one place with static state, because Spark gives tasks of an executor no other thing to
 * share. An annotator stays after its last task, for the next wave; one with other settings takes
 * its place when nobody uses it any more. Factories are compared with {@code equals}, since every
 * task has its own copy: they must be records or enums.
 */
final class ExecutorAnnotator {
  private static final ExecutorAnnotator OF_THIS_JVM = new ExecutorAnnotator();

  private final Map<Key, Loaded> loaded = new HashMap<>();
  private final ExecutorMetrics metrics = new ExecutorMetrics();
  private int loads;

  private ExecutorAnnotator() {}

  /** What decides whether two tasks can share. */
  private record Key(AnnotatorFactory factory, AnnotatorSettings settings) {}

  private static final class Loaded {
    private final Annotator annotator;
    private int users;

    private Loaded(Annotator annotator) {
      this.annotator = annotator;
    }
  }

  /** A task's hold on an annotator, to be closed when the task ends. */
  static final class Lease implements AutoCloseable {
    private final Loaded held;
    private boolean open = true;

    private Lease(Loaded held) {
      this.held = held;
    }

    Annotator annotator() {
      return held.annotator;
    }

    /** Has nobody else share the annotator, nor anybody close it: that would never end. */
    void lose() {
      OF_THIS_JVM.drop(held);
    }

    @Override
    public void close() {
      OF_THIS_JVM.release(this);
    }
  }

  /**
   * Loads the annotator, or waits for the task that does, or takes the one that is there: one for
   * each GPU that Spark gives to tasks.
   *
   * @param local brings a model to this machine that lies elsewhere
   */
  static Lease lease(
      AnnotatorFactory factory, RunSettings settings, UnaryOperator<RunSettings> local) {
    RunSettings own = onTaskDevice(settings);
    return OF_THIS_JVM.take(new Key(factory, own.annotator()), own, local);
  }

  /** With the GPU that Spark gave this task, where settings leave the choice. */
  private static RunSettings onTaskDevice(RunSettings settings) {
    TaskContext task = TaskContext.get();
    ResourceInformation gpu = task == null ? null : task.resourcesJMap().get("gpu");
    String device = settings.model().device();
    boolean chosen = device.equals("cpu") || device.contains(":");
    return gpu == null || gpu.addresses().length == 0 || chosen
        ? settings
        : settings.onDevice("gpu:" + gpu.addresses()[0]);
  }

  /** What the annotators of this JVM do. */
  static ExecutorMetrics metrics() {
    return OF_THIS_JVM.metrics;
  }

  /** How often this JVM has loaded an annotator. */
  static int loads() {
    return OF_THIS_JVM.count();
  }

  private synchronized Lease take(Key key, RunSettings settings, UnaryOperator<RunSettings> local) {
    Loaded one = loaded.get(key);
    if (one == null) {
      closeUnused();
      long start = System.nanoTime();
      one = new Loaded(key.factory().open(settings, local));
      loads++;
      metrics.opened(one.annotator);
      ModelFacts facts = one.annotator.facts();
      RunLog.tell(
          "model loaded",
          Map.of(
              "family",
              facts.family(),
              "path",
              facts.path(),
              "dtype",
              facts.dtype(),
              "device",
              facts.device(),
              "seconds",
              (System.nanoTime() - start) / 1e9));
      loaded.put(key, one);
    }
    one.users++;
    return new Lease(one);
  }

  private synchronized void release(Lease lease) {
    if (lease.open) {
      lease.open = false;
      lease.held.users--;
    }
  }

  private synchronized void drop(Loaded lost) {
    loaded.values().remove(lost);
  }

  private synchronized int count() {
    return loads;
  }

  private void closeUnused() {
    loaded
        .values()
        .removeIf(
            one -> {
              if (one.users == 0) {
                one.annotator.close();
                metrics.closed(one.annotator);
              }
              return one.users == 0;
            });
  }
}
