package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.tensor.Dtype;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointFolderTest {
  private static final String SHARD_1 = "model-00001-of-00002.safetensors";
  private static final String SHARD_2 = "model-00002-of-00002.safetensors";
  private static final String INDEX = "model.safetensors.index.json";
  private static final String BIN = "pytorch_model.bin";
  private static final String BIN_1 = "pytorch_model-00001-of-00002.bin";
  private static final String BIN_2 = "pytorch_model-00002-of-00002.bin";
  private static final String BIN_INDEX = "pytorch_model.bin.index.json";

  @TempDir private Path folder;

  @Test
  void readsConfigurationAndTensors() {
    config("{\"model_type\": \"llava\"}");
    write("generation_config.json", "{\"eos_token_id\": 2}");
    new RawSafetensors()
        .floats("norm", List.of(2), 1, 2)
        .shorts("projection", "F16", List.of(2, 3), 0, 0, 0, 0, 0, 0)
        .tensor("position_ids", "I64", List.of(3), new byte[24])
        .write(weights());

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.path()).isEqualTo(folder);
    assertThat(checkpoint.config().text("model_type")).isEqualTo("llava");
    assertThat(checkpoint.json("generation_config.json").orElseThrow().integer("eos_token_id"))
        .isEqualTo(2);
    assertThat(checkpoint.json("processor_config.json")).isEmpty();
    assertThat(checkpoint.tensors()).containsOnlyKeys("norm", "position_ids", "projection");
    assertThat(checkpoint.storedDtype()).isEqualTo(Dtype.FLOAT16);
  }

  @Test
  void readsShards() {
    sharded();

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.tensors()).containsOnlyKeys("a", "b", "c");
    assertThat(checkpoint.tensors().values())
        .extracting(TensorInfo::file)
        .containsExactly(folder.resolve(SHARD_1), folder.resolve(SHARD_2), folder.resolve(SHARD_1));
  }

  @Test
  void followsLinksAsDownloadCachesHaveThem() throws IOException {
    Path blobs = Files.createDirectory(folder.resolve("blobs"));
    Path snapshot = Files.createDirectories(folder.resolve("snapshots/main"));
    new RawSafetensors().floats("a", List.of(1), 1).write(blobs.resolve("1234"));
    RawSafetensors.write(blobs.resolve("5678"), "{}");
    Files.createSymbolicLink(snapshot.resolve("model.safetensors"), Path.of("../../blobs/1234"));
    Files.createSymbolicLink(snapshot.resolve("config.json"), Path.of("../../blobs/5678"));

    assertThat(CheckpointFolder.open(snapshot).tensors()).containsOnlyKeys("a");
  }

  @Test
  void prefersTheSingleFileAsTransformersDoes() {
    sharded();
    new RawSafetensors().floats("whole", List.of(1), 1).write(weights());

    assertThat(CheckpointFolder.open(folder).tensors()).containsOnlyKeys("whole");
  }

  @Test
  void readsFoldersWithinTheFolderAsParts() throws IOException {
    config("{\"model_type\": \"llava_llama\"}");
    part("llm", "norm", 1);
    part("vision_tower", "norm", 2);
    Files.createDirectory(folder.resolve("assets"));

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.tensors()).containsOnlyKeys("llm/norm", "vision_tower/norm");
    assertThat(checkpoint.part("llm").orElseThrow().config().text("name")).isEqualTo("llm");
    assertThat(checkpoint.part("assets")).isEmpty();
  }

  @Test
  void takesAFolderFromElsewhereAsAPart() throws IOException {
    config("{}");
    new RawSafetensors().floats("norm", List.of(1), 1).write(weights());
    part("elsewhere", "norm", 2);
    CheckpointFolder whole = CheckpointFolder.open(folder);

    CheckpointFolder joined =
        whole.withPart("vision_tower", CheckpointFolder.open(folder.resolve("elsewhere")));

    assertThat(joined.tensors()).containsOnlyKeys("norm", "vision_tower/norm");
    assertThat(joined.fingerprint()).isNotEqualTo(whole.fingerprint());
    assertThat(whole.part("elsewhere")).as("beside weights, folders are no parts").isEmpty();
  }

  @Test
  void fingerprintsEveryPart() throws IOException {
    config("{}");
    part("llm", "norm", 1);
    part("vision_tower", "norm", 2);
    String before = CheckpointFolder.open(folder).fingerprint();
    assertThat(CheckpointFolder.open(folder).fingerprint()).isEqualTo(before);

    new RawSafetensors()
        .floats("norm", List.of(1), 3)
        .write(folder.resolve("vision_tower/model.safetensors"));

    assertThat(CheckpointFolder.open(folder).fingerprint()).isNotEqualTo(before);
  }

  private void part(String name, String tensor, float value) throws IOException {
    Path sub = Files.createDirectory(folder.resolve(name));
    Files.writeString(sub.resolve("config.json"), "{\"name\": \"%s\"}".formatted(name));
    new RawSafetensors().floats(tensor, List.of(1), value).write(sub.resolve("model.safetensors"));
  }

  @Test
  void readsPartsThatTorchSaved() throws IOException {
    config("{}");
    part("llm", "norm", 1);
    Path tower = Files.createDirectory(folder.resolve("vision_tower"));
    Files.writeString(tower.resolve("config.json"), "{}");
    RawTorchFile.of(Map.of("norm", new float[] {2})).write(tower.resolve(BIN));

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.tensors()).containsOnlyKeys("llm/norm", "vision_tower/norm");
    assertThat(checkpoint.tensors().get("vision_tower/norm"))
        .extracting(TensorInfo::file)
        .isEqualTo(tower.resolve(BIN));
  }

  @Test
  void readsWhatTorchSaved() throws IOException {
    config("{}");
    Files.copy(Path.of("src/test/resources/golden/pickles/mixed.bin"), folder.resolve(BIN));

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.tensors()).hasSize(21).containsKeys("whole", "same", "position_ids");
    assertThat(checkpoint.tensors().values()).allMatch(tensor -> tensor.file().endsWith(BIN));
    assertThat(checkpoint.storedDtype()).isEqualTo(Dtype.FLOAT32);
  }

  @Test
  void readsShardsOfTorch() {
    shardedBin();

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThat(checkpoint.tensors()).containsOnlyKeys("a", "b", "c");
    assertThat(checkpoint.tensors().values())
        .extracting(TensorInfo::file)
        .containsExactly(folder.resolve(BIN_1), folder.resolve(BIN_2), folder.resolve(BIN_1));
  }

  @Test
  void prefersSafetensorsAsTransformersDoes() throws IOException {
    sharded();
    shardedBin();
    new RawSafetensors().floats("whole", List.of(1), 1).write(weights());
    RawTorchFile.of(Map.of("bin", new float[] {1})).write(folder.resolve(BIN));

    assertThat(CheckpointFolder.open(folder).tensors()).containsOnlyKeys("whole");
    Files.delete(weights());
    assertThat(CheckpointFolder.open(folder).tensors().get("a"))
        .extracting(TensorInfo::file)
        .isEqualTo(folder.resolve(SHARD_1));
    Files.delete(folder.resolve(INDEX));
    assertThat(CheckpointFolder.open(folder).tensors()).containsOnlyKeys("bin");
    Files.delete(folder.resolve(BIN));
    assertThat(CheckpointFolder.open(folder).tensors().get("a"))
        .extracting(TensorInfo::file)
        .isEqualTo(folder.resolve(BIN_1));
  }

  @ParameterizedTest
  @ValueSource(strings = {"../pytorch_model.bin", "model.safetensors", "sub/model.bin", "bin", ""})
  void refusesAnIndexOfTorchThatLeavesTheFolder(String file) {
    config("{}");
    write(BIN_INDEX, "{\"weight_map\": {\"a\": \"%s\"}}".formatted(file));

    assertRefused(
        BIN_INDEX,
        "weight_map must name .bin files of the folder itself, not '%s'".formatted(file));
  }

  @Test
  void refusesAShardOfTorchThatContradictsTheIndex() throws IOException {
    shardedBin();
    RawTorchFile.of(Map.of("b", new float[1], "extra", new float[1])).write(folder.resolve(BIN_2));
    assertRefused(BIN_INDEX, BIN_2 + " holds extra, which it does not place there");

    RawTorchFile.of(Map.of("a", new float[1])).write(folder.resolve(BIN_2));
    assertRefused(BIN_INDEX, "it places b in " + BIN_2 + ", which does not hold it");

    Files.delete(folder.resolve(BIN_2));
    assertRefused(BIN_INDEX, "it places 1 tensors in " + BIN_2 + ", which is not in the folder");
  }

  @Test
  void refusesAHostilePickle() throws IOException {
    config("{}");
    Files.copy(Path.of("src/test/resources/golden/pickles/hostile.bin"), folder.resolve(BIN));

    assertRefused(BIN, "its pickle calls posix.system, and only tensors are allowed");
  }

  @Test
  void refusesShardsOfTorchWithoutIndex() {
    config("{}");
    write(BIN_1, "");

    assertUnusable(
        "it holds " + BIN_1 + ", but no " + BIN_INDEX + " that says what else there must be");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\\\model.safetensors",
        "pytorch_model.bin",
        "..",
        ""
      })
  void refusesAnIndexThatLeavesTheFolder(String file) {
    config("{}");
    write(INDEX, "{\"weight_map\": {\"a\": \"%s\"}}".formatted(file));

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage(
            "Cannot read %s: weight_map must name .safetensors files of the folder itself, not '%s'"
                .formatted(folder.resolve(INDEX), file.replace("\\\\", "\\")));
  }

  @Test
  void refusesAnIndexWhoseNamesBreakLines() {
    config("{}");
    write(INDEX, "{\"weight_map\": {\"a\": \"model.safetensors\\n\"}}");

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage(
            "%s: weight_map.a must be a string of at most 300 printable characters, not"
                + " \"model.safetensors\\n\"",
            INDEX);
  }

  @Test
  void refusesAMissingShard() throws IOException {
    sharded();
    Files.delete(folder.resolve(SHARD_1));

    assertRefused(INDEX, "it places 2 tensors in " + SHARD_1 + ", which is not in the folder");
  }

  @Test
  void refusesAShardWithoutItsTensor() {
    sharded();
    new RawSafetensors().floats("a", List.of(1), 1).write(folder.resolve(SHARD_1));

    assertRefused(INDEX, "it places c in " + SHARD_1 + ", which does not hold it");
  }

  @Test
  void refusesATensorTheIndexDoesNotList() {
    sharded();
    new RawSafetensors()
        .floats("b", List.of(1), 1)
        .floats("extra", List.of(1), 1)
        .write(folder.resolve(SHARD_2));

    assertRefused(INDEX, SHARD_2 + " holds extra, which it does not place there");
  }

  @Test
  void refusesATensorInTwoShards() {
    sharded();
    new RawSafetensors()
        .floats("a", List.of(1), 1)
        .floats("b", List.of(1), 1)
        .write(folder.resolve(SHARD_2));

    assertRefused(INDEX, SHARD_2 + " holds a, which it does not place there");
  }

  @Test
  void refusesADamagedShard() {
    sharded();
    new RawSafetensors().floats("b", List.of(2), 1, 2).data(2).write(folder.resolve(SHARD_2));

    assertRefused(SHARD_2, "bytes [8, 10) of its data belong to no tensor");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{}                      | weight_map must be an object, but is missing",
        "{\"weight_map\": 3}     | weight_map must be an object, not 3",
        "{\"weight_map\": {\"a\": 1}} | weight_map.a must be a string, not 1"
      })
  void refusesAnIndexWithoutAMap(String index, String reason) {
    config("{}");
    write(INDEX, index);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage(INDEX + ": " + reason);
  }

  @Test
  void refusesAnEmptyIndex() {
    config("{}");
    write(INDEX, "{\"weight_map\": {}}");

    assertUnusable("none of its 0 tensors is F32, F16 or BF16");
  }

  @Test
  void refusesAFolderThatIsNotThere() {
    Path absent = folder.resolve("absent");

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(absent))
        .withMessage("Cannot open checkpoint %s: there is no such folder".formatted(absent));
  }

  @Test
  void refusesAnEmptyFolder() {
    assertUnusable("the folder is empty");
  }

  @Test
  void refusesAFile() {
    Path file = new RawSafetensors().floats("a", List.of(1), 1).write(weights());

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(file))
        .withMessage(
            "Cannot open checkpoint %s: it is a file; give the folder that holds config.json and"
                + " the weights",
            file);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"consolidated.00.pth", "consolidated.bin", "model.pt", "model.pkl", "last.ckpt"})
  void refusesPicklesOfOtherLayouts(String file) {
    write(file, "such a pickle is never opened");
    String reason =
        "its weights are pickles of a layout that is not read (%s); convert them with"
                .formatted(file)
            + " transformers: from_pretrained, then save_pretrained";

    assertUnusable(reason);
    config("{}");
    assertUnusable(reason);
  }

  @Test
  void ignoresPicklesBesideSafetensors() {
    config("{}");
    write(BIN, "a pickle that is not needed is never opened");
    write("training_args.bin", "nor is this one");
    new RawSafetensors().floats("a", List.of(1), 1).write(weights());

    assertThat(CheckpointFolder.open(folder).tensors()).containsOnlyKeys("a");
  }

  @Test
  void refusesAdapters() {
    write("adapter_config.json", "{}");
    write("adapter_model.safetensors", "");
    write("adapter_model.bin", "");

    assertUnusable(
        "it holds only an adapter; merge it into its base model first "
            + "(peft: merge_and_unload, then save_pretrained)");
    config("{}");
    assertUnusable(
        "it holds only an adapter; merge it into its base model first "
            + "(peft: merge_and_unload, then save_pretrained)");
  }

  @Test
  void refusesAnAdapterBesideWeights() {
    config("{}");
    new RawSafetensors().floats("a", List.of(1), 1).write(weights());
    write("adapter_config.json", "{}");

    assertUnusable(
        "it holds an adapter beside its weights; merge the adapter into them, or move"
            + " adapter_config.json away");
  }

  @Test
  void refusesGguf() {
    write("llava-q4.gguf", "GGUF");
    String reason =
        "llava-q4.gguf is GGUF, which is not supported; get the safetensors checkpoint it was made"
            + " of";

    assertUnusable(reason);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder.resolve("llava-q4.gguf")))
        .withMessage("Cannot open checkpoint %s: %s", folder.resolve("llava-q4.gguf"), reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"quantization_config\": {\"bits\": 4}} | quantization_config",
        "{\"text_config\": {\"quantization_config\": {\"bits\": 4}}}"
            + " | text_config.quantization_config",
        "{\"vision_config\": {\"quantization_config\": {\"bits\": 4}}}"
            + " | vision_config.quantization_config"
      })
  void refusesQuantisedWeights(String config, String key) {
    config(config);
    new RawSafetensors().floats("a", List.of(1), 1).write(weights());

    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage(
            "config.json: %s must be absent, not {\"bits\":4}: quantised weights are not supported;"
                    .formatted(key)
                + " get the original checkpoint");
  }

  @Test
  void refusesAFolderWithoutWeights() {
    config("{}");
    write("consolidated.safetensors", "");

    assertUnusable(
        "it has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin,"
            + " pytorch_model.bin.index.json, only config.json, consolidated.safetensors");
  }

  @Test
  void refusesAFolderWithoutConfiguration() {
    for (int i = 0; i < 12; i++) {
      write("file%02d".formatted(i), "");
    }

    assertUnusable(
        "it has no config.json, only file00, file01, file02, file03, file04, file05, file06,"
            + " file07, ...");
  }

  @Test
  void refusesIntegersAsWeights() {
    config("{}");
    new RawSafetensors().tensor("a", "I8", List.of(2), new byte[2]).write(weights());

    assertUnusable("none of its 1 tensors is F32, F16 or BF16");
  }

  @Test
  void fingerprintDoesNotDependOnThePlace() throws IOException {
    sharded();
    String fingerprint = CheckpointFolder.open(folder).fingerprint();
    Path copy = Files.createDirectory(folder.resolve("copy"));
    for (String file : List.of("config.json", INDEX, SHARD_1, SHARD_2)) {
      Files.copy(folder.resolve(file), copy.resolve(file));
    }

    assertThat(fingerprint).matches("[0-9a-f]{64}");
    assertThat(CheckpointFolder.open(copy).fingerprint()).isEqualTo(fingerprint);
  }

  @Test
  void fingerprintSeesEverySmallChange() throws IOException {
    sharded();
    String original = CheckpointFolder.open(folder).fingerprint();

    byte[] shard = Files.readAllBytes(folder.resolve(SHARD_2));
    shard[shard.length - 1]++;
    Files.write(folder.resolve(SHARD_2), shard);
    String otherData = CheckpointFolder.open(folder).fingerprint();
    config("{\"a\": 1}");
    String otherConfig = CheckpointFolder.open(folder).fingerprint();
    write("tokenizer.json", "{}");
    String otherTokenizer = CheckpointFolder.open(folder).fingerprint();
    write("README.md", "# Nothing that decides an answer");
    String otherReadme = CheckpointFolder.open(folder).fingerprint();

    assertThat(List.of(original, otherData, otherConfig, otherTokenizer)).doesNotHaveDuplicates();
    assertThat(otherReadme).isEqualTo(otherTokenizer);
  }

  @Test
  void fingerprintSamplesEveryTensorOfALargeFile() throws IOException {
    config("{}");
    long megabyte = 1 << 20;
    RawSafetensors raw = new RawSafetensors();
    for (int i = 0; i < 100; i++) {
      raw.member(
          "t%02d".formatted(i),
          "{\"dtype\":\"F32\",\"shape\":[262144],\"data_offsets\":[%d,%d]}"
              .formatted(i * megabyte, (i + 1) * megabyte));
    }
    raw.write(weights());
    try (RandomAccessFile sparse = new RandomAccessFile(weights().toFile(), "rw")) {
      sparse.setLength(sparse.length() + 100 * megabyte);
    }
    String original = CheckpointFolder.open(folder).fingerprint();
    for (TensorInfo tensor : CheckpointFolder.open(folder).tensors().values()) {
      poke(tensor.begin() + 100, 1);
      assertThat(CheckpointFolder.open(folder).fingerprint()).isNotEqualTo(original);
      poke(tensor.begin() + 100, 0);
    }
    assertThat(CheckpointFolder.open(folder).fingerprint()).isEqualTo(original);
  }

  @Test
  void fingerprintSeesEveryChangeOfWhatTorchSaved() throws IOException {
    config("{}");
    Path bin = folder.resolve(BIN);
    Files.copy(Path.of("src/test/resources/golden/pickles/mixed.bin"), bin);
    byte[] original = Files.readAllBytes(bin);
    WeightFile weights = PickledTensors.read(bin);
    Set<String> fingerprints = new HashSet<>();
    fingerprints.add(CheckpointFolder.open(folder).fingerprint());
    int changes = 0;
    for (TensorInfo tensor : weights.tensors().values()) {
      if (tensor.bytes() > 0) {
        byte[] changed = original.clone();
        changed[(int) tensor.begin()] += (byte) (64 + changes);
        Files.write(bin, changed);
        fingerprints.add(CheckpointFolder.open(folder).fingerprint());
        changes++;
      }
    }
    byte[] renamed = original.clone();
    renamed[new String(original, StandardCharsets.ISO_8859_1).indexOf("whole")] = 'W';
    Files.write(bin, renamed);
    fingerprints.add(CheckpointFolder.open(folder).fingerprint());

    assertThat(fingerprints).hasSize(changes + 2).hasSizeGreaterThan(20);
    Files.write(bin, original);
    assertThat(fingerprints).contains(CheckpointFolder.open(folder).fingerprint());
  }

  /** Two tensors are the same bytes, and the third is a piece of them. */
  @Test
  void fingerprintSamplesEveryTensorOfALargeFileOfTorch() throws IOException {
    config("{}");
    long elements = 25 << 20;
    RawPickle pickle = new RawPickle().op("}");
    for (int i = 0; i < 2; i++) {
      RawPickle storage = new RawPickle().floats("" + i, elements);
      long[] stride = {1};
      pickle.text("all" + i).tensor(storage, 0, new long[] {elements}, stride).op("s");
      pickle.text("same" + i).tensor(storage, 0, new long[] {elements}, stride).op("s");
      pickle.text("piece" + i).tensor(storage, 123_456, new long[] {1000}, stride).op("s");
    }
    RawTorchFile.of(pickle.end())
        .sparse("0", elements * Float.BYTES)
        .sparse("1", elements * Float.BYTES)
        .write(folder.resolve(BIN));
    String original = CheckpointFolder.open(folder).fingerprint();
    for (TensorInfo tensor : CheckpointFolder.open(folder).tensors().values()) {
      poke(folder.resolve(BIN), tensor.begin() + 100, 1);
      assertThat(CheckpointFolder.open(folder).fingerprint()).isNotEqualTo(original);
      poke(folder.resolve(BIN), tensor.begin() + 100, 0);
    }
    assertThat(CheckpointFolder.open(folder).fingerprint()).isEqualTo(original);
  }

  private void poke(long position, int value) throws IOException {
    poke(weights(), position, value);
  }

  private static void poke(Path weights, long position, int value) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
      file.seek(position);
      file.write(value);
    }
  }

  private void sharded() {
    config("{}");
    write(
        INDEX,
        "{\"metadata\": {\"total_size\": 12}, \"weight_map\": {\"a\": \"%s\", \"b\": \"%s\", \"c\": \"%s\"}}"
            .formatted(SHARD_1, SHARD_2, SHARD_1));
    new RawSafetensors()
        .floats("a", List.of(1), 1)
        .floats("c", List.of(1), 3)
        .write(folder.resolve(SHARD_1));
    new RawSafetensors().floats("b", List.of(1), 2).write(folder.resolve(SHARD_2));
  }

  private void shardedBin() {
    config("{}");
    write(
        BIN_INDEX,
        "{\"weight_map\": {\"a\": \"%s\", \"b\": \"%s\", \"c\": \"%s\"}}"
            .formatted(BIN_1, BIN_2, BIN_1));
    RawTorchFile.of(Map.of("a", new float[] {1}, "c", new float[] {3}))
        .write(folder.resolve(BIN_1));
    RawTorchFile.of(Map.of("b", new float[] {2})).write(folder.resolve(BIN_2));
  }

  private Path weights() {
    return folder.resolve("model.safetensors");
  }

  private void config(String json) {
    write("config.json", json);
  }

  private void write(String file, String content) {
    RawSafetensors.write(folder.resolve(file), content);
  }

  private void assertUnusable(String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage("Cannot open checkpoint " + folder + ": " + reason);
  }

  private void assertRefused(String file, String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> CheckpointFolder.open(folder))
        .withMessage("Cannot read " + folder.resolve(file) + ": " + reason);
  }
}
