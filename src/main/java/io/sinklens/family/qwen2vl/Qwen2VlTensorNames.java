package io.sinklens.family.qwen2vl;

import java.util.Optional;

/**
 * One name for each tensor, whichever version of transformers saved it: {@code lm.} decoder, {@code
 * lm_head.weight}, {@code vit.} vision encoder and merger.
 */
final class Qwen2VlTensorNames {
  private final Qwen2VlConfig config;

  Qwen2VlTensorNames(Qwen2VlConfig config) {
    this.config = config;
  }

  /** The canonical name, or nothing for tensors that no part of the network reads. */
  Optional<String> canonical(String stored) {
    String name = renamed(stored);
    boolean unused =
        name.endsWith(".rotary_emb.inv_freq") // A buffer that old versions saved.
            || (config.text().tieWordEmbeddings() && name.equals("lm_head.weight"));
    return unused ? Optional.empty() : Optional.of(name);
  }

  private static String renamed(String stored) {
    for (String vision : new String[] {"model.visual.", "visual."}) {
      if (stored.startsWith(vision)) {
        return "vit." + stored.substring(vision.length());
      }
    }
    for (String decoder : new String[] {"model.language_model.", "model."}) {
      if (stored.startsWith(decoder)) {
        return "lm." + stored.substring(decoder.length());
      }
    }
    return stored;
  }
}
