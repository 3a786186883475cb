package io.sinklens.generation;

import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.SharedPrefix;

/**
 * A prompt up to the end of its image, run once for every question and variant on that image.
 *
 * <p>Owns its keys and values; close it when no more rows will use it.
 */
public final class ImagePrefix implements AutoCloseable {
  private final NDManager manager;
  private final SharedPrefix shared;
  private final int imageStart;

  ImagePrefix(NDManager manager, SharedPrefix shared, int imageStart) {
    this.manager = manager;
    this.shared = shared;
    this.imageStart = imageStart;
  }

  SharedPrefix shared() {
    return shared;
  }

  /** Tokens of the prefix, which is also where the image ends. */
  public int length() {
    return shared.length();
  }

  /** Position of the first image token. */
  public int imageStart() {
    return imageStart;
  }

  @Override
  public void close() {
    manager.close();
  }
}
