package io.sinklens.pipeline;

import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.sink.ValueNorms;
import io.sinklens.tensor.Operators;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What rows that share a prefix need to know of it, to be closed with it. */
final class PrefixLook implements AutoCloseable {
  private final Map<List<Integer>, PrefixSinkValues> sinkValues = new LinkedHashMap<>();
  private final @Nullable ValueNorms valueNorms;

  /** Prepares for one prefix pass. */
  PrefixLook(Operators operators, LlamaConfig decoder, List<ImageTask.Row> rows) {
    int layers = decoder.numHiddenLayers();
    for (ImageTask.Row row : rows) {
      if (row.variant().look() != null) {
        sinkValues.computeIfAbsent(
            row.variant().sinkDimensions(),
            dimensions ->
                new PrefixSinkValues(operators, dimensions, decoder.hiddenSize(), layers));
      }
    }
    valueNorms =
        rows.stream().anyMatch(row -> row.variant().contributes())
            ? new ValueNorms(operators, layers)
            : null;
  }

  /** All in one. */
  AttentionHook hook() {
    AttentionHook hook = valueNorms == null ? AttentionHook.NONE : valueNorms;
    for (PrefixSinkValues values : sinkValues.values()) {
      hook = hook.andThen(values);
    }
    return hook;
  }

  /** Sink values in dimensions that one of the rows has. */
  PrefixSinkValues sinkValues(List<Integer> dimensions) {
    return Objects.requireNonNull(sinkValues.get(dimensions));
  }

  /** Norms of values, where one of the rows wants contributions. */
  ValueNorms valueNorms() {
    return Objects.requireNonNull(valueNorms);
  }

  @Override
  public void close() {
    sinkValues.values().forEach(PrefixSinkValues::close);
    if (valueNorms != null) {
      valueNorms.close();
    }
  }
}
