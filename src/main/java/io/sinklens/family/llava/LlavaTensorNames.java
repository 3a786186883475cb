package io.sinklens.family.llava;

import io.sinklens.family.Family;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One name for each tensor, whichever code and version saved it: {@code lm.} decoder, {@code
 * lm_head.weight}, {@code vit.} vision encoder, {@code proj.} projector, {@code image_newline}.
 */
final class LlavaTensorNames {
  private static final Pattern VISION_LAYER =
      Pattern.compile("vit\\.encoder\\.layers\\.(\\d+)\\..*");

  /**
   * Linear maps have even numbers, the activations between them odd ones; a single map has none.
   */
  private static final Pattern ORIGINAL_PROJECTOR =
      Pattern.compile("model\\.mm_projector\\.(?:([0-9]{0,2}[02468])\\.)?(weight|bias)");

  private static final String APART = Family.VISION_PART + "/";

  /** What ends a row of image tokens, where a checkpoint was trained with tiles. */
  static final String ROW_END = "image_newline";

  private final LlavaConfig config;

  LlavaTensorNames(LlavaConfig config) {
    this.config = config;
  }

  /** The canonical name, or nothing for tensors that no part of the network reads. */
  Optional<String> canonical(String stored) {
    String name = renamed(stored);
    return unused(name) ? Optional.empty() : Optional.of(name);
  }

  private static String renamed(String stored) {
    String name = moved(stored, APART + "vision_model.", "vit.");
    name = moved(name, "language_model.model.", "lm.");
    name = moved(name, "model.language_model.", "lm.");
    name = moved(name, "language_model.lm_head.", "lm_head.");
    name = moved(name, "model.vision_tower.", "vit.");
    name = moved(name, "vision_tower.", "vit.");
    name = moved(name, "vit.vision_tower.", "vit."); // The original layout.
    name = moved(name, "vit.vision_model.", "vit.");
    name = moved(name, "model.multi_modal_projector.", "proj.");
    name = moved(name, "multi_modal_projector.", "proj.");
    Matcher linear = ORIGINAL_PROJECTOR.matcher(name);
    if (linear.matches()) {
      int index = linear.group(1) == null ? 0 : Integer.parseInt(linear.group(1));
      return "proj.linear_" + (index / 2 + 1) + "." + linear.group(2);
    }
    name = moved(name, "model.image_newline", ROW_END);
    return moved(name, "model.", "lm.");
  }

  private boolean unused(String name) {
    if (name.startsWith(APART)) {
      return true; // Whatever else lies beside an encoder in a folder of its own: CLIP's text
      // model.
    }
    if (name.endsWith(".rotary_emb.inv_freq") || name.endsWith(".position_ids")) {
      return true; // Buffers that old versions saved.
    }
    if (name.startsWith("vit.post_layernorm.")) {
      return true;
    }
    if (config.text().tieWordEmbeddings() && name.equals("lm_head.weight")) {
      return true;
    }
    Matcher layer = VISION_LAYER.matcher(name);
    if (layer.matches() && layer.group(1).length() < 5) {
      int index = Integer.parseInt(layer.group(1));
      return index >= config.visionLayers() && index < config.vision().numHiddenLayers();
    }
    return false;
  }

  private static String moved(String name, String from, String to) {
    return name.startsWith(from) ? to + name.substring(from.length()) : name;
  }
}
