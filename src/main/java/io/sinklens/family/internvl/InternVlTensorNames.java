package io.sinklens.family.internvl;

import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One name for each tensor in either layout: {@code lm.} decoder, {@code lm_head.weight}, {@code
 * vit.} vision encoder, {@code proj.} projector.
 */
final class InternVlTensorNames {
  private static final Pattern LAYER =
      Pattern.compile("(vit\\.encoder\\.|lm\\.)layers?\\.(\\d+)\\.(.*)");

  /** The beginning of a name, and what it is here. */
  private record Renamed(String from, String to) {}

  private static final List<Renamed> PARTS =
      List.of(
          new Renamed("language_model.model.", "lm."),
          new Renamed("model.language_model.", "lm."),
          new Renamed("language_model.lm_head.", "lm_head."),
          new Renamed("language_model.output.", "lm_head."),
          new Renamed("model.vision_tower.", "vit."),
          new Renamed("vision_tower.", "vit."),
          new Renamed("vision_model.", "vit."),
          new Renamed("model.multi_modal_projector.", "proj."),
          new Renamed("multi_modal_projector.", "proj."),
          new Renamed("mlp1.0.", "proj.layer_norm."),
          new Renamed("mlp1.1.", "proj.linear_1."),
          new Renamed("mlp1.3.", "proj.linear_2."),
          new Renamed("lm.tok_embeddings.", "lm.embed_tokens."),
          new Renamed("vit.embeddings.cls_token", "vit.embeddings.class_embedding"),
          new Renamed("vit.embeddings.position_embeddings", "vit.embeddings.position_embedding"),
          new Renamed(
              "vit.embeddings.position_embedding", "vit.embeddings.position_embedding.weight"),
          new Renamed(
              "vit.embeddings.patch_embeddings.projection.", "vit.embeddings.patch_embedding."));

  /** In a layer of the vision encoder: first transformers' names, then InternVL's own. */
  private static final List<Renamed> VISION =
      List.of(
          new Renamed("attention.projection_layer.", "self_attn.out_proj."),
          new Renamed("attention.", "self_attn."),
          new Renamed("layernorm_before.", "layer_norm1."),
          new Renamed("layernorm_after.", "layer_norm2."),
          new Renamed("lambda_", "layer_scale"),
          new Renamed("attn.qkv.", "self_attn.qkv_proj."),
          new Renamed("attn.proj.", "self_attn.out_proj."),
          new Renamed("attn.", "self_attn."),
          new Renamed("norm", "layer_norm"),
          new Renamed("ls", "layer_scale"));

  /** In a layer of InternLM2. */
  private static final List<Renamed> DECODER =
      List.of(
          new Renamed("attention.wqkv.", "self_attn.qkv_proj."),
          new Renamed("attention.wo.", "self_attn.o_proj."),
          new Renamed("feed_forward.w1.", "mlp.gate_proj."),
          new Renamed("feed_forward.w3.", "mlp.up_proj."),
          new Renamed("feed_forward.w2.", "mlp.down_proj."),
          new Renamed("attention_norm.", "input_layernorm."),
          new Renamed("ffn_norm.", "post_attention_layernorm."));

  private final InternVlConfig config;

  InternVlTensorNames(InternVlConfig config) {
    this.config = config;
  }

  /** The canonical name, or nothing for tensors that no part of the network reads. */
  Optional<String> canonical(String stored) {
    String name = stored;
    for (Renamed part : PARTS) {
      name = renamed(name, part);
    }
    Matcher layer = LAYER.matcher(name);
    if (layer.matches()) {
      String rest = layer.group(3);
      for (Renamed part : layer.group(1).equals("lm.") ? DECODER : VISION) {
        rest = renamed(rest, part);
      }
      name = layer.group(1) + "layers." + layer.group(2) + "." + rest;
    }
    return unused(name) ? Optional.empty() : Optional.of(name);
  }

  private boolean unused(String name) {
    return name.endsWith(".rotary_emb.inv_freq") // A buffer that old versions saved.
        || (config.text().tieWordEmbeddings() && name.equals("lm_head.weight"));
  }

  private static String renamed(String name, Renamed part) {
    return name.startsWith(part.from) ? part.to + name.substring(part.from.length()) : name;
  }
}
