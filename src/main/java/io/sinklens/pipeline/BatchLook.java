package io.sinklens.pipeline;

import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.Var;
import io.sinklens.model.decoder.AttentionHook;
import org.jspecify.annotations.Nullable;

/**
 * What looks at the attention of one batch, to be closed when what it saw has been read.
 *
 * @param var finds sinks, measures, and moves attention where a row's settings say so
 * @param maps records maps before and after; null where none are wanted
 */
record BatchLook(Var var, @Nullable AttentionMapRecorder maps) implements AutoCloseable {

  AttentionHook hook() {
    return maps == null ? var : maps.around(var);
  }

  @Override
  public void close() {
    var.close();
  }
}
