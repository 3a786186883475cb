package io.sinklens.generation;

import io.sinklens.model.decoder.AttentionHook;

/** What looks on while a request is answered; closed when what it saw has been read. */
public interface Watch extends AutoCloseable {

  /** Sees nothing. */
  Watch NONE =
      new Watch() {
        @Override
        public AttentionHook ofPrefix() {
          return AttentionHook.NONE;
        }

        @Override
        public AttentionHook ofGroup(int group) {
          return AttentionHook.NONE;
        }

        @Override
        public void close() {}
      };

  /** The hook of vision encoder and prefix. */
  AttentionHook ofPrefix();

  /** The hook of a group's rows. */
  AttentionHook ofGroup(int group);

  @Override
  void close();
}
