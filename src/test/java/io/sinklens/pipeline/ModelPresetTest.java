package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.model.TinyCheckpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelPresetTest {
  private static final Path DEMO = Path.of("src/main/resources/io/sinklens/demo/checkpoint");

  @Test
  void listsTheFilesOfTheFolder() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("conf/models"))) {
      assertThat(files.map(file -> file.getFileName().toString().replace(".yaml", "")))
          .containsExactlyInAnyOrderElementsOf(ModelPreset.NAMES);
    }
  }

  @Test
  void knowsThePublishedSinkDimensions() {
    assertThat(ModelPreset.named("llava-1.5-7b").sinkDimensions()).containsExactly(1415, 2533);
    assertThat(ModelPreset.named("llava-1.5-13b").sinkDimensions()).containsExactly(2100, 4743);
    assertThat(ModelPreset.named("vila-13b").sinkDimensions()).containsExactly(2100, 4743);
    assertThat(ModelPreset.named("vila1.5-13b").sinkDimensions()).containsExactly(2100, 4743);
    assertThat(ModelPreset.named("llava-1.5-7b").sinkThreshold()).isEqualTo(20);
    assertThat(ModelPreset.named("llava-1.5-13b").sinkThreshold()).isEqualTo(20);
  }

  @Test
  void namesOnlyDimensionsItsModelHas() {
    for (String name : ModelPreset.NAMES) {
      ModelPreset preset = ModelPreset.named(name);
      assertThat(preset.name()).isEqualTo(name);
      assertThat(preset.sinkDimensions().isEmpty()).isEqualTo(name.equals("internvl2-8b"));
      assertThat(preset.sinkDimensions())
          .allSatisfy(
              dimension -> assertThat(dimension).isBetween(0, preset.match().hiddenSize() - 1));
    }
  }

  @Test
  void tellHowTheBundledModelIsUsed() {
    ModelPreset.Usage usage = ModelPreset.named("demo").usage();
    Blueprint demo = read(DEMO);

    assertThat(usage.templates()).containsExactly(demo.template().name());
    assertThat(usage.imageRules()).contains(demo.imageRule().name());
    assertThat(demo.stopTokens()).containsExactlyInAnyOrderElementsOf(usage.stopTokens());
  }

  @Test
  void readsOneTemplateOrSeveral() {
    assertThat(ModelPreset.named("llava-1.5-7b").usage().templates()).containsExactly("vicuna-v1");
    assertThat(ModelPreset.named("internvl3-8b").usage().templates())
        .containsExactly("internvl2_5", "plain");
  }

  @Test
  void findsTheBundledCheckpointByItsShape() {
    assertThat(ModelPreset.choose("auto", read(DEMO)).map(ModelPreset::name)).contains("demo");
    assertThat(ModelPreset.choose("none", read(DEMO))).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"llava-mha", "llava-gqa", "llava-bf16"})
  void findsNothingForAShapeNobodyPublished(String golden) {
    assertThat(ModelPreset.choose("auto", read(TinyCheckpoint.golden(golden)))).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hidden_size",
        "num_hidden_layers",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "rope_theta"
      })
  void needsEveryPartOfTheShapeToFit(String part, @TempDir Path folder) {
    TinyCheckpoint copy =
        TinyCheckpoint.copyTo(folder)
            .textConfig(
                text ->
                    text.put("hidden_size", 256)
                        .put("num_hidden_layers", 6)
                        .put("num_attention_heads", 8)
                        .put("num_key_value_heads", 8)
                        .put("intermediate_size", 512)
                        .put("vocab_size", 640)
                        .put("rope_theta", 10000));
    assertThat(ModelPreset.choose("auto", read(folder)).map(ModelPreset::name)).contains("demo");

    int other = part.equals("num_key_value_heads") ? 4 : 64;
    copy.textConfig(text -> text.put(part, other));

    assertThat(ModelPreset.choose("auto", read(folder))).isEmpty();
  }

  /** The same decoder in all: layouts and families tell these models from each other. */
  @ParameterizedTest
  @CsvSource({
    "llava-mha, , llava-1.5-13b",
    "llava-original, clip-vit-tiny-patch14-56, llava-1.5-13b",
    "vila, , vila-13b",
    "vila1.5, , vila1.5-13b"
  })
  void tellsModelsOfTheSameDecoderApart(
      String golden, @Nullable String tower, String preset, @TempDir Path folder) {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder, golden);
    String decoder = golden.equals("vila1.5") ? "llm/config.json" : "config.json";
    copy.document(
        decoder,
        json -> {
          ObjectNode text = json.has("text_config") ? (ObjectNode) json.get("text_config") : json;
          text.remove("head_dim");
          text.put("hidden_size", 5120)
              .put("num_hidden_layers", 40)
              .put("num_attention_heads", 40)
              .put("num_key_value_heads", 40)
              .put("intermediate_size", 13824)
              .put("vocab_size", 32000);
        });
    copy.config(root -> root.put("hidden_size", 5120));

    Blueprint blueprint =
        Families.read(Families.open(folder, tower == null ? null : TinyCheckpoint.golden(tower)));

    assertThat(ModelPreset.choose("auto", blueprint).map(ModelPreset::name)).contains(preset);
  }

  @ParameterizedTest
  @CsvSource({
    "llava-v1.6-vicuna-7b, llava-next, 4096, 32, 32, 32, 11008, 32064, 10000",
    "llava-v1.6-vicuna-13b, llava-next, 5120, 40, 40, 40, 13824, 32064, 10000",
    "llava-v1.6-mistral-7b, llava-next-mistral, 4096, 32, 32, 8, 14336, 32064, 1000000",
    "llava-onevision-7b, llava-onevision, 3584, 28, 28, 4, 18944, 152000, 1000000"
  })
  void findsThePublishedModelsThatCutTiles(
      String preset,
      String golden,
      int hidden,
      int layers,
      int heads,
      int keyValueHeads,
      int intermediate,
      int vocabulary,
      double theta,
      @TempDir Path folder) {
    TinyCheckpoint.copyTo(folder, golden)
        .textConfig(
            text ->
                text.put("hidden_size", hidden)
                    .put("num_hidden_layers", layers)
                    .put("num_attention_heads", heads)
                    .put("num_key_value_heads", keyValueHeads)
                    .put("intermediate_size", intermediate)
                    .put("vocab_size", vocabulary)
                    .put("rope_theta", theta));

    Blueprint blueprint = read(folder);

    ModelPreset found = ModelPreset.choose("auto", blueprint).orElseThrow();
    assertThat(found.name()).isEqualTo(preset);
    assertThat(found.usage().templates()).contains(blueprint.template().name());
    assertThat(found.usage().imageRules()).containsExactly(blueprint.imageRule().name());
  }

  @Test
  void takesANamedPresetWhateverTheShape() {
    assertThat(
            ModelPreset.choose("llava-1.5-7b", read(TinyCheckpoint.golden("llava-gqa")))
                .map(ModelPreset::sinkDimensions))
        .contains(List.of(1415, 2533));
  }

  @Test
  void refusesANameThatIsNone() {
    assertThatThrownBy(() -> ModelPreset.choose("llava-7b", read(DEMO)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "model.preset must be auto, none or one of %s, not llava-7b", ModelPreset.NAMES);
  }

  private static Blueprint read(Path folder) {
    return Families.read(CheckpointFolder.open(folder));
  }
}
