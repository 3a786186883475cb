package io.sinklens.job;

import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;
import org.apache.logging.log4j.LogManager;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.jspecify.annotations.Nullable;

/**
 * Shows what executors do in Spark's metrics system, and writes the events of a run to files where
 * {@code spark.sinklens.log.dir} names a folder. Is named in {@code spark.plugins}.
 */
public final class SinklensPlugin implements SparkPlugin {
  /** Of a local run, whose only process is both driver and executor. */
  private static final String DRIVER = "driver";

  @Override
  public DriverPlugin driverPlugin() {
    return new OnDriver();
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new OnExecutor();
  }

  private static @Nullable RunLog openLog(SparkConf conf, String application, String process) {
    String folder = conf.get(RunLog.FOLDER, "");
    return folder.isEmpty() ? null : RunLog.open(Path.of(folder, application), process);
  }

  private static void close(@Nullable RunLog log) {
    if (log != null) {
      log.close();
    }
  }

  private static final class OnDriver implements DriverPlugin {
    private boolean local;
    private @Nullable RunLog log;

    @Override
    public Map<String, String> init(SparkContext spark, PluginContext context) {
      local = spark.isLocal();
      return Map.of();
    }

    /** Called once the application has its id, which names of metrics and folders begin with. */
    @Override
    public void registerMetrics(String application, PluginContext context) {
      log = openLog(context.conf(), application, DRIVER);
      if (local) {
        context.metricRegistry().registerAll(ExecutorAnnotator.metrics());
      }
    }

    @Override
    public void shutdown() {
      close(log);
    }
  }

  private static final class OnExecutor implements ExecutorPlugin {
    private @Nullable RunLog log;

    @Override
    public void init(PluginContext context, Map<String, String> fromDriver) {
      if (!context.executorID().equals(DRIVER)) {
        context.metricRegistry().registerAll(ExecutorAnnotator.metrics());
        String process = "executor-" + context.executorID();
        try {
          log = openLog(context.conf(), context.conf().getAppId(), process);
        } catch (UncheckedIOException e) { // Spark would start another executor, again and again.
          LogManager.getLogger(SinklensPlugin.class).warn(e.getMessage());
        }
      }
    }

    @Override
    public void shutdown() {
      close(log);
    }
  }
}
