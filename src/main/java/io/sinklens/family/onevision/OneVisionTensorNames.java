package io.sinklens.family.onevision;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One name for each tensor, whichever version of transformers saved it: {@code lm.} decoder, {@code
 * lm_head.weight}, {@code vit.} vision encoder, {@code proj.} projector, {@code image_newline}.
 */
final class OneVisionTensorNames {
  private static final Pattern VISION_LAYER =
      Pattern.compile("vit\\.encoder\\.layers\\.(\\d{1,4})\\..*");

  private final OneVisionConfig config;

  OneVisionTensorNames(OneVisionConfig config) {
    this.config = config;
  }

  /** The canonical name, or nothing for tensors that no part of the network reads. */
  Optional<String> canonical(String stored) {
    String name = renamed(stored);
    return unused(name) ? Optional.empty() : Optional.of(name);
  }

  private static String renamed(String stored) {
    String name = stored;
    name = moved(name, "language_model.model.", "lm.");
    name = moved(name, "language_model.lm_head.", "lm_head.");
    name = moved(name, "model.language_model.", "lm.");
    name = moved(name, "model.vision_tower.", "vit.");
    name = moved(name, "vision_tower.", "vit.");
    name = moved(name, "vit.vision_model.", "vit.");
    name = moved(name, "model.multi_modal_projector.", "proj.");
    name = moved(name, "multi_modal_projector.", "proj.");
    return moved(name, "model.image_newline", "image_newline");
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

  private static String moved(String name, String from, String to) {
    return name.startsWith(from) ? to + name.substring(from.length()) : name;
  }
}
