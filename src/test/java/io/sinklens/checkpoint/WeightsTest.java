package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class WeightsTest {
  private static final long MEGABYTE = 1 << 20;
  private static final int[] HALVES = {0x3c00, 0xc000, 0x3555, 0x0001, 0x7bff, 0x8000};
  private static final float[] HALF_VALUES = {1, -2, 0x1.554p-2f, 0x1p-24f, 65504, -0f};
  private static final int[] BFLOATS = {0x3f80, 0xc000, 0x3eab, 0x0001, 0x7f7f, 0x8000};
  private static final float[] BFLOAT_VALUES = {1, -2, 0x1.56p-2f, 0x1p-133f, 0x1.fep127f, -0f};

  @TempDir private Path folder;
  @TempDir private Path cache;
  private Operators operators = Operators.load(TestDevice.get());

  @BeforeEach
  void writeConfig() {
    RawSafetensors.write(folder.resolve("config.json"), "{}");
  }

  @AfterEach
  void close() {
    operators.close();
  }

  @ParameterizedTest
  @EnumSource
  void readsEveryTypeAsEveryType(Dtype wanted) throws IOException {
    mixed().write(weightsFile());

    Weights weights = open(wanted);

    assertThat(values(weights.get("wide", 2, 3))).containsExactly(1, -2, 0.5f, 4, 1024, -0f);
    if (wanted == Dtype.BFLOAT16) {
      assertThat(values(weights.get("half", 6)))
          .containsExactly(1, -2, 0x1.56p-2f, 0x1p-24f, 65536, -0f);
    } else {
      assertThat(values(weights.get("half", 6))).containsExactly(HALF_VALUES);
    }
    if (wanted == Dtype.FLOAT16) {
      assertThat(values(weights.get("brain", 3, 2)))
          .containsExactly(1, -2, 0x1.56p-2f, 0, Float.POSITIVE_INFINITY, -0f);
    } else {
      assertThat(values(weights.get("brain", 3, 2))).containsExactly(BFLOAT_VALUES);
    }
    weights.requireAllUsed();
    assertThat(cachedFiles()).isEmpty();
  }

  @ParameterizedTest
  @EnumSource
  void readsTensorsOffTheirAlignment(Dtype wanted) {
    unaligned(mixed()).write(weightsFile());
    CheckpointFolder checkpoint = CheckpointFolder.open(folder);
    assertThat(checkpoint.tensors().values()).allMatch(tensor -> tensor.begin() % 2 == 1);

    Weights weights = open(wanted);

    assertThat(values(weights.get("wide", 2, 3))).containsExactly(1, -2, 0.5f, 4, 1024, -0f);
    assertThat(values(weights.get("half", 6))).startsWith(1, -2).endsWith(-0f);
    assertThat(values(weights.get("brain", 3, 2))).startsWith(1, -2).endsWith(-0f);
  }

  /** What Java had for such a tensor must be nobody's business once it is read. */
  @Test
  void keepsTensorsOffTheirAlignmentWhenJavaFreesItsOwn() throws InterruptedException {
    int elements = 1 << 20;
    float[] ones = new float[elements];
    Arrays.fill(ones, 1);
    unaligned(new RawSafetensors().floats("large", List.of(elements), ones)).write(weightsFile());
    ConvertedWeights notConverted = new ConvertedWeights(cache, 100 * MEGABYTE);
    NDArray large = open(Optional::of, Dtype.FLOAT32, notConverted).get("large", elements);

    List<ByteBuffer> others = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      System.gc();
      Thread.sleep(20);
      ByteBuffer other = ByteBuffer.allocateDirect(Float.BYTES * elements);
      while (other.hasRemaining()) {
        other.putFloat(Float.NaN);
      }
      others.add(other);
    }

    assertThat(others).hasSize(8);
    assertThat(Arrays.mismatch(large.toFloatArray(), ones)).isEqualTo(-1);
  }

  @Test
  void readsShards() {
    sharded();

    Weights weights = open(Dtype.FLOAT32);

    assertThat(values(weights.get("a", 2))).containsExactly(1, 2);
    assertThat(values(weights.get("b", 2))).containsExactly(3, 4);
  }

  @Test
  void convertsEachShardIntoItsOwnFile() {
    sharded();

    Weights weights = open(Optional::of, Dtype.BFLOAT16, new ConvertedWeights(cache, 1));

    assertThat(values(weights.get("a", 2))).containsExactly(1, 2);
    assertThat(values(weights.get("b", 2))).containsExactly(3, 4);
    assertThat(cachedFiles())
        .extracting(file -> file.getFileName().toString())
        .containsExactlyInAnyOrder("1.safetensors", "2.safetensors");
  }

  @Test
  void readsScalarsAndFoldersWithUncommonNames() throws IOException {
    Path uncommon = Files.createDirectory(folder.resolve("modèle 模型"));
    RawSafetensors.write(uncommon.resolve("config.json"), "{}");
    new RawSafetensors()
        .floats("scalar", List.of(), 7)
        .floats("none", List.of(0, 3))
        .write(uncommon.resolve("model.safetensors"));

    Weights weights =
        Weights.open(CheckpointFolder.open(uncommon), Optional::of, operators, Dtype.FLOAT32);

    assertThat(values(weights.get("scalar"))).containsExactly(7);
    assertThat(weights.get("none", 0, 3).getShape()).isEqualTo(new Shape(0, 3));
  }

  @ParameterizedTest
  @EnumSource
  void mapsWithoutReading(Dtype dtype) throws IOException {
    long elements = 3000 * MEGABYTE / dtype.bytes();
    String entry =
        "{\"dtype\":\"%s\",\"shape\":[3000,%d],\"data_offsets\":[0,%d]}"
            .formatted(dtype.safetensorsName(), elements / 3000, elements * dtype.bytes());
    aligned(new RawSafetensors().member("large", entry)).write(weightsFile());
    try (RandomAccessFile sparse = new RandomAccessFile(weightsFile().toFile(), "rw")) {
      sparse.setLength(sparse.length() + elements * dtype.bytes());
      sparse.seek(sparse.length() - dtype.bytes());
      byte[] one = {0, 0, (byte) 0x80, 0x3f}; // 1 in float32, its end in bfloat16.
      byte[] half = {0, 0x3c};
      sparse.write(
          dtype == Dtype.FLOAT16 ? half : one, dtype == Dtype.BFLOAT16 ? 2 : 0, dtype.bytes());
    }
    Weights weights = open(dtype);
    long before = anonymousBytes();

    NDArray large = weights.get("large", 3000, elements / 3000);

    NDArray flat = operators.viewRange(large, 2999, 3000, new Shape(elements / 3000));
    NDArray end = operators.viewRange(flat, elements / 3000 - 2, elements / 3000, new Shape(2));
    assertThat(values(end)).containsExactly(0, 1);
    assertThat(anonymousBytes() - before).isLessThan(32 * MEGABYTE);
    assertThat(weights.bytes()).isEqualTo(3000 * MEGABYTE);
  }

  @Test
  void convertsALargeCheckpointOnce() throws IOException {
    mixed().write(weightsFile());
    ConvertedWeights converted = new ConvertedWeights(cache.resolve("new"), 1);

    Weights first = open(Optional::of, Dtype.BFLOAT16, converted);

    Path file = onlyCachedFile();
    assertThat(file)
        .isEqualTo(
            cache
                .resolve("new")
                .resolve(CheckpointFolder.open(folder).fingerprint() + "-bf16")
                .resolve("model.safetensors"));
    SafetensorsHeader header = SafetensorsHeader.read(file);
    assertThat(header.tensors().values())
        .extracting(TensorInfo::describe)
        .containsExactly("BF16 [6]", "BF16 [2, 3]");
    assertThat(values(first.get("wide", 2, 3))).containsExactly(1, -2, 0.5f, 4, 1024, -0f);
    assertThat(values(first.get("half", 6)))
        .containsExactly(1, -2, 0x1.56p-2f, 0x1p-24f, 65536, -0f);
    assertThat(values(first.get("brain", 3, 2))).containsExactly(BFLOAT_VALUES);

    // A planted value shows that the second opening takes the file as it is.
    poke(file, begin(file, "wide"), 0x40, 0x40);
    Weights second = open(Optional::of, Dtype.BFLOAT16, converted);
    assertThat(values(second.get("wide", 2, 3))).startsWith(3);
    assertThat(onlyCachedFile()).isEqualTo(file);
  }

  @Test
  void convertsPartsWhoseFilesHaveOneName() throws IOException {
    new RawSafetensors().floats("a", List.of(2), 1, 2).write(weightsFile());
    Path sub = Files.createDirectory(folder.resolve("tower"));
    Files.writeString(sub.resolve("config.json"), "{}");
    new RawSafetensors().floats("a", List.of(2), 3, 4).write(sub.resolve("model.safetensors"));
    CheckpointFolder joined =
        CheckpointFolder.open(folder).withPart("tower", CheckpointFolder.open(sub));

    for (int opening = 0; opening < 2; opening++) {
      Weights weights =
          Weights.open(
              joined, Optional::of, operators, Dtype.BFLOAT16, new ConvertedWeights(cache, 1));
      assertThat(values(weights.get("a", 2))).containsExactly(1, 2);
      assertThat(values(weights.get("tower/a", 2))).containsExactly(3, 4);
    }
    assertThat(cachedFiles()).hasSize(2);
  }

  @Test
  void convertsTensorsOfManyChunks() {
    float[] many = new float[700_001];
    for (int i = 0; i < many.length; i++) {
      many[i] = i % 2048;
    }
    new RawSafetensors().floats("many", List.of(700_001), many).write(weightsFile());

    Weights weights = open(Optional::of, Dtype.FLOAT16, new ConvertedWeights(cache, 1));

    assertThat(values(weights.get("many", 700_001))).isEqualTo(many);
    assertThat(cachedFiles()).hasSize(1);
  }

  @Test
  void convertsAgainWhenTheCheckpointWasWrittenAgain() throws IOException {
    mixed().write(weightsFile());
    ConvertedWeights converted = new ConvertedWeights(cache, 1);
    Weights unused = open(Optional::of, Dtype.FLOAT32, converted);
    assertThat(unused.has("wide")).isTrue();
    Path file = onlyCachedFile();
    poke(file, begin(file, "half"), 0x40, 0x40);
    Files.setLastModifiedTime(weightsFile(), FileTime.fromMillis(1_700_000_000_000L));

    Weights weights = open(Optional::of, Dtype.FLOAT32, converted);

    assertThat(values(weights.get("half", 6))).containsExactly(HALF_VALUES);
    assertThat(onlyCachedFile()).isEqualTo(file);
  }

  @Test
  void convertsAgainWhenTheFileIsDamaged() throws IOException {
    mixed().write(weightsFile());
    ConvertedWeights converted = new ConvertedWeights(cache, 1);
    Weights unused = open(Optional::of, Dtype.FLOAT32, converted);
    assertThat(unused.has("wide")).isTrue();
    Path file = onlyCachedFile();
    try (RandomAccessFile damaged = new RandomAccessFile(file.toFile(), "rw")) {
      damaged.setLength(damaged.length() - 1);
    }

    Weights weights = open(Optional::of, Dtype.FLOAT32, converted);

    assertThat(values(weights.get("half", 6))).containsExactly(HALF_VALUES);
  }

  @Test
  void convertsNothingThatIsStoredAsWanted() {
    aligned(new RawSafetensors().floats("a", List.of(2), 1, 2)).write(weightsFile());

    Weights weights = open(Optional::of, Dtype.FLOAT32, new ConvertedWeights(cache, 0));

    assertThat(values(weights.get("a", 2))).containsExactly(1, 2);
    assertThat(cachedFiles()).isEmpty();
  }

  @Test
  void refusesToConvertWithoutSpace() {
    ConvertedWeights converted = new ConvertedWeights(Path.of("/full"), 1);

    converted.requireSpace(100, 100);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> converted.requireSpace(100, 99))
        .withMessage(
            "Cannot convert weights in /full: 100 bytes are needed, 99 are free "
                + "(another folder can be given as SINKLENS_CACHE)");
  }

  @Test
  void cachesWhereTheEnvironmentSays() {
    String home = System.getProperty("user.home");
    assertThat(CacheFolder.of(Map.of())).isEqualTo(Path.of(home, ".cache/sinklens"));
    assertThat(CacheFolder.of(Map.of("XDG_CACHE_HOME", "/x"))).isEqualTo(Path.of("/x/sinklens"));
    assertThat(CacheFolder.of(Map.of("XDG_CACHE_HOME", "/x", "SINKLENS_CACHE", "/y")))
        .isEqualTo(Path.of("/y"));
  }

  @ParameterizedTest
  @EnumSource
  void readsTheSameFromTorchAsFromSafetensors(Dtype wanted) throws IOException {
    Path golden = Path.of("src/test/resources/golden/pickles");
    Path pickled = Files.createDirectory(folder.resolve("pickled"));
    RawSafetensors.write(pickled.resolve("config.json"), "{}");
    Files.copy(golden.resolve("mixed.bin"), pickled.resolve("pytorch_model.bin"));
    Files.copy(golden.resolve("mixed.safetensors"), weightsFile());
    CheckpointFolder checkpoint = CheckpointFolder.open(pickled);
    List<TensorInfo> tensors =
        checkpoint.tensors().values().stream()
            .filter(tensor -> tensor.weightDtype().isPresent())
            .toList();
    Function<String, Optional<String>> floating =
        name -> Optional.of(name).filter(n -> tensors.stream().anyMatch(t -> t.name().equals(n)));

    Weights expected = open(floating, wanted);
    Weights inMemory =
        Weights.open(
            checkpoint, floating, operators, wanted, new ConvertedWeights(cache, MEGABYTE));
    Weights cached =
        Weights.open(checkpoint, floating, operators, wanted, new ConvertedWeights(cache, 1));

    assertThat(tensors).hasSize(14);
    for (TensorInfo tensor : tensors) {
      long[] shape = tensor.shape().stream().mapToLong(Long::longValue).toArray();
      float[] values = values(expected.get(tensor.name(), shape));
      assertThat(values(inMemory.get(tensor.name(), shape))).as(tensor.name()).isEqualTo(values);
      assertThat(values(cached.get(tensor.name(), shape))).as(tensor.name()).isEqualTo(values);
    }
    assertThat(values(inMemory.get("rows", 3, 4)))
        .containsExactly(
            0, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f, 0.75f, 0.875f, 1, 1.125f, 1.25f, 1.375f);
    inMemory.requireAllUsed();
    assertThat(onlyCachedFile())
        .isEqualTo(
            cache
                .resolve(
                    checkpoint.fingerprint()
                        + "-"
                        + wanted.safetensorsName().toLowerCase(Locale.ROOT))
                .resolve("pytorch_model.bin.safetensors"));
    assertThat(SafetensorsHeader.read(onlyCachedFile()).tensors().values())
        .isNotEmpty()
        .allMatch(tensor -> tensor.dtype().equals(wanted.safetensorsName()));
  }

  @Test
  void mapsWhatTorchSavedWithoutReading() throws IOException {
    Path bin = folder.resolve("pytorch_model.bin");
    long[] shape = {1500, 1 << 20};
    long elements = shape[0] * shape[1];
    RawPickle storage = new RawPickle().floats("0", elements);
    RawPickle pickle =
        new RawPickle()
            .op("}")
            .text("large")
            .tensor(storage, 0, shape, new long[] {1 << 20, 1})
            .op("s")
            .text("end")
            .tensor(storage, elements - 2, new long[] {2}, new long[] {1})
            .op("s");
    RawTorchFile.of(pickle.end())
        .sparse("0", elements * Float.BYTES, (byte) 0, (byte) 0, (byte) 0x80, (byte) 0x3f)
        .write(bin);
    Weights weights = open(Dtype.FLOAT32);
    long before = anonymousBytes();

    NDArray large = weights.get("large", shape);

    assertThat(values(weights.get("end", 2))).containsExactly(0, 1);
    assertThat(large.getShape()).isEqualTo(new Shape(shape));
    assertThat(anonymousBytes() - before).isLessThan(32 * MEGABYTE);
    assertThat(Files.size(bin)).isGreaterThan(5L << 30);
  }

  @Test
  void readsWhatTorchSavedOffItsAlignment() {
    Path bin = folder.resolve("pytorch_model.bin");
    RawTorchFile.of(Map.of("a", new float[] {1, -2})).shifted(3).write(bin);
    TensorInfo tensor = CheckpointFolder.open(folder).tensors().get("a");

    assertThat(Objects.requireNonNull(tensor).begin() % 64).isEqualTo(3);
    assertThat(values(open(Dtype.FLOAT32).get("a", 2))).containsExactly(1, -2);
  }

  @Test
  void findsTensorsByCanonicalName() {
    layers().write(weightsFile());

    Weights weights = open(WeightsTest::canonical, Dtype.FLOAT32);
    Weights layer = weights.under("lm").under("layers.1");

    assertThat(values(layer.get("q.weight", 1))).containsExactly(2);
    assertThat(layer.has("q.weight")).isTrue();
    assertThat(layer.has("q.bias")).isFalse();
    assertThat(weights.has("lm.layers.1.q.weight")).isTrue();
    assertThat(weights.has("language_model.layers.1.q.weight")).isFalse();
    assertThat(weights.bytes()).isEqualTo(12);
    assertThat(layer.bytes()).isEqualTo(4);
  }

  @Test
  void givesOneArrayForOneTensor() {
    mixed().write(weightsFile());
    Weights weights = open(Dtype.BFLOAT16);

    assertThat(weights.get("half", 6)).isSameAs(weights.get("half", 6));
  }

  @Test
  void saysWhatThereIsInsteadOfAMissingTensor() {
    layers().write(weightsFile());
    Weights weights = open(WeightsTest::canonical, Dtype.FLOAT32);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> weights.under("lm.layers.0").get("k.weight", 1))
        .withMessage(
            "Cannot find tensor lm.layers.0.k.weight in checkpoint %s: under lm.layers.0. it has"
                + " [lm.layers.0.q.weight]",
            folder);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> weights.get("lm.layers.7.mlp.up.weight", 1))
        .withMessageEndingWith(
            "under lm.layers. it has [lm.layers.0.q.weight, lm.layers.1.q.weight]");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> weights.get("head", 1))
        .withMessageEndingWith(
            "at its root it has [lm.layers.0.q.weight, lm.layers.1.q.weight, lm.norm]");
  }

  @Test
  void listsOnlySomeOfManyTensors() {
    RawSafetensors raw = new RawSafetensors();
    IntStream.range(0, 9).forEach(i -> raw.floats("t" + i, List.of(1), i));
    raw.write(weightsFile());
    Weights weights = open(Dtype.FLOAT32);
    String eight = "[t0, t1, t2, t3, t4, t5, t6, t7, ...]";

    assertThatIllegalArgumentException()
        .isThrownBy(() -> weights.get("t", 1))
        .withMessageEndingWith("at its root it has " + eight);
    assertThatIllegalArgumentException()
        .isThrownBy(weights::requireAllUsed)
        .withMessage(
            "Cannot use checkpoint %s: 9 of its tensors have no place in the model: %s",
            folder, eight);
  }

  @Test
  void refusesAnotherShape() {
    mixed().write(weightsFile());

    assertThatIllegalArgumentException()
        .isThrownBy(() -> open(Dtype.FLOAT32).get("wide", 3, 2))
        .withMessage(
            "Cannot use tensor wide of checkpoint %s: its shape is [2, 3], but the configuration"
                + " makes it [3, 2]",
            folder);
  }

  @Test
  void namesTensorsNobodyAskedFor() {
    layers().write(weightsFile());
    Weights weights = open(WeightsTest::canonical, Dtype.FLOAT32);
    Weights layer = weights.under("lm.layers.0");
    NDArray query = layer.get("q.weight", 1);

    layer.requireAllUsed();
    assertThat(query.getShape()).isEqualTo(new Shape(1));
    assertThatIllegalArgumentException()
        .isThrownBy(weights::requireAllUsed)
        .withMessage(
            "Cannot use checkpoint %s: 2 of its tensors have no place in the model:"
                + " [language_model.layers.1.q.weight, language_model.norm]",
            folder);
  }

  @Test
  void refusesTwoTensorsOfOneName() {
    layers().write(weightsFile());

    assertThatIllegalArgumentException()
        .isThrownBy(() -> open(name -> Optional.of(name.replaceAll("\\d", "N")), Dtype.FLOAT32))
        .withMessage(
            "Cannot use checkpoint %s: both language_model.layers.0.q.weight and"
                + " language_model.layers.1.q.weight are language_model.layers.N.q.weight",
            folder);
  }

  @Test
  void refusesIntegersUnlessIgnored() {
    new RawSafetensors()
        .floats("a", List.of(1), 1)
        .tensor("ids", "I64", List.of(1, 2), new byte[16])
        .write(weightsFile());

    assertThatIllegalArgumentException()
        .isThrownBy(() -> open(Dtype.FLOAT32))
        .withMessage(
            "Cannot use tensor ids of checkpoint %s: it is I64 [1, 2], not F32, F16 or BF16",
            folder);
    Weights weights = open(name -> Optional.of(name).filter("a"::equals), Dtype.FLOAT32);
    assertThat(weights.has("ids")).isFalse();
    assertThat(values(weights.get("a", 1))).containsExactly(1);
    weights.requireAllUsed();
  }

  private Weights open(Dtype dtype) {
    return open(Optional::of, dtype);
  }

  private Weights open(Function<String, Optional<String>> canonicalName, Dtype dtype) {
    return open(canonicalName, dtype, new ConvertedWeights(cache, MEGABYTE));
  }

  private Weights open(
      Function<String, Optional<String>> canonicalName, Dtype dtype, ConvertedWeights converted) {
    return Weights.open(CheckpointFolder.open(folder), canonicalName, operators, dtype, converted);
  }

  private float[] values(NDArray array) {
    return operators.to(array, Dtype.FLOAT32).toFloatArray();
  }

  private Path weightsFile() {
    return folder.resolve("model.safetensors");
  }

  private List<Path> cachedFiles() {
    try (Stream<Path> files = Files.walk(cache)) {
      return files.filter(Files::isRegularFile).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path onlyCachedFile() {
    assertThat(cachedFiles()).hasSize(1);
    return cachedFiles().get(0);
  }

  private void sharded() {
    RawSafetensors.write(
        folder.resolve("model.safetensors.index.json"),
        "{\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"}}");
    new RawSafetensors().floats("a", List.of(2), 1, 2).write(folder.resolve("1.safetensors"));
    new RawSafetensors().floats("b", List.of(2), 3, 4).write(folder.resolve("2.safetensors"));
  }

  private static RawSafetensors mixed() {
    return aligned(
        new RawSafetensors()
            .floats("wide", List.of(2, 3), 1, -2, 0.5f, 4, 1024, -0f)
            .shorts("half", "F16", List.of(6), HALVES)
            .shorts("brain", "BF16", List.of(3, 2), BFLOATS));
  }

  /** Fills the header up, so that the data begins at a multiple of 8. */
  private static RawSafetensors aligned(RawSafetensors raw) {
    return raw.headerEnd(" ".repeat(8 - raw.headerBytes() % 8));
  }

  private static RawSafetensors unaligned(RawSafetensors raw) {
    return raw.headerEnd(" ".repeat(9 - raw.headerBytes() % 8));
  }

  private static RawSafetensors layers() {
    return new RawSafetensors()
        .floats("language_model.layers.0.q.weight", List.of(1), 1)
        .floats("language_model.layers.1.q.weight", List.of(1), 2)
        .floats("language_model.norm", List.of(1), 3);
  }

  private static Optional<String> canonical(String name) {
    return Optional.of(name.replace("language_model.", "lm."));
  }

  private static long begin(Path file, String tensor) {
    return Objects.requireNonNull(SafetensorsHeader.read(file).tensors().get(tensor)).begin();
  }

  private static void poke(Path file, long position, int... bytes) throws IOException {
    try (RandomAccessFile random = new RandomAccessFile(file.toFile(), "rw")) {
      random.seek(position);
      for (int each : bytes) {
        random.write(each);
      }
    }
  }

  private static long anonymousBytes() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("RssAnon:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
      }
    }
    throw new AssertionError("No RssAnon in /proc/self/status");
  }
}
