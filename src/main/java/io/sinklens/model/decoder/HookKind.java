package io.sinklens.model.decoder;

import java.util.List;

/**
 * What hooks have in common that can be joined: those of equal kinds, of images side by side in
 * memory, work as one on a pass.
 */
public interface HookKind {

  /**
   * Makes one hook of several for a pass.
   *
   * @param hooks of this kind, one a segment
   * @param segments of different images, which run together
   */
  JoinedHook join(List<AttentionHook> hooks, JoinedSegments segments);
}
