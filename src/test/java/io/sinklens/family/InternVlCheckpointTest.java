package io.sinklens.family;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaConfig.Projection;
import io.sinklens.preprocessing.DynamicTiles;
import io.sinklens.preprocessing.DynamicTiles.Thumbnail;
import io.sinklens.preprocessing.DynamicTiles.Tiling;
import io.sinklens.preprocessing.DynamicTiles.TokenOrder;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Normalization;
import io.sinklens.preprocessing.Piece;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What an InternVL checkpoint of either layout may say, and what is refused with a reason. */
class InternVlCheckpointTest {
  private static final String TRANSFORMERS = "internvl-llama";
  private static final String ORIGINAL = "internvl-chat-internlm2";

  @TempDir Path folder;

  /** Tells how InternVL takes an image apart, for the golden images, extreme ones among them. */
  @ParameterizedTest
  @ValueSource(strings = {TRANSFORMERS, "internvl-qwen2", ORIGINAL, "internvl-chat-qwen2"})
  void makesThePixelsAndPromptsOfTransformers(String checkpoint)
      throws IOException, RowFailedException {
    Blueprint blueprint = golden(checkpoint);
    Set<String> rules = new HashSet<>();
    Set<String> images = new HashSet<>();
    Set<Integer> views = new HashSet<>();
    try (Tokenizer tokenizer = blueprint.openTokenizer()) {
      for (JsonNode golden : cases(checkpoint)) {
        String name = golden.get("image").asText() + " " + golden.get("question").asText();
        String ruleName = golden.get("image_rule").asText();
        ImageRule rule = blueprint.imageRule(ruleName).orElseThrow();
        assertThat(rule.name()).isEqualTo(ruleName);
        byte[] file =
            Files.readAllBytes(TinyCheckpoint.golden("images/" + golden.get("image").asText()));
        PixelValues pixels = rule.apply(new ImageDecoder(rule.exif()).decode(file));
        assertThat(pixels.views()).as(name).isEqualTo(golden.get("views").asInt());
        assertThat(crc(pixels.data())).as(name).isEqualTo(golden.get("pixel_crc").asText());
        assertThat(pixels.grid().tokens()).as(name).isEqualTo(4 * pixels.views());

        PromptTemplate template = blueprint.template(golden.get("template").asText()).orElseThrow();
        Prompt prompt =
            new PromptEncoder(tokenizer, template, blueprint.prompts())
                .encode(golden.get("question").asText(), pixels.grid().tokens(), 12);
        assertThat(prompt.ids()).as(name).isEqualTo(ints(golden.get("prompt_token_ids")));
        assertThat(new int[] {prompt.image().start(), prompt.image().end()})
            .as(name)
            .isEqualTo(ints(golden.get("image_span")));
        rules.add(ruleName);
        images.add(golden.get("image").asText());
        views.add(pixels.views());
      }
    }
    assertThat(rules).containsExactlyInAnyOrder("tiles-1", "tiles-6", "tiles-12");
    assertThat(images).contains("internvl-line.png", "internvl-column.png", "internvl-large.png");
    assertThat(views).contains(1, 5, 7, 13);
  }

  @ParameterizedTest
  @ValueSource(strings = {ORIGINAL, "internvl-chat-qwen2"})
  void encodesImagesInBfloat16NearlyAsInFloat32(String checkpoint) {
    PixelValues pixels = pixels(golden(checkpoint));
    float[] exact = imageTokens(checkpoint, Dtype.FLOAT32, pixels);
    float[] rounded = imageTokens(checkpoint, Dtype.BFLOAT16, pixels);
    double dot = 0;
    double exactSquare = 0;
    double roundedSquare = 0;
    for (int i = 0; i < exact.length; i++) {
      dot += (double) exact[i] * rounded[i];
      exactSquare += (double) exact[i] * exact[i];
      roundedSquare += (double) rounded[i] * rounded[i];
    }
    assertThat(exact).hasSize(7 * 4 * 48);
    assertThat(dot / Math.sqrt(exactSquare * roundedSquare)).isGreaterThan(0.999);
  }

  /** A wide grey image of six tiles and the whole. */
  private static PixelValues pixels(Blueprint blueprint) {
    byte[] samples = new byte[90 * 60 * RgbImage.CHANNELS];
    for (int i = 0; i < samples.length; i++) {
      samples[i] = (byte) (i / 7 + i % 11);
    }
    return ((DynamicTiles) blueprint.imageRule()).apply(new RgbImage(90, 60, samples));
  }

