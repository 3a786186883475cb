package io.sinklens.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Numbers as JSON knows them: what is not finite is null. */
final class JsonNumbers {
  private JsonNumbers() {}

  static Map<String, @Nullable Object> of(Map<?, ?> values) {
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    values.forEach(
        (name, value) ->
            json.put(
                String.valueOf(name),
                value instanceof Map<?, ?> nested
                    ? of(nested)
                    : value instanceof Double number && !Double.isFinite(number) ? null : value));
    return json;
  }
}
