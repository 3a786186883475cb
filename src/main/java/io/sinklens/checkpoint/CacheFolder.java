package io.sinklens.checkpoint;

import java.nio.file.Path;
import java.util.Map;

/** Where a machine keeps what can be made again: converted weights and copies of checkpoints. */
public final class CacheFolder {
  private CacheFolder() {}

  /** {@code $SINKLENS_CACHE}, else {@code $XDG_CACHE_HOME/sinklens}, else below the home. */
  public static Path standard() {
    return of(System.getenv());
  }

  static Path of(Map<String, String> environment) {
    String own = environment.getOrDefault("SINKLENS_CACHE", "");
    if (!own.isEmpty()) {
      return Path.of(own);
    }
    String caches = environment.getOrDefault("XDG_CACHE_HOME", "");
    Path parent =
        caches.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(caches);
    return parent.resolve("sinklens");
  }
}