  private static float[] imageTokens(String checkpoint, Dtype dtype, PixelValues pixels) {
    Operators operators = Operators.load(TestDevice.get());
    operators.enterThread();
    try (VisionLanguageModel model = golden(checkpoint).load(operators, dtype);
        NDManager manager = operators.manager().newSubManager()) {
      Shape shape = new Shape(pixels.views(), 3, pixels.height(), pixels.width());
      NDArray tokens =
          model.encodeImage(
              manager, new ImageInput(pixels.data(), shape, null), AttentionHook.NONE);
      return operators.to(tokens, Dtype.FLOAT32).toFloatArray();
    }
  }

  @Test
  void readsTheLayoutOfTransformers() {
    Blueprint blueprint = golden(TRANSFORMERS);
    assertThat(blueprint.family()).isEqualTo("internvl");
    assertThat(blueprint.vision())
        .isEqualTo("InternViT, 3 layers, hidden 32, 56 px in patches of 14, 4 image tokens a tile");
    assertThat(blueprint.decoder().projection()).isEqualTo(Projection.PLAIN);
    assertThat(blueprint.decoder().ropeTheta()).isEqualTo(20000);
    assertThat(blueprint.template().name()).isEqualTo("plain");
    assertThat(blueprint.imageRule())
        .isEqualTo(
            new DynamicTiles(
                new Tiling(56, 1, 6, Thumbnail.WHERE_TILED),
                28,
                TokenOrder.ROW_BY_ROW,
                Exif.APPLY,
                Normalization.IMAGENET));
    assertThat(blueprint.prompts().contextLength()).isEqualTo(1024);
    assertThat(blueprint.stopTokens()).containsExactly(id(blueprint, "<|im_end|>"));
  }

  @Test
  void readsTheOriginalLayout() {
    Blueprint blueprint = golden(ORIGINAL);
    assertThat(blueprint.family()).isEqualTo("internvl");
    assertThat(blueprint.decoder().projection()).isEqualTo(Projection.GROUPED);
    assertThat(blueprint.template().name()).isEqualTo("internlm2-chat");
    assertThat(blueprint.imageRule())
        .isEqualTo(
            new DynamicTiles(
                new Tiling(56, 1, 6, Thumbnail.WHERE_TILED),
                28,
                TokenOrder.ROW_BY_ROW,
                Exif.IGNORE,
                Normalization.IMAGENET));
    assertThat(blueprint.stopTokens())
        .containsExactly(id(blueprint, "<|im_end|>"), id(blueprint, "<|im_start|>"));
  }

  @Test
  void readsItsRelativesWithQwen2AndTheLargeEncoder() {
    Blueprint published = golden("internvl-qwen2");
    Blueprint original = golden("internvl-chat-qwen2");
    assertThat(published.vision())
        .startsWith("InternViT as 6B, 3 layers")
        .isEqualTo(original.vision());
    assertThat(published.decoder())
        .isEqualTo(original.decoder())
        .extracting(LlamaConfig::projection)
        .isEqualTo(Projection.BIASED);
    assertThat(published.parameters()).isEqualTo(original.parameters());
    assertThat(original.template().name()).isEqualTo("internvl2_5");
    assertThat(((DynamicTiles) original.imageRule()).tokenOrder())
        .isEqualTo(TokenOrder.COLUMN_BY_COLUMN);
    assertThat(published.stopTokens()).containsExactly(id(published, "<|im_end|>"));
  }

  @Test
  void countsTheSameParametersInBothLayouts() {
    assertThat(golden(TRANSFORMERS).parameters()).isEqualTo(golden(ORIGINAL).parameters());
  }

