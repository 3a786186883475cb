package io.sinklens.pipeline;

import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.Knockout;
import io.sinklens.intervention.Var;
import io.sinklens.model.decoder.AttentionHook;
import org.jspecify.annotations.Nullable;

/**
 * What looks at the attention of one batch, to be closed when what it saw has been read.
 *
 * @param var finds sinks, measures, and moves attention where a row's settings say so
 * @param knockout masks tokens where a row's settings say so; null where none does
 * @param maps records maps before and after; null where none are wanted
 */
record BatchLook(Var var, @Nullable Knockout knockout, @Nullable AttentionMapRecorder maps)
    implements AutoCloseable {

  AttentionHook hook() {
    AttentionHook hook = knockout == null ? var : var.andThen(knockout);
    return maps == null ? hook : maps.around(hook);
  }

  @Override
  public void close() {
    if (knockout != null) {
      knockout.close();
    }
    var.close();
  }
}
