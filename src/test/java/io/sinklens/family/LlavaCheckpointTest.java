package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Pass;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Activation;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What a LLaVA checkpoint may say, and what is refused with a reason. */
class LlavaCheckpointTest {
  private static final String HEAD = "language_model.lm_head.weight";
  private static final String EMBEDDING = "language_model.model.embed_tokens.weight";

  @TempDir Path folder;

  /** A change of {@code text_config} and the refusal it must bring. */
  static Stream<Arguments> textConfigs() {
    return Stream.of(
        refusal(
            text -> text.putObject("rope_scaling").put("rope_type", "linear").put("factor", 2),
            "config.json: text_config.rope_scaling.rope_type must be one of default, dynamic, not \"linear\""),
        refusal(
            text -> text.putObject("rope_scaling").put("type", "yarn").put("factor", 2),
            "config.json: text_config.rope_scaling.type must be one of default, dynamic, not \"yarn\""),
        refusal(
            text -> text.putObject("rope_scaling").put("factor", 2),
            "config.json: text_config.rope_scaling.factor must be absent, not 2: scaled rotary"
                + " positions are not supported"),
        refusal(
            text -> text.putObject("rope_parameters").put("rope_type", "llama3"),
            "config.json: text_config.rope_parameters.rope_type must be one of default, dynamic, not \"llama3\""),
        refusal(
            text -> text.put("hidden_act", "relu"),
            "Activation must be one of gelu, gelu_pytorch_tanh, quick_gelu, silu, not relu"),
        refusal(
            text -> text.put("attention_bias", true),
            "config.json: text_config.attention_bias must be false, not true"),
        refusal(
            text -> text.put("mlp_bias", true),
            "config.json: text_config.mlp_bias must be false, not true"),
        refusal(
            text -> text.put("num_key_value_heads", 3),
            "Cannot share num_key_value_heads 3 evenly among num_attention_heads 4"),
        refusal(
            text -> text.put("num_key_value_heads", 0),
            "num_key_value_heads must be above 0, not 0"),
        refusal(
            text -> {
              text.remove("head_dim");
              text.put("num_attention_heads", 3);
            },
            "Cannot split hidden_size 64 evenly over num_attention_heads 3"),
        refusal(text -> text.put("head_dim", 15), "head_dim must be even, not 15"),
        refusal(
            text -> text.put("rms_norm_eps", 0),
            "rms_norm_eps must be above 0 and below 1, not 0.0"),
        refusal(text -> text.put("rope_theta", 0), "rope_theta must be above 0, not 0.0"),
        refusal(text -> text.put("vocab_size", 0), "vocab_size must be above 0, not 0"),
        refusal(
            text -> text.put("hidden_size", "wide"),
            "config.json: text_config.hidden_size must be an integer, not \"wide\""),
        refusal(
            text -> text.put("model_type", "mistral"),
            "config.json: text_config.model_type must be llama, not \"mistral\""));
  }

  /** A change of the root of {@code config.json} and the refusal it must bring. */
  static Stream<Arguments> configs() {
    return Stream.of(
        refusal(
            config -> config.put("image_seq_length", 17),
            "config.json: image_seq_length must be 16, not 17"),
        refusal(
            config -> config.put("vision_feature_select_strategy", "full"),
            "config.json: vision_feature_select_strategy must be default, not \"full\""),
        refusal(
            config -> config.put("vision_feature_layer", 5),
            "vision_feature_layer must be from -5 to 4, not 5"),
        refusal(
            config -> config.put("vision_feature_layer", -6),
            "vision_feature_layer must be from -5 to 4, not -6"),
        refusal(
            config -> config.put("projector_hidden_act", "swish"),
            "Activation must be one of gelu, gelu_pytorch_tanh, quick_gelu, silu, not swish"),
        refusal(
            config -> config.put("image_token_index", -200),
            "image_token_index must not be below 0, not -200"),
        refusal(
            config -> vision(config).put("model_type", "siglip_vision_model"),
            "config.json: vision_config.model_type must be clip_vision_model, not"
                + " \"siglip_vision_model\""),
        refusal(
            config -> vision(config).put("patch_size", 15),
            "Cannot cut image_size 56 into patches of patch_size 15"),
        refusal(
            config -> vision(config).put("num_attention_heads", 5),
            "Cannot split hidden_size 32 evenly over num_attention_heads 5"));
  }

