package io.sinklens.table;

import java.util.Iterator;
import java.util.Map;

/**
 * Rows as their columns by name: String, Long, Double, Boolean, List, or Map for a struct. What is
 * null is not there, but for null elements of a list.
 */
public interface RowReader extends Iterator<Map<String, Object>>, AutoCloseable {
  @Override
  void close();
}
