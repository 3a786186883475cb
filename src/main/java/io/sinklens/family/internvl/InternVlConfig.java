package io.sinklens.family.internvl;

import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.ShuffleProjector;
import io.sinklens.model.projector.ShuffleProjector.Order;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.preprocessing.PromptTemplate;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The {@code config.json} of an InternVL checkpoint in either layout, without what it says about
 * images.
 *
 * @param layout whose files these are
 * @param vision the vision encoder, an even number of patches along each edge
 * @param text the decoder
 * @param order how the image tokens of one tile follow each other
 * @param template what is put around questions
 */
record InternVlConfig(
    Layout layout, VisionConfig vision, LlamaConfig text, Order order, PromptTemplate template) {

  /** The two layouts there are. */
  enum Layout {
    /** {@code internvl_chat}: InternVL's own code. */
    ORIGINAL("internvl_chat"),
    /** {@code internvl}: transformers, from 4.52 on. */
    TRANSFORMERS("internvl");

    private final String modelType;

    Layout(String modelType) {
      this.modelType = modelType;
    }

    /** The layout of a config, if it is one of these. */
    static Optional<Layout> of(ConfigJson json) {
      String modelType = json.text("model_type", "");
      return Arrays.stream(values()).filter(l -> l.modelType.equals(modelType)).findFirst();
    }
  }

  /** The decoders of the original layout, and what transformers calls them. */
  private static final Map<String, String> DECODERS =
      Map.of(
          "InternLM2ForCausalLM", "internlm2",
          "LlamaForCausalLM", "llama",
          "Qwen2ForCausalLM", "qwen2");

  InternVlConfig {
    int patches = vision.patchesPerSide();
    if (patches % ShuffleProjector.SQUARE != 0) {
      throw new IllegalArgumentException(
          "Cannot make squares of %d patches along each edge, as %d px in patches of %d have"
              .formatted(patches, vision.imageSize(), vision.patchSize()));
    }
  }

  /**
   * Reads either layout.
   *
   * @throws IllegalArgumentException for a value this family does not compute
   */
  static InternVlConfig of(ConfigJson json) {
    json.requireOneOf("downsample_ratio", "0.5");
    return Layout.of(json).orElseThrow() == Layout.ORIGINAL ? original(json) : transformers(json);
  }

  private static InternVlConfig transformers(ConfigJson json) {
    json.requireOneOf("vision_feature_layer", "-1");
    json.requireOneOf("vision_feature_select_strategy", "default");
    json.requireOneOf("projector_hidden_act", "gelu");
    InternVlConfig config =
        new InternVlConfig(
            Layout.TRANSFORMERS,
            VisionConfig.internVl(json.child("vision_config")),
            LlamaConfig.of(json.child("text_config"), "qwen2", "llama"),
            Order.ROW_MAJOR,
            InternVlTemplates.PLAIN);
    json.requireOneOf("image_seq_length", String.valueOf(config.tileTokens()));
    return config;
  }

  private static InternVlConfig original(ConfigJson json) {
    json.requireOneOf("select_layer", "-1");
    json.requireOneOf("ps_version", "v1", "v2");
    json.requireOneOf("pad2square", "false");
    json.requireOneOf("use_backbone_lora", "0");
    json.requireOneOf("use_llm_lora", "0");
    json.requireAbsent("image_fold", "folded images are not supported");
    json.requireAbsent("system_message", "the system text is the template's");
    json.requireOneOf(
        "template", InternVlTemplates.INTERNLM2_CHAT.name(), InternVlTemplates.INTERNVL2_5.name());
    VisionConfig vision = VisionConfig.internVit(json.child("vision_config"));
    json.requireOneOf("force_image_size", String.valueOf(vision.imageSize()));
    return new InternVlConfig(
        Layout.ORIGINAL,
        vision,
        originalDecoder(json.child("llm_config")),
        json.text("ps_version", "v1").equals("v1") ? Order.COLUMN_MAJOR : Order.ROW_MAJOR,
        InternVlTemplates.named(json.text("template")).orElseThrow());
  }

  private static LlamaConfig originalDecoder(ConfigJson json) {
    List<String> architectures = json.texts("architectures");
    String modelType = architectures.size() == 1 ? DECODERS.get(architectures.get(0)) : null;
    if (modelType == null) {
      throw new IllegalArgumentException(
          "config.json: llm_config.architectures must be one of %s, not %s"
              .formatted(DECODERS.keySet().stream().sorted().toList(), architectures));
    }
    json.requireOneOf("tie_word_embeddings", "false"); // The code unties them whatever it says.
    return LlamaConfig.of(json, modelType);
  }

  /** Image tokens of one tile. */
  int tileTokens() {
    int perEdge = vision.patchesPerSide() / ShuffleProjector.SQUARE;
    return perEdge * perEdge;
  }

  /** Pixels of the edges of the square behind one image token. */
  int tokenSize() {
    return ShuffleProjector.SQUARE * vision.patchSize();
  }
}