  @ParameterizedTest
  @CsvSource({"internlm2-chat, ''", "internvl2_5, '\n'"})
  void endsATurnAsTheTemplateOfTheAuthorsDoes(String name, String afterTurn) {
    PromptTemplate template = golden(ORIGINAL).template(name).orElseThrow();
    StringBuilder text = new StringBuilder();
    for (Piece piece : template.pieces("Q")) {
      text.append(piece instanceof Special special ? special.name() : ((Piece.Text) piece).text());
    }
    assertThat(text.toString())
        .startsWith("<|im_start|>system\n你是")
        .endsWith(
            "。<|im_end|>%s<|im_start|>user\n<img><IMG_CONTEXT></img>\nQ<|im_end|>%s<|im_start|>assistant\n"
                .formatted(afterTurn, afterTurn));
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiles", "tiles-", "tiles-0", "tiles-07", "tiles-65", "tiles-100", "pad"})
  void knowsNoOtherImageRules(String name) {
    assertThat(golden(ORIGINAL).imageRule(name)).isEmpty();
    assertThat(golden(ORIGINAL).template("vicuna-v1")).isEmpty();
  }

  /** A change of the original {@code config.json} and the refusal it must bring. */
  static Stream<Arguments> originalConfigs() {
    return Stream.of(
        refusal(
            config -> config.put("template", "Hermes-2"),
            "config.json: template must be one of internlm2-chat, internvl2_5, not \"Hermes-2\""),
        refusal(
            config -> config.put("template", "phi3-chat"),
            "config.json: template must be one of internlm2-chat, internvl2_5, not \"phi3-chat\""),
        refusal(
            config -> config.remove("template"),
            "config.json: template must be a string, but is missing"),
        refusal(
            config -> config.put("system_message", "Be brief."),
            "config.json: system_message must be absent, not \"Be brief.\": the system text is the"
                + " template's"),
        refusal(
            config -> config.put("image_fold", 2),
            "config.json: image_fold must be absent, not 2: folded images are not supported"),
        refusal(
            config -> config.put("ps_version", "v3"),
            "config.json: ps_version must be one of v1, v2, not \"v3\""),
        refusal(
            config -> config.put("downsample_ratio", 0.25),
            "config.json: downsample_ratio must be 0.5, not 0.25"),
        refusal(
            config -> config.put("select_layer", -4),
            "config.json: select_layer must be -1, not -4"),
        refusal(
            config -> config.put("pad2square", true),
            "config.json: pad2square must be false, not true"),
        refusal(
            config -> config.put("use_llm_lora", 16),
            "config.json: use_llm_lora must be 0, not 16"),
        refusal(
            config -> config.put("use_backbone_lora", 16),
            "config.json: use_backbone_lora must be 0, not 16"),
        refusal(
            config -> config.put("force_image_size", 112),
            "config.json: force_image_size must be 56, not 112"),
        refusal(
            config -> config.put("min_dynamic_patch", 2),
            "config.json: min_dynamic_patch must be 1, not 2"),
        refusal(
            config -> config.put("max_dynamic_patch", 65),
            "Most tiles must be from 1, the fewest, to 64, not 65"),
        refusal(
            config -> vision(config).put("model_type", "clip_vision_model"),
            "config.json: vision_config.model_type must be intern_vit_6b, not"
                + " \"clip_vision_model\""),
        refusal(
            config -> vision(config).remove("norm_type"),
            "Cannot compute a vision encoder with norm_type rms_norm, no norms of queries and keys,"
                + " and a bias in their projections: supported are InternViT-300M's (layer_norm, no"
                + " norms, a bias) and InternViT-6B's (rms_norm, norms, no bias)"),
        refusal(
            config -> vision(config).put("image_size", 42),
            "config.json: force_image_size must be 42, not 56"),
        refusal(
            config -> {
              config.put("force_image_size", 42);
              vision(config).put("image_size", 42);
            },
            "Cannot make squares of 3 patches along each edge, as 42 px in patches of 14 have"),
        refusal(
            config -> text(config).putArray("architectures").add("Phi3ForCausalLM"),
            "config.json: llm_config.architectures must be one of [InternLM2ForCausalLM,"
                + " LlamaForCausalLM, Qwen2ForCausalLM], not [Phi3ForCausalLM]"),
        refusal(
            config -> text(config).put("model_type", "qwen2"),
            "config.json: llm_config.model_type must be internlm2, not \"qwen2\""),
        refusal(
            config -> text(config).put("bias", true),
            "config.json: llm_config.bias must be false, not true"),
        refusal(
            config -> text(config).put("tie_word_embeddings", true),
            "config.json: llm_config.tie_word_embeddings must be false, not true"),
        refusal(
            config -> text(config).putObject("rope_scaling").put("type", "linear").put("factor", 2),
            "config.json: llm_config.rope_scaling.type must be one of default, dynamic, not"
                + " \"linear\""));
  }

  /** A change of transformers' {@code config.json} and the refusal it must bring. */
  static Stream<Arguments> transformersConfigs() {
    return Stream.of(
        refusal(
            config -> config.put("image_token_id", 3),
            "config.json: image_token_id must be 602, not 3"),
        refusal(
            config -> config.put("image_seq_length", 256),
            "config.json: image_seq_length must be 4, not 256"),
        refusal(
            config -> config.put("downsample_ratio", 1),
            "config.json: downsample_ratio must be 0.5, not 1"),
        refusal(
            config -> config.put("vision_feature_layer", -2),
            "config.json: vision_feature_layer must be -1, not -2"),
        refusal(
            config -> config.put("vision_feature_select_strategy", "full"),
            "config.json: vision_feature_select_strategy must be default, not \"full\""),
        refusal(
            config -> config.put("projector_hidden_act", "silu"),
            "config.json: projector_hidden_act must be gelu, not \"silu\""),
        refusal(
            config -> vision(config).put("use_mean_pooling", false),
            "config.json: vision_config.use_mean_pooling must be true, not false"),
        refusal(
            config -> vision(config).put("use_mask_token", true),
            "config.json: vision_config.use_mask_token must be false, not true"),
        refusal(
            config -> vision(config).put("use_absolute_position_embeddings", false),
            "config.json: vision_config.use_absolute_position_embeddings must be true, not false"),
        refusal(
            config -> vision(config).put("use_qk_norm", true),
            "Cannot compute a vision encoder with norm_type layer_norm, norms of queries and keys,"
                + " and a bias in their projections: supported are InternViT-300M's (layer_norm, no"
                + " norms, a bias) and InternViT-6B's (rms_norm, norms, no bias)"),
        refusal(
            config ->
                vision(config)
                    .put("use_qk_norm", true)
                    .put("norm_type", "rms_norm")
                    .put("attention_bias", false)
                    .put("layer_norm_eps", 1e-5),
            "config.json: vision_config.layer_norm_eps must be 1.0E-6, not 1.0E-5"),
        refusal(
            config -> vision(config).putArray("image_size").add(56).add(28),
            "image_size must be one length or the same two, not [56, 28]"),
        refusal(
            config -> text(config).put("model_type", "qwen3"),
            "config.json: text_config.model_type must be one of qwen2, llama, not \"qwen3\""));
  }

  /** A change of {@code preprocessor_config.json} and the refusal it must bring. */
  static Stream<Arguments> processors() {
    return Stream.of(
        refusal(
            processor -> processor.put("image_processor_type", "CLIPImageProcessor"),
            "preprocessor_config.json: image_processor_type must be one of GotOcr2ImageProcessor,"
                + " GotOcr2ImageProcessorFast, not \"CLIPImageProcessor\""),
        refusal(
            processor -> processor.putObject("size").put("height", 56).put("width", 112),
            "preprocessor_config.json: size.width must be 56, not 112"),
        refusal(
            processor -> processor.putObject("size").put("shortest_edge", 56),
            "preprocessor_config.json: size.height must be an integer, but is missing"),
        refusal(
            processor -> processor.put("resample", 2),
            "preprocessor_config.json: resample must be 3, not 2"),
        refusal(
            processor -> processor.put("do_normalize", false),
            "preprocessor_config.json: do_normalize must be true, not false"),
        refusal(
            processor -> processor.put("do_center_crop", true),
            "preprocessor_config.json: do_center_crop must be false, not true"),
        refusal(
            processor -> processor.put("max_patches", 0),
            "Most tiles must be from 1, the fewest, to 64, not 0"),
        refusal(
            processor -> processor.put("do_flip", true),
            "preprocessor_config.json: do_flip must be absent, not true: the image processor of"
                + " InternVL has no such setting"));
  }

  @ParameterizedTest
  @MethodSource("originalConfigs")
  void refusesAnOriginalConfigItWouldNotCompute(Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, ORIGINAL).config(change);
    requireRefusal(message);
  }

