package io.sinklens.family.vila;

import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Names as the network's parts ask for them: {@code lm.} decoder, {@code lm_head.weight}, {@code
 * vit.} vision encoder, {@code proj.} projector.
 */
final class VilaTensorNames {
  private static final Pattern VISION_LAYER =
      Pattern.compile("vit\\.encoder\\.layers\\.(\\d{1,4})\\..*");

  private static final Map<String, String> PREFIXES =
      Map.of(
          "llm/model.", "lm.",
          "llm/lm_head.", "lm_head.",
          "vision_tower/vision_model.", "vit.",
          "mm_projector/layers.1.", "proj.layer_norm.",
          "mm_projector/layers.2.", "proj.linear_1.",
          "mm_projector/layers.4.", "proj.linear_2.");

  private final VilaConfig config;

  VilaTensorNames(VilaConfig config) {
    this.config = config;
  }

  /** The canonical name, or nothing for tensors that no part of the network reads. */
  Optional<String> canonical(String stored) {
    String name = renamed(stored);
    return unused(name) ? Optional.empty() : Optional.of(name);
  }

  private static String renamed(String stored) {
    return PREFIXES.entrySet().stream()
        .filter(prefix -> stored.startsWith(prefix.getKey()))
        .map(prefix -> prefix.getValue() + stored.substring(prefix.getKey().length()))
        .findFirst()
        .orElse(stored);
  }

  private boolean unused(String name) {
    if (name.endsWith(".rotary_emb.inv_freq") || name.endsWith(".position_ids")) {
      return true; // Buffers that old versions saved.
    }
    if (name.startsWith("vit.post_layernorm.") || name.startsWith("vit.head.")) {
      return true;
    }
    if (config.text().tieWordEmbeddings() && name.equals("lm_head.weight")) {
      return true;
    }
    Matcher layer = VISION_LAYER.matcher(name);
    if (layer.matches()) {
      int index = Integer.parseInt(layer.group(1));
      return index >= config.visionLayers() && index < config.vision().numHiddenLayers();
    }
    return false;
  }
}