  @ParameterizedTest
  @MethodSource("textConfigs")
  void refusesATextConfigItWouldNotCompute(Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder).textConfig(change);
    assertThatThrownBy(this::read).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
  }

  @ParameterizedTest
  @MethodSource("configs")
  void refusesAConfigItWouldNotCompute(Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder).config(change);
    assertThatThrownBy(this::read).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
  }

  @Test
  void namesTheModelTypesThereAreWhenItKnowsNoSuchFamily() {
    TinyCheckpoint.copyTo(folder).config(config -> config.put("model_type", "blip"));
    assertThatThrownBy(this::read)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot load %s: config.json has model_type blip, and supported are"
                + " [llava, llava-next, llava-onevision, qwen2-vl, qwen2.5-vl, internvl, vila]",
            folder);
  }

  @Test
  void fillsInWhatTheConfigLeavesOut() {
    Blueprint blueprint = Families.read(CheckpointFolder.open(TinyCheckpoint.golden("llava-mha")));
    assertThat(blueprint.family()).isEqualTo("llava");
    assertThat(blueprint.decoder().ropeTheta()).isEqualTo(10000);
    assertThat(blueprint.decoder().numKeyValueHeads()).isEqualTo(4);
    assertThat(blueprint.decoder().hiddenAct()).isEqualTo(Activation.SILU);
    assertThat(blueprint.stopTokens()).containsExactly(2);
    assertThat(blueprint.prompts().contextLength()).isEqualTo(512);
    assertThat(blueprint.vision())
        .isEqualTo("CLIP, 3 of 4 layers, hidden 32, 56 px in patches of 14, 16 image tokens");
    assertThat(blueprint.template("original")).isEmpty();
    assertThat(blueprint.imageRule("tile")).isEmpty();
  }

  @Test
  void readsTheRopeBaseInEitherSpelling() {
    TinyCheckpoint.copyTo(folder)
        .textConfig(
            text ->
                text.putObject("rope_parameters")
                    .put("rope_type", "default")
                    .put("rope_theta", 777.0));
    assertThat(read().decoder().ropeTheta()).isEqualTo(777);
    assertThat(
            Families.read(CheckpointFolder.open(TinyCheckpoint.golden("llava-bf16")))
                .decoder()
                .ropeTheta())
        .isEqualTo(20000);
  }

  @Test
  void namesAMissingTensorAndWhatStandsInItsPlace() {
    TinyCheckpoint.copyTo(folder).without("language_model.model.layers.3.self_attn.q_proj.weight");
    assertThatThrownBy(this::load)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot find tensor lm.layers.3.self_attn.q_proj.weight in checkpoint %s: under"
                + " lm.layers.3.self_attn. it has [lm.layers.3.self_attn.k_proj.weight,"
                + " lm.layers.3.self_attn.o_proj.weight, lm.layers.3.self_attn.v_proj.weight]",
            folder);
  }

  @Test
  void refusesATensorThatHasNoPlaceInTheModel() {
    TinyCheckpoint.copyTo(folder).with("language_model.model.layers.5.input_layernorm.weight", 64L);
    assertThatThrownBy(this::load)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use checkpoint %s: 1 of its tensors have no place in the model:"
                + " [language_model.model.layers.5.input_layernorm.weight]",
            folder);
  }

  @Test
  void refusesAProjectorBiasTheConfigDoesNotKnow() {
    TinyCheckpoint.copyTo(folder).config(config -> config.put("multimodal_projector_bias", false));
    assertThatThrownBy(this::load)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("2 of its tensors have no place in the model")
        .hasMessageContaining("multi_modal_projector.linear_1.bias");
  }

  @Test
  void refusesAMisshapenTensorWithBothShapes() {
    TinyCheckpoint.copyTo(folder)
        .reshaped("language_model.model.layers.1.mlp.down_proj.weight", 128L, 64L);
    assertThatThrownBy(this::load)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use tensor language_model.model.layers.1.mlp.down_proj.weight of checkpoint"
                + " %s: its shape is [128, 64], but the configuration makes it [64, 128]",
            folder);
  }

  @Test
  void readsLogitsFromTheEmbeddingWhenTheyAreTied() {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder);
    float[] untied = logits();
    copy.overwrite(HEAD, EMBEDDING);
    float[] sameRows = logits();
    copy.without(HEAD).textConfig(text -> text.put("tie_word_embeddings", true));
    assertThat(logits()).containsExactly(sameRows, withPrecision(0f));
    assertThat(logits()).isNotEqualTo(untied);
  }

  @Test
  void refusesAMissingHeadUnlessItIsTied() {
    TinyCheckpoint.copyTo(folder).without(HEAD);
    assertThatThrownBy(this::load)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot find tensor lm_head.weight in checkpoint " + folder);
  }

  private Blueprint read() {
    return Families.read(CheckpointFolder.open(folder));
  }

  private void load() {
    TinyCheckpoint.load(folder).close();
  }

  /** Logits of a few tokens of text. */
  private float[] logits() {
    try (VisionLanguageModel model = TinyCheckpoint.load(folder);
        NDManager manager = model.operators().manager().newSubManager()) {
      LlamaDecoder decoder = model.decoder();
      long[] ids = {1, 275, 372, 376};
      KeyValueCache cache = decoder.newCache(manager, RotaryPositions.sequential(0), ids.length);
      List<Segment.Token> tokens =
          IntStream.range(0, ids.length).mapToObj(i -> new Segment.Token(0, i, true)).toList();
      Pass pass = new Pass(List.of(Segment.ofRows(cache, AttentionHook.NONE, 0, tokens)));
      NDArray hidden = decoder.forward(decoder.embed(manager.create(ids)), pass);
      return decoder.logits(hidden).toFloatArray();
    }
  }

  private static Arguments refusal(Consumer<ObjectNode> change, String message) {
    return Arguments.of(change, message);
  }

  private static ObjectNode vision(ObjectNode config) {
    return (ObjectNode) config.get("vision_config");
  }
}
