package io.sinklens.pipeline;

import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.Knockout;
import io.sinklens.intervention.Var;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.sink.Contributions;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What looks at the attention of one batch, to be closed when what it saw has been read.
 *
 * @param rows the batch
 * @param var finds sinks, measures, and moves attention where a row's settings say so
 * @param contributions measures what tokens add; null where no row wants it
 * @param knockout masks tokens where a row's settings say so; null where none does
 * @param maps records maps before and after; null where none are wanted
 */
record BatchLook(
    List<ImageTask.Row> rows,
    Var var,
    @Nullable Contributions contributions,
    @Nullable Knockout knockout,
    @Nullable AttentionMapRecorder maps)
    implements AutoCloseable {

  /** All in one. Rows whose contributions are wanted are changed by none of the others. */
  AttentionHook hook() {
    AttentionHook hook = var;
    if (contributions != null) {
      hook = hook.andThen(contributions);
    }
    if (knockout != null) {
      hook = hook.andThen(knockout);
    }
    return maps == null ? hook : maps.around(hook);
  }

  /** Contribution of visual sinks by head; empty where there are none or nobody asked. */
  Optional<float[]> sinkContribution(int layer, int row) {
    return contributions == null || !rows.get(row).variant().contributes()
        ? Optional.empty()
        : contributions.ofSinks(layer, row);
  }

  /** Contribution of the other image tokens by head; empty where there are none or nobody asked. */
  Optional<float[]> nonsinkContribution(int layer, int row) {
    return contributions == null || !rows.get(row).variant().contributes()
        ? Optional.empty()
        : contributions.ofNonsinks(layer, row);
  }

  @Override
  public void close() {
    if (knockout != null) {
      knockout.close();
    }
    var.close();
  }
}
