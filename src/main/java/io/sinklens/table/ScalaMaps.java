package io.sinklens.table;

import java.util.Map;
import scala.collection.JavaConverters;

/** The map that row encoders take. */
final class ScalaMaps {
  private ScalaMaps() {}

  @SuppressWarnings("deprecation") // Its successor is not in Scala 2.12.
  static <K, V> scala.collection.Map<K, V> of(Map<K, V> map) {
    return JavaConverters.mapAsScalaMap(map);
  }
}
