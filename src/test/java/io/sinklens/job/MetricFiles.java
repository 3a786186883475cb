package io.sinklens.job;

import com.codahale.metrics.Counting;
import com.codahale.metrics.Gauge;
import com.codahale.metrics.Metric;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Spark's own sink for metrics that writes files: how to switch it on, and what it has written. */
final class MetricFiles {
  private static final String PLUGIN = ".plugin." + SinklensPlugin.class.getName() + ".";

  private MetricFiles() {}

  /** Settings of Spark with which all processes write into a folder. */
  static Map<String, String> settings(Path folder) throws IOException {
    Files.createDirectories(folder);
    String sink = "spark.metrics.conf.*.sink.csv.";
    return Map.of(
        sink + "class",
        "org.apache.spark.metrics.sink.CsvSink",
        sink + "directory",
        folder.toString(),
        sink + "period",
        "1");
  }

  /** The last value of each of our metrics, counts for meters, added up over executors. */
  static Map<String, Double> read(Path folder) throws IOException {
    Map<String, Double> values = new TreeMap<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        int at = name.indexOf(PLUGIN);
        if (at >= 0) {
          List<String> lines = Files.readAllLines(file);
          int column = Math.max(1, header(lines).indexOf("count"));
          double value = Double.parseDouble(lines.get(lines.size() - 1).split(",", -1)[column]);
          values.merge(
              name.substring(at + PLUGIN.length()).replaceFirst("\\.csv$", ""), value, Double::sum);
        }
      }
    }
    return values;
  }

  /** The same of metrics in this process. */
  static Map<String, Double> of(ExecutorMetrics metrics) {
    Map<String, Double> values = new TreeMap<>();
    metrics.getMetrics().forEach((name, metric) -> values.put(name, value(metric)));
    return values;
  }

  private static double value(Metric metric) {
    return metric instanceof Counting counting
        ? counting.getCount()
        : ((Number) ((Gauge<?>) metric).getValue()).doubleValue();
  }

  private static List<String> header(List<String> lines) {
    return Arrays.asList(lines.get(0).split(",", -1));
  }
}
