package io.sinklens.pipeline;

import ai.djl.Device;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Piece;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Devices;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** A checkpoint ready to answer, with every {@code auto} of its settings resolved. */
final class LoadedModel implements AutoCloseable {
  private final Blueprint blueprint;
  private final VisionLanguageModel network;
  private final Tokenizer tokenizer;
  private final PromptEncoder prompts;
  private final ImageRule imageRule;
  private final Exif exif;
  private final Optional<ModelPreset> preset;
  private final ModelFacts facts;

  private LoadedModel(
      Blueprint blueprint,
      VisionLanguageModel network,
      Tokenizer tokenizer,
      RunSettings.Model settings,
      CheckpointFolder folder) {
    this.blueprint = blueprint;
    this.network = network;
    this.tokenizer = tokenizer;
    PromptTemplate template = template(settings, blueprint);
    prompts =
        new PromptEncoder(
            tokenizer, template.withQuestionSuffix(settings.promptSuffix()), blueprint.prompts());
    imageRule = imageRule(settings, blueprint);
    exif = exif(settings, imageRule);
    preset = ModelPreset.choose(settings.preset(), blueprint);
    facts =
        new ModelFacts(
            blueprint.family(),
            settings.path(),
            folder.fingerprint(),
            network.dtype().name().toLowerCase(Locale.ROOT),
            Devices.name(network.operators().manager().getDevice()),
            preset.map(ModelPreset::name).orElse(null),
            preset.map(ModelPreset::sinkDimensions).orElse(List.of()),
            preset.map(ModelPreset::sinkThreshold).orElse(null),
            template.name(),
            imageRule.name(),
            blueprint.decoder().numHiddenLayers(),
            blueprint.decoder().numAttentionHeads(),
            List.of());
  }

  /** Loads a checkpoint; cheap settings are checked before the weights are read. */
  static LoadedModel load(RunSettings.Model settings) {
    CheckpointFolder folder = open(settings);
    Blueprint blueprint = Families.read(folder);
    template(settings, blueprint);
    imageRule(settings, blueprint);
    ModelPreset.choose(settings.preset(), blueprint);
    Device device = Devices.resolve(settings.device());
    Dtype dtype = dtype(settings.dtype(), folder.storedDtype(), device);
    DeviceBudget.requireRoom(blueprint, dtype, device);
    Tokenizer tokenizer = blueprint.openTokenizer();
    Operators operators = Operators.load(device);
    try {
      VisionLanguageModel network = blueprint.load(operators, dtype);
      return new LoadedModel(blueprint, network, tokenizer, settings, folder);
    } catch (RuntimeException e) {
      operators.close();
      tokenizer.close();
      throw e;
    }
  }

  /** The checkpoint, with its vision encoder where that lies apart. */
  static CheckpointFolder open(RunSettings.Model settings) {
    return Families.open(
        Path.of(settings.path()),
        settings.visionPath() == null ? null : Path.of(settings.visionPath()));
  }

  Blueprint blueprint() {
    return blueprint;
  }

  VisionLanguageModel network() {
    return network;
  }

  Tokenizer tokenizer() {
    return tokenizer;
  }

  PromptEncoder prompts() {
    return prompts;
  }

  ImageRule imageRule() {
    return imageRule;
  }

  Exif exif() {
    return exif;
  }

  Optional<ModelPreset> preset() {
    return preset;
  }

  /** The token an answer of these words would begin with, after the template. */
  int firstToken(String answer) {
    int[] ids = tokenizer.encodeContinuation(List.of(new Piece.Text(answer)));
    if (ids.length == 0) {
      throw new IllegalArgumentException("Answer choice must not be empty");
    }
    return ids[0];
  }

  ModelFacts facts() {
    return facts;
  }

  @Override
  public void close() {
    network.close();
    tokenizer.close();
  }

  /** The type to compute in: a GPU's is the checkpoint's, a processor's bfloat16 where it can. */
  static Dtype dtype(String setting, Dtype stored, Device device) {
    return switch (setting) {
      case "float32" -> Dtype.FLOAT32;
      case "bfloat16" -> Dtype.BFLOAT16;
      case "float16" -> {
        if (!device.isGpu()) {
          throw new IllegalArgumentException(
              "Cannot compute in float16 on the processor; model.dtype bfloat16 and float32 can");
        }
        yield Dtype.FLOAT16;
      }
      default -> device.isGpu() ? stored : onProcessor(stored);
    };
  }

  private static Dtype onProcessor(Dtype stored) {
    return stored != Dtype.FLOAT32 && processorHasBfloat16() ? Dtype.BFLOAT16 : Dtype.FLOAT32;
  }

  private static boolean processorHasBfloat16() {
    Path description = Path.of("/proc/cpuinfo");
    try {
      return Files.isReadable(description)
          && Files.readString(description).matches("(?s).*\\b(avx512_bf16|amx_bf16|bf16)\\b.*");
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + description, e);
    }
  }

  static PromptTemplate template(RunSettings.Model settings, Blueprint blueprint) {
    if (settings.template().equals("auto")) {
      return blueprint.template();
    }
    return blueprint
        .template(settings.template())
        .orElseThrow(() -> unknown("model.template", settings.template(), blueprint));
  }

  static ImageRule imageRule(RunSettings.Model settings, Blueprint blueprint) {
    if (settings.imageRule().equals("auto")) {
      return blueprint.imageRule();
    }
    return blueprint
        .imageRule(settings.imageRule())
        .orElseThrow(() -> unknown("model.image-rule", settings.imageRule(), blueprint));
  }

  private static Exif exif(RunSettings.Model settings, ImageRule imageRule) {
    return switch (settings.exif()) {
      case "apply" -> Exif.APPLY;
      case "ignore" -> Exif.IGNORE;
      default -> imageRule.exif();
    };
  }

  private static IllegalArgumentException unknown(String key, String value, Blueprint blueprint) {
    return new IllegalArgumentException(
        "%s %s is not one of family %s".formatted(key, value, blueprint.family()));
  }
}
