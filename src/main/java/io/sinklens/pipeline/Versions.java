package io.sinklens.pipeline;

import ai.djl.engine.Engine;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/** Versions of what computes, as the build wrote them down. */
public final class Versions {
  private Versions() {}

  /** By name: sinklens, djl, pytorch, java. */
  public static Map<String, String> all() {
    Properties properties = new Properties();
    try (InputStream file = Versions.class.getResourceAsStream("versions.properties")) {
      properties.load(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read versions.properties", e);
    }
    Map<String, String> versions = new TreeMap<>();
    properties
        .stringPropertyNames()
        .forEach(name -> versions.put(name, property(properties, name)));
    versions.put("java", Runtime.version().toString());
    return versions;
  }

  /** The version of the libtorch that is loaded, which may be another than the one it brings. */
  public static String libtorch() {
    return Engine.getEngine("PyTorch").getVersion();
  }

  /** The version of Sinklens itself. */
  public static String sinklens() {
    return all().getOrDefault("sinklens", "unknown");
  }

  private static String property(Properties properties, String name) {
    return properties.getProperty(name, "unknown");
  }
}
