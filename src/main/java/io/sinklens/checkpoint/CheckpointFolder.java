package io.sinklens.checkpoint;

import io.sinklens.tensor.Dtype;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * A Hugging Face checkpoint folder on local disk: {@code config.json} and weights, as safetensors
 * or as the {@code .bin} files of {@code torch.save}, or folders of that kind in it.
 *
 * <p>Nothing in it is executed: a pickle that holds anything but tensors is refused, and so is
 * whatever would have to be combined or decompressed first (adapters, quantised weights, GGUF).
 * Opening reads the headers of the weight files, never their data.
 */
public final class CheckpointFolder {
  private static final String CONFIG = "config.json";
  private static final int SHOWN_FILES = 8;

  private final Path path;
  private final ConfigJson config;
  private final List<WeightFile> files;
  private final SortedMap<String, CheckpointFolder> parts;
  private final SortedMap<String, TensorInfo> tensors;
  private final Dtype storedDtype;

  private CheckpointFolder(
      Path path,
      ConfigJson config,
      List<WeightFile> files,
      SortedMap<String, CheckpointFolder> parts) {
    this.path = path;
    this.config = config;
    this.files = files;
    this.parts = Collections.unmodifiableSortedMap(parts);
    SortedMap<String, TensorInfo> all = new TreeMap<>();
    files.forEach(file -> all.putAll(file.tensors()));
    parts.forEach(
        (name, part) ->
            part.tensors()
                .values()
                .forEach(
                    tensor -> {
                      TensorInfo ofPart = tensor.withName(name + "/" + tensor.name());
                      all.put(ofPart.name(), ofPart);
                    }));
    this.tensors = Collections.unmodifiableSortedMap(all);
    this.storedDtype = mostStored(path, tensors);
  }

  /**
   * Reads the configuration and the headers of the weights.
   *
   * <p>As in transformers, safetensors are preferred to {@code .bin}, and one file to an index of
   * shards.
   *
   * @throws IllegalArgumentException if this is not a checkpoint that can be used, with what to do
   */
  public static CheckpointFolder open(Path folder) {
    List<String> files = files(folder);
    if (!files.contains(CONFIG)) {
      throw refusal(folder, missingConfig(files));
    }
    Optional<Path> weights = WeightFiles.find(folder);
    SortedMap<String, CheckpointFolder> parts = new TreeMap<>();
    if (weights.isEmpty()) {
      parts.putAll(parts(folder, files));
      if (parts.isEmpty()) {
        throw refusal(folder, missingWeights(files));
      }
    }
    if (files.contains("adapter_config.json")) {
      throw refusal(
          folder,
          "it holds an adapter beside its weights; merge the adapter into them, or move"
              + " adapter_config.json away");
    }
    ConfigJson config = ConfigJson.read(folder.resolve(CONFIG));
    requireUnquantised(config);
    config.optionalChild("text_config").ifPresent(CheckpointFolder::requireUnquantised);
    config.optionalChild("vision_config").ifPresent(CheckpointFolder::requireUnquantised);
    return new CheckpointFolder(
        folder, config, weights.map(WeightFiles::read).orElse(List.of()), parts);
  }

  /**
   * This checkpoint with another folder as one more part of it.
   *
   * @param name of the part, which prefixes the names of its tensors
   */
  public CheckpointFolder withPart(String name, CheckpointFolder part) {
    SortedMap<String, CheckpointFolder> more = new TreeMap<>(parts);
    more.put(name, part);
    return new CheckpointFolder(path, config, files, more);
  }

  /** Sub-folders that are checkpoints of their own. */
  private static SortedMap<String, CheckpointFolder> parts(Path folder, List<String> names) {
    SortedMap<String, CheckpointFolder> parts = new TreeMap<>();
    for (String name : names) {
      Path sub = folder.resolve(name);
      if (Files.isRegularFile(sub.resolve(CONFIG)) && WeightFiles.find(sub).isPresent()) {
        parts.put(name, open(sub));
      }
    }
    return parts;
  }

  public Path path() {
    return path;
  }

  /** The root of {@code config.json}. */
  public ConfigJson config() {
    return config;
  }

  /** Another JSON object of the folder, such as {@code generation_config.json}, if it is there. */
  public Optional<ConfigJson> json(String fileName) {
    Path file = path.resolve(fileName);
    return Files.exists(file, LinkOption.NOFOLLOW_LINKS)
        ? Optional.of(ConfigJson.read(file))
        : Optional.empty();
  }