  @ParameterizedTest
  @MethodSource("transformersConfigs")
  void refusesAConfigOfTransformersItWouldNotCompute(Consumer<ObjectNode> change, String message) {
    TinyCheckpoint.copyTo(folder, TRANSFORMERS).config(change);
    requireRefusal(message);
  }

  @ParameterizedTest
  @MethodSource("processors")
  void refusesAnImageProcessorItWouldNotFollow(Consumer<ObjectNode> change, String message)
      throws IOException {
    TinyCheckpoint.copyTo(folder, TRANSFORMERS);
    Path file = folder.resolve("preprocessor_config.json");
    ObjectNode processor = (ObjectNode) new ObjectMapper().readTree(file.toFile());
    change.accept(processor);
    new ObjectMapper().writeValue(file.toFile(), processor);
    requireRefusal(message);
  }

  @Test
  void readsTheImageProcessorInsideAProcessor() throws IOException {
    TinyCheckpoint.copyTo(folder, TRANSFORMERS);
    Files.delete(folder.resolve("preprocessor_config.json"));
    requireRefusal(
        "Cannot find the image rule of %s: it has neither preprocessor_config.json nor"
                .formatted(folder)
            + " image_processor in processor_config.json");
    Files.writeString(
        folder.resolve("processor_config.json"),
        """
        {"image_processor": {"image_processor_type": "GotOcr2ImageProcessorFast",
          "size": {"height": 56, "width": 56}, "min_patches": 2, "device": null}}
        """);
    DynamicTiles rule = (DynamicTiles) read().imageRule();
    assertThat(rule.tiling()).isEqualTo(new Tiling(56, 2, 12, Thumbnail.WHERE_TILED));
    assertThat(rule.normalization()).isEqualTo(Normalization.CLIP);
  }

