package io.sinklens.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What this process holds, as names and values for a report; empty where the system is silent. */
final class Memory {
  private static final Path STATUS = Path.of("/proc/self/status");

  private Memory() {}

  /** In use now: all, and without mapped files. */
  static Map<String, Object> now() {
    return status(Map.of("VmRSS", "resident_bytes", "RssAnon", "anonymous_bytes"));
  }

  /** Largest use so far: of the heap, and of the whole process. */
  static Map<String, Object> peak() {
    Map<String, Object> peak = new LinkedHashMap<>();
    peak.put(
        "peak_heap_bytes",
        ManagementFactory.getMemoryPoolMXBeans().stream()
            .filter(pool -> pool.getType() == MemoryType.HEAP)
            .map(MemoryPoolMXBean::getPeakUsage)
            .mapToLong(usage -> usage.getUsed())
            .sum());
    peak.putAll(status(Map.of("VmHWM", "peak_resident_bytes")));
    return peak;
  }

  private static Map<String, Object> status(Map<String, String> names) {
    Map<String, Object> values = new LinkedHashMap<>();
    for (String line : lines()) {
      String name = names.get(line.split(":", 2)[0]);
      if (name != null) {
        values.put(name, Long.parseLong(line.replaceAll("\\D", "")) * 1024); // In kB.
      }
    }
    return values;
  }

  private static List<String> lines() {
    try {
      return Files.isReadable(STATUS) ? Files.readAllLines(STATUS) : List.of();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + STATUS, e);
    }
  }
}
