package io.sinklens.family;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import java.util.Set;
import java.util.TreeSet;

/** Which tokens end an answer, as a checkpoint's files say it. */
public final class StopTokens {
  private StopTokens() {}

  /**
   * Those of {@code generation_config.json}, else of the configs, else the published ones.
   *
   * @param configs objects that may name an {@code eos_token_id}; taken together
   */
  public static Set<Integer> of(
      CheckpointFolder folder, Set<Integer> published, ConfigJson... configs) {
    Set<Integer> stops = ofGeneration(folder);
    if (stops.isEmpty()) {
      for (ConfigJson config : configs) {
        addTo(stops, config);
      }
    }
    return stops.isEmpty() ? published : stops;
  }

  /** Those of {@code generation_config.json}, possibly none; the caller's to add to. */
  public static Set<Integer> ofGeneration(CheckpointFolder folder) {
    Set<Integer> stops = new TreeSet<>();
    folder.json("generation_config.json").ifPresent(json -> addTo(stops, json));
    return stops;
  }

  /** Adds those a config names. */
  public static void addTo(Set<Integer> stops, ConfigJson config) {
    if (config.has("eos_token_id")) {
      stops.addAll(config.integers("eos_token_id"));
    }
  }
}