  /** A part, such as a sub-folder with configuration and weights of its own. */
  public Optional<CheckpointFolder> part(String name) {
    return Optional.ofNullable(parts.get(name));
  }

  /** All tensors, under the names the files give them; those of a part begin with {@code part/}. */
  public SortedMap<String, TensorInfo> tensors() {
    return tensors;
  }

  /**
   * Numbers in the tensors a network reads.
   *
   * @param canonicalName as {@link Weights} takes it; empty for a tensor that is not read
   */
  public long elements(Function<String, Optional<String>> canonicalName) {
    return tensors.values().stream()
        .filter(tensor -> canonicalName.apply(tensor.name()).isPresent())
        .mapToLong(TensorInfo::elements)
        .sum();
  }

  /** The type that most bytes of the weights are stored in. */
  public Dtype storedDtype() {
    return storedDtype;
  }

  /**
   * Tells this checkpoint from others: a SHA-256 of its settings and of samples of its weights, in
   * hexadecimal. Does not depend on where the folder lies. Reads some megabytes at every call.
   */
  public String fingerprint() {
    SortedMap<String, String> ofParts = new TreeMap<>();
    parts.forEach((name, part) -> ofParts.put(name, part.fingerprint()));
    return Fingerprint.of(path, files, ofParts);
  }

  private static List<String> files(Path folder) {
    if (Files.isRegularFile(folder)) {
      throw refusal(
          folder,
          folder.toString().endsWith(".gguf")
              ? gguf(folder.getFileName() + "")
              : "it is a file; give the folder that holds config.json and the weights");
    }
    if (!Files.isDirectory(folder)) {
      throw refusal(folder, "there is no such folder");
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> entry.getFileName() + "").sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read checkpoint " + folder, e);
    }
  }

  private static String missingConfig(List<String> files) {
    if (files.isEmpty()) {
      return "the folder is empty";
    }
    boolean explained =
        files.contains("adapter_config.json")
            || files.stream().anyMatch(file -> isUnreadPickle(file) || file.endsWith(".gguf"));
    return explained ? missingWeights(files) : "it has no config.json, only " + shown(files);
  }

  private static String missingWeights(List<String> files) {
    if (files.stream().anyMatch(file -> file.startsWith("adapter_"))) {
      return "it holds only an adapter; merge it into its base model first "
          + "(peft: merge_and_unload, then save_pretrained)";
    }
    for (String file : files) {
      if (file.matches("pytorch_model-.*\\.bin")) {
        return "it holds %s, but no %s that says what else there must be"
            .formatted(file, WeightFiles.INDEX_OF_BIN);
      }
      if (isUnreadPickle(file)) {
        return ("its weights are pickles of a layout that is not read (%s); convert them with"
                + " transformers: from_pretrained, then save_pretrained")
            .formatted(file);
      }
    }
    for (String file : files) {
      if (file.endsWith(".gguf")) {
        return gguf(file);
      }
    }
    return "it has none of %s, only %s"
        .formatted(String.join(", ", WeightFiles.NAMES), shown(files));
  }

  private static boolean isUnreadPickle(String file) {
    return file.matches("consolidated.*\\.bin|.*\\.(pth|pt|ckpt|pkl|pickle)");
  }

  private static String gguf(String file) {
    return file + " is GGUF, which is not supported; get the safetensors checkpoint it was made of";
  }

  private static String shown(List<String> files) {
    String names = String.join(", ", files.stream().limit(SHOWN_FILES).toList());
    return StrictJson.shown(files.size() <= SHOWN_FILES ? names : names + ", ...");
  }

  private static void requireUnquantised(ConfigJson config) {
    config.requireAbsent(
        "quantization_config", "quantised weights are not supported; get the original checkpoint");
  }

  private static Dtype mostStored(Path folder, Map<String, TensorInfo> tensors) {
    Map<Dtype, Long> bytes = new EnumMap<>(Dtype.class);
    for (TensorInfo tensor : tensors.values()) {
      tensor.weightDtype().ifPresent(dtype -> bytes.merge(dtype, tensor.bytes(), Long::sum));
    }
    return bytes.entrySet().stream()
        .max(Map.Entry.comparingByValue())
        .map(Map.Entry::getKey)
        .orElseThrow(
            () ->
                refusal(
                    folder,
                    "none of its %d tensors is F32, F16 or BF16".formatted(tensors.size())));
  }

  private static IllegalArgumentException refusal(Path folder, String reason) {
    return new IllegalArgumentException("Cannot open checkpoint %s: %s".formatted(folder, reason));
  }
}
