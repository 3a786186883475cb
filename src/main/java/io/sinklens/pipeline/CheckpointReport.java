package io.sinklens.pipeline;

import ai.djl.Device;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.TensorInfo;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Devices;
import io.sinklens.tensor.Devices.DeviceMemory;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What a checkpoint is, for people.
 *
 * @param lines what and its value, in reading order
 */
public record CheckpointReport(Map<String, String> lines) {

  public CheckpointReport {
    lines = new LinkedHashMap<>(lines);
  }

  /**
   * Reads a checkpoint and holds every tensor's name and shape against its configuration; weights
   * are mapped, not read.
   *
   * @param visionPath folder of the vision encoder, for a checkpoint that holds none
   * @throws IllegalArgumentException in one line naming what is unsupported or broken
   */
  public static CheckpointReport of(Path path, @Nullable Path visionPath) {
    CheckpointFolder folder = Families.open(path, visionPath);
    Blueprint blueprint = Families.read(folder);
    try (Operators operators = Operators.load(Device.cpu());
        Tokenizer tokenizer = blueprint.openTokenizer()) {
      blueprint.load(operators, folder.storedDtype());
      return new CheckpointReport(
          lines(folder, blueprint, tokenizer.id(blueprint.prompts().imageToken()).isPresent()));
    }
  }

  private static Map<String, String> lines(
      CheckpointFolder folder, Blueprint blueprint, boolean imageTokenKnown) {
    Map<String, String> lines = new LinkedHashMap<>();
    LlamaConfig decoder = blueprint.decoder();
    Device device = Devices.resolve("auto");
    Dtype computed = LoadedModel.dtype("auto", folder.storedDtype(), device);
    Optional<ModelPreset> preset = ModelPreset.choose("auto", blueprint);
    lines.put("checkpoint", folder.path().toString());
    lines.put("family", blueprint.family());
    lines.put("layout", blueprint.layout());
    lines.put("vision", blueprint.vision());
    lines.put(
        "decoder",
        "%d layers, hidden %d, %d heads, %d key-value heads, MLP %d, vocabulary %d, context %d"
            .formatted(
                decoder.numHiddenLayers(),
                decoder.hiddenSize(),
                decoder.numAttentionHeads(),
                decoder.numKeyValueHeads(),
                decoder.intermediateSize(),
                decoder.vocabSize(),
                decoder.maxPositionEmbeddings()));
    lines.put("parameters", String.format(Locale.ROOT, "%,d", blueprint.parameters()));
    lines.put(
        "dtype", "%s stored, %s computed".formatted(name(folder.storedDtype()), name(computed)));
    Optional<ModelPreset.Usage> published = preset.map(ModelPreset::usage);
    String template = blueprint.template().name();
    lines.put(
        "template",
        compared(
            template,
            published.map(ModelPreset.Usage::templates),
            known -> known.contains(template)));
    String rule = blueprint.imageRule().name();
    lines.put(
        "image rule",
        compared(
            rule, published.map(ModelPreset.Usage::imageRules), known -> known.contains(rule)));
    lines.put("image token", imageTokenKnown ? "known to the tokenizer" : "by id only");
    Set<Integer> stops = blueprint.stopTokens();
    lines.put(
        "stop tokens",
        compared(
            stops.toString(),
            published.map(ModelPreset.Usage::stopTokens),
            known -> Set.copyOf(known).equals(stops)));
    lines.put("preset", preset.map(ModelPreset::name).orElse("none"));
    lines.put(
        "sink dimensions",
        preset
            .filter(known -> !known.sinkDimensions().isEmpty())
            .map(
                known ->
                    known.sinkDimensions().stream()
                            .map(String::valueOf)
                            .collect(Collectors.joining(", "))
                        + ", threshold "
                        + known.sinkThreshold())
            .orElse(
                "unknown; give --sink-dimensions, or find them with discover-sinks, which a later version brings"));
    lines.put("device", Devices.name(device));
    lines.put("memory", memory(blueprint, folder.storedDtype(), computed, device));
    lines.put(
        "files",
        "%d tensors, %s"
            .formatted(
                folder.tensors().size(),
                ByteSizes.show(
                    folder.tensors().values().stream().mapToLong(TensorInfo::bytes).sum())));
    lines.put("fingerprint", folder.fingerprint());
    return lines;
  }

  /** What the checkpoint says, and what the published model has where that is something else. */
  private static <T> String compared(String own, Optional<T> published, Predicate<T> agrees) {
    return own
        + published
            .filter(agrees.negate())
            .map(other -> "; the published model has " + other)
            .orElse("");
  }

  /** What weights, keys and values need, against what is free. */
  static String memory(Blueprint blueprint, Dtype stored, Dtype computed, Device device) {
    Optional<Long> free =
        device.isGpu() ? Devices.memory(device).map(DeviceMemory::free) : available();
    String weights =
        device.isGpu()
            ? "copied"
            : stored == computed ? "mapped from the files" : "converted from " + name(stored);
    return "weights %s (%s), keys and values %s per 1000 tokens; free %s"
        .formatted(
            ByteSizes.show(DeviceBudget.weightBytes(blueprint, computed)),
            weights,
            ByteSizes.show(1000 * DeviceBudget.bytesPerToken(blueprint.decoder(), computed)),
            free.map(ByteSizes::show).orElse("unknown"));
  }

  /** What the system could give without swapping, where it says so. */
  private static Optional<Long> available() {
    Path description = Path.of("/proc/meminfo");
    if (!Files.isReadable(description)) {
      return Optional.empty();
    }
    try {
      return Files.readAllLines(description).stream()
          .filter(line -> line.startsWith("MemAvailable:"))
          .findFirst()
          .map(line -> Long.parseLong(line.replaceAll("\\D", "")) * 1024);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + description, e);
    }
  }

  private static String name(Dtype dtype) {
    return dtype.name().toLowerCase(Locale.ROOT);
  }
}