  @Test
  void takesTheDefaultsOfTheOriginalCode() {
    TinyCheckpoint.copyTo(folder, ORIGINAL)
        .config(
            config ->
                config.remove(
                    List.of(
                        "ps_version",
                        "max_dynamic_patch",
                        "use_thumbnail",
                        "min_dynamic_patch",
                        "force_image_size")));
    DynamicTiles rule = (DynamicTiles) read().imageRule();
    assertThat(rule.tiling()).isEqualTo(new Tiling(56, 1, 6, Thumbnail.NEVER));
    assertThat(rule.tokenOrder()).isEqualTo(TokenOrder.COLUMN_BY_COLUMN);
  }

  @Test
  void takesOneTileWhereImagesAreNotTiled() {
    TinyCheckpoint.copyTo(folder, ORIGINAL)
        .config(config -> config.put("dynamic_image_size", false));
    assertThat(read().imageRule().name()).isEqualTo("tiles-1");
  }

  @Test
  void stopsAtTheEndOfATurnWhateverTheOriginalFilesSay() throws IOException {
    TinyCheckpoint.copyTo(folder, ORIGINAL);
    Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": 2}");
    assertThat(read().stopTokens()).containsExactly(2, id(read(), "<|im_end|>"));
    Files.delete(folder.resolve("generation_config.json"));
    assertThat(read().stopTokens()).containsExactly(id(read(), "<|im_end|>"));
  }

  @Test
  void refusesATokenizerWithoutTheTokenOfTheImage() throws IOException {
    TinyCheckpoint.copyTo(folder, "internvl-chat-qwen2");
    Path file = folder.resolve("tokenizer.json");
    Files.writeString(file, Files.readString(file).replace("<IMG_CONTEXT>", "<IMG>"));
    requireRefusal(
        "Cannot use the tokenizer of %s: it has no token <IMG_CONTEXT>".formatted(folder));
  }

  @Test
  void refusesNamesOfTheOtherDecoder() {
    TinyCheckpoint.copyTo(folder, ORIGINAL)
        .config(
            config -> {
              text(config).putArray("architectures").add("LlamaForCausalLM");
              text(config).put("model_type", "llama");
            });
    assertThatThrownBy(() -> TinyCheckpoint.load(folder).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot find tensor lm.layers.0.self_attn.q_proj.weight");
  }

  private void requireRefusal(String message) {
    assertThatThrownBy(this::read).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
  }

  private Blueprint read() {
    return Families.read(CheckpointFolder.open(folder));
  }

  private static Blueprint golden(String name) {
    return Families.read(CheckpointFolder.open(TinyCheckpoint.golden(name)));
  }

  private static int id(Blueprint blueprint, String token) {
    try (Tokenizer tokenizer = blueprint.openTokenizer()) {
      return tokenizer.id(token).orElseThrow();
    }
  }

  private static JsonNode cases(String checkpoint) throws IOException {
    return new ObjectMapper()
        .readTree(TinyCheckpoint.golden(checkpoint).resolve("cases.json").toFile())
        .get("cases");
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }

  private static String crc(float[] values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return "%08x".formatted(crc.getValue());
  }

  private static Arguments refusal(Consumer<ObjectNode> change, String message) {
    return Arguments.of(change, message);
  }

  private static ObjectNode vision(ObjectNode config) {
    return (ObjectNode) config.get("vision_config");
  }

  /** The decoder's part, whatever the layout calls it. */
  private static ObjectNode text(ObjectNode config) {
    return (ObjectNode) config.get(config.has("llm_config") ? "llm_config" : "text_config");
  }
}
