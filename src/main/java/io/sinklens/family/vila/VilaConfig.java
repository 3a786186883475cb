package io.sinklens.family.vila;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.family.Family;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.vision.VisionConfig;

/**
 * What the configs of a checkpoint and of its three parts say.
 *
 * <p>After NVlabs/VILA, branch vila1.5: {@code llava/model/llava_arch.py} and the builders beside
 * it, which read the parts' own files and not the copies in the root's. At inference that code
 * leaves rotary positions as {@code llm/config.json} has them.
 *
 * @param vision the vision encoder
 * @param text the decoder
 * @param featureLayer the hidden state of the encoder that the projector reads, from the end when
 *     negative
 */
record VilaConfig(VisionConfig vision, LlamaConfig text, int featureLayer) {
  private static final String DECODER = "llm";
  private static final String PROJECTOR = "mm_projector";

  VilaConfig {
    vision.layersToRun(featureLayer);
  }

  static VilaConfig of(CheckpointFolder folder) {
    ConfigJson json = folder.config();
    json.requireOneOf("mm_use_im_start_end", "false");
    json.requireOneOf("s2", "false");
    json.requireOneOf("dynamic_s2", "false");
    requireAllPatches(json);
    ConfigJson projector = part(folder, PROJECTOR).config();
    if (!projector.has("mm_projector_type")) {
      throw new IllegalArgumentException(
          "Cannot load %s: config.json of %s has no mm_projector_type"
              .formatted(folder.path(), PROJECTOR));
    }
    projector.requireOneOf("mm_projector_type", "mlp_downsample");
    ConfigJson decoder = decoder(folder).config();
    // LLaMA 3, under the same name, is asked in another way.
    decoder.requireOneOf("bos_token_id", "1");
    VilaConfig config =
        new VilaConfig(
            VisionConfig.siglip(tower(folder).config()),
            LlamaConfig.of(decoder, "llama"),
            json.integer("mm_vision_select_layer", -2));
    json.requireOneOf("mm_hidden_size", String.valueOf(config.vision.hiddenSize()));
    json.requireOneOf("hidden_size", String.valueOf(config.text.hiddenSize()));
    json.requireOneOf("vision_resolution", "-1", String.valueOf(config.vision.imageSize()));
    return config;
  }

  /** SigLIP has no class token, so dropping the first feature would drop a patch. */
  private static void requireAllPatches(ConfigJson json) {
    String feature = json.text("mm_vision_select_feature", "patch");
    if (!feature.equals("cls_patch")) {
      throw new IllegalArgumentException(
          "config.json: mm_vision_select_feature must be cls_patch, not " + feature);
    }
  }

  static CheckpointFolder decoder(CheckpointFolder folder) {
    return part(folder, DECODER);
  }

  static CheckpointFolder tower(CheckpointFolder folder) {
    return part(folder, Family.VISION_PART);
  }

  private static CheckpointFolder part(CheckpointFolder folder, String name) {
    return folder
        .part(name)
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "Cannot load %s: it has no folder %s with config.json and weights"
                        .formatted(folder.path(), name)));
  }

  /** Embeddings of one image. */
  int imageTokens() {
    int perEdge = (vision.patchesPerSide() + 1) / 2;
    return perEdge * perEdge;
  }

  /** Encoder layers that run. */
  int visionLayers() {
    return vision.layersToRun(featureLayer);
  }
}
