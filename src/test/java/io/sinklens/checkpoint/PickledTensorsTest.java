package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class PickledTensorsTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden/pickles");

  @TempDir private Path folder;

  /** Types, shared and sliced storages, parameters, metadata: as torch wrote them. */
  @Test
  void placesEveryTensorOfTorchWhereItsBytesAre() throws IOException {
    PickledTensors pickled = PickledTensors.read(GOLDEN.resolve("mixed.bin"));
    SafetensorsHeader expected = SafetensorsHeader.read(GOLDEN.resolve("mixed.safetensors"));

    assertThat(pickled.tensors().keySet()).isEqualTo(expected.tensors().keySet()).hasSize(21);
    for (TensorInfo tensor : expected.tensors().values()) {
      TensorInfo found = Objects.requireNonNull(pickled.tensors().get(tensor.name()));
      assertThat(found.describe()).as(tensor.name()).isEqualTo(tensor.describe());
      assertThat(bytes(found)).as(tensor.name()).isEqualTo(bytes(tensor));
      assertThat(found.file()).isEqualTo(pickled.file());
      assertThat(found.begin()).isGreaterThanOrEqualTo(pickled.dataBegin());
    }
    TensorInfo whole = Objects.requireNonNull(pickled.tensors().get("whole"));
    TensorInfo same = Objects.requireNonNull(pickled.tensors().get("same"));
    TensorInfo rows = Objects.requireNonNull(pickled.tensors().get("rows"));
    assertThat(List.of(same.begin(), same.end())).isEqualTo(List.of(whole.begin(), whole.end()));
    assertThat(rows.begin()).isEqualTo(whole.begin() + 2 * 4 * Float.BYTES);
    assertThat(whole.begin() % 64).isZero();
    byte[] header =
        Arrays.copyOfRange(
            Files.readAllBytes(pickled.file()),
            (int) pickled.headerBegin(),
            (int) pickled.dataBegin());
    assertThat(header).startsWith(0x80, 2).endsWith('.');
  }

  @Test
  void ignoresPlainDataBesideTensors() {
    assertThat(PickledTensors.read(GOLDEN.resolve("plain-data.bin")).tensors())
        .containsOnlyKeys("weight");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "transposed.bin | tensor turned of shape [3, 2] has strides [1, 3], not [2, 1]; save it"
            + " again after contiguous()",
        "nested.bin     | its entry state_dict is a dict with tensors or types in it, and only"
            + " tensors at the root are read",
        "list.bin       | it holds a list, not a dict of tensors",
        "hostile.bin    | its pickle calls posix.system, and only tensors are allowed",
        "sparse.bin     | its pickle calls torch._utils._rebuild_sparse_tensor, and only tensors"
            + " are allowed",
        "complex.bin    | its pickle calls torch.ComplexFloatStorage, and only tensors are allowed",
        "module.bin     | its pickle calls torch.nn.modules.linear.Linear, and only tensors are"
            + " allowed",
        "protocol-4.bin | its pickle has protocol 4, not 2",
        "old-layout.bin | it has the layout torch had before 1.6; load and save it with a newer"
            + " torch"
      })
  void refusesWhatElseTorchSaves(String file, String reason) {
    assertRefused(GOLDEN.resolve(file), reason);
    assertThat(Path.of("pickle-was-run")).doesNotExist(); // What hostile.bin would make.
  }

  static Stream<Arguments> tensors() {
    long max = Long.MAX_VALUE;
    return Stream.of(
        wrong(
            shape(-1),
            strides(1),
            0,
            "tensor a must have nothing negative, not shape [-1], strides [1], offset 0"),
        wrong(
            shape(2),
            strides(-1),
            1,
            "tensor a must have nothing negative, not shape [2], strides [-1], offset 1"),
        wrong(
            shape(2),
            strides(1),
            -1,
            "tensor a must have nothing negative, not shape [2], strides [1], offset -1"),
        wrong(shape(2, 3), strides(1), 0, "tensor a has shape [2, 3], but strides [1]"),
        wrong(
            shape(7), strides(1), 0, "tensor a takes 7 elements from 0 on of a storage that has 6"),
        wrong(
            shape(3), strides(1), 4, "tensor a takes 3 elements from 4 on of a storage that has 6"),
        wrong(
            shape(1),
            strides(1),
            max,
            "tensor a takes 1 elements from 9223372036854775807 on of a storage that has 6"),
        wrong(
            shape(max),
            strides(1),
            6,
            "tensor a takes 9223372036854775807 elements from 6 on of a storage that has 6"),
        wrong(shape(), strides(), 6, "tensor a takes 1 elements from 6 on of a storage that has 6"),
        wrong(
            shape(0), strides(1), 7, "tensor a takes 0 elements from 7 on of a storage that has 6"),
        wrong(
            shape(1L << 32, 1L << 32),
            strides(1L << 32, 1),
            0,
            "tensor a is impossibly large: [4294967296, 4294967296]"),
        wrong(
            shape(2, 3),
            strides(1, 2),
            0,
            "tensor a of shape [2, 3] has strides [1, 2], not [3, 1]; save it again after"
                + " contiguous()"),
        wrong(
            shape(3, 2),
            strides(0, 1),
            0,
            "tensor a of shape [3, 2] has strides [0, 1], not [2, 1]; save it again after"
                + " contiguous()"),
        wrong(
            shape(1, 3),
            strides(99, 2),
            0,
            "tensor a of shape [1, 3] has strides [99, 2], not [99, 1]; save it again after"
                + " contiguous()"));
  }

  @ParameterizedTest
  @MethodSource("tensors")
  void refusesTensorsThatAreNoPieceOfTheirStorage(
      long[] shape, long[] strides, long offset, String reason) {
    assertRefused(file(new RawPickle().floats("0", 6), offset, shape, strides), reason);
  }

  @Test
  void placesTensorsAtTheEdges() {
    RawPickle storage = new RawPickle().floats("0", 6);
    TensorInfo end = tensor(file(storage, 5, shape(), strides()));
    TensorInfo nothing = tensor(file(storage, 6, shape(4, 0, 7), strides(9, 9, 9)));
    TensorInfo ones = tensor(file(storage, 3, shape(1, 3, 1), strides(7, 1, 50)));

    assertThat(List.of(end.end() - end.begin(), end.begin() % 64)).containsExactly(4L, 20L);
    assertThat(nothing.bytes()).isZero();
    assertThat(List.of(ones.bytes(), ones.begin() % 64)).containsExactly(12L, 12L);
  }

  static Stream<Arguments> storages() {
    return Stream.of(
        Arguments.of(
            new RawPickle().floats("9", 6), "tensor a lies in storage 9, which is not in the file"),
        Arguments.of(
            new RawPickle().floats("00", 6),
            "tensor a lies in storage 00, which is not in the file"),
        Arguments.of(
            new RawPickle().floats("../data/0", 6),
            "the key of a storage must be digits, not '../data/0'"),
        Arguments.of(
            new RawPickle().floats("0", 7), "storage 0 has 24 bytes, not 7 elements of F32"),
        Arguments.of(
            new RawPickle().floats("0", -6), "storage 0 has 24 bytes, not -6 elements of F32"),
        Arguments.of(
            new RawPickle().floats("0", (1L << 62) + 6),
            "storage 0 has 24 bytes, not 4611686018427387910 elements of F32"),
        Arguments.of(
            new RawPickle().storage("HalfStorage", "0", 6),
            "storage 0 has 24 bytes, not 6 elements of F16"));
  }

  @ParameterizedTest
  @MethodSource("storages")
  void refusesStoragesTheFileDoesNotHave(RawPickle storage, String reason) {
    assertRefused(file(storage, 0, shape(6), strides(1)), reason);
  }

  @Test
  void refusesAStorageOfTwoTypes() {
    RawPickle pickle =
        new RawPickle()
            .op("}(")
            .text("a")
            .tensor(new RawPickle().floats("0", 6), 0, shape(6), strides(1))
            .text("b")
            .tensor(new RawPickle().storage("IntStorage", "0", 6), 0, shape(6), strides(1))
            .op("u");

    assertRefused(write(six(pickle)), "storage 0 is 6 elements of F32 and 6 of I32");
  }

  @ParameterizedTest
  @CsvSource({"'', ''", "'a\nb', a?b", "__metadata__, __metadata__"})
  void refusesNamesNoOtherFormatTakes(String name, String shown) {
    RawPickle pickle =
        new RawPickle()
            .op("}")
            .text(name)
            .tensor(new RawPickle().floats("0", 6), 0, shape(6), strides(1))
            .op("s");

    assertRefused(
        write(six(pickle)),
        name.startsWith("_")
            ? "a tensor's name must not be __metadata__"
            : "a tensor's name must be 1 to 512 printable characters, not '%s' (%d)"
                .formatted(shown, name.length()));
  }

  @Test
  void refusesAStorageBeforeThePickle() {
    RawPickle pickle =
        new RawPickle()
            .op("}")
            .text("a")
            .tensor(new RawPickle().floats("0", 1), 0, shape(1), strides(1))
            .op("s");

    assertRefused(
        write(new RawTorchFile().floats("0", 1).entry("archive/data.pkl", pickle.end())),
        "storage 0 lies before data.pkl");
  }

  @Test
  void refusesTensorsBelowTheRootHoweverTheyGotThere() {
    RawPickle tensor =
        new RawPickle().tensor(new RawPickle().floats("0", 6), 0, shape(6), strides(1));
    assertRefused(
        write(six(new RawPickle().op("}").text("a\n").op("]").rest(tensor).op("as"))),
        "its entry a? is a list with tensors or types in it, and only tensors at the root are"
            + " read");
    assertRefused(
        write(six(new RawPickle().op("}").text("a").global("torch", "IntStorage").op("s"))),
        "its entry a is torch.IntStorage with tensors or types in it, and only tensors at the root"
            + " are read");
  }

  @ParameterizedTest
  @CsvSource({"big, big", "'', ''", "middle, middle"})
  void refusesAnotherByteOrder(String order, String shown) {
    RawTorchFile file =
        six(good()).entry("archive/byteorder", order.getBytes(StandardCharsets.UTF_8));

    assertRefused(write(file), "its byteorder must be little, not " + shown);
  }

  @Test
  void readsWhatSaysItsByteOrderAndWhatDoesNot() {
    byte[] little = "little".getBytes(StandardCharsets.UTF_8);
    assertThat(tensor(write(six(good()).entry("archive/byteorder", little))).bytes()).isEqualTo(24);
    assertThat(tensor(write(six(good()))).bytes()).isEqualTo(24);
    assertRefused(
        write(six(good()).entry("archive/byteorder", new byte[17])),
        "its byteorder must be little, not of 17 bytes");
  }

  @Test
  void refusesArchivesThatAreNotOfOneDict() {
    assertRefused(
        write(new RawTorchFile().entry("archive/version", (byte) '3')),
        "it has 0 entries FOLDER/data.pkl, and torch.save writes one");
    assertRefused(
        write(six(good()).entry("other/data.pkl", good().end())),
        "it has 2 entries FOLDER/data.pkl, and torch.save writes one");
    assertRefused(
        write(six(good()).entry("archive/constants.pkl", good().end())),
        "it is a TorchScript archive, which holds code");
    assertThat(tensor(write(six(good()).entry("archive/data/data.pkl", good().end()))).bytes())
        .isEqualTo(24);
  }

  @Test
  void refusesAnImmensePickle() {
    Path file = folder.resolve("immense.bin");
    new RawTorchFile()
        .sparse("0", 4)
        .entry("archive/data.pkl", new byte[(64 << 20) + 1])
        .write(file);

    assertRefused(file, "its data.pkl has 67108865 bytes, more than 67108864");
  }

  @Test
  void refusesOtherFiles() {
    String noZip = "it is no zip file, as torch.save writes them";
    byte[] tar = new byte[1024];
    System.arraycopy("ustar".getBytes(StandardCharsets.UTF_8), 0, tar, 257, 5);
    assertRefused(RawSafetensors.write(folder.resolve("tar.bin"), tar), noZip);
    assertRefused(RawSafetensors.write(folder.resolve("empty.bin"), ""), noZip);
    assertRefused(RawSafetensors.write(folder.resolve("p.bin"), "P"), noZip);
    assertRefused(RawSafetensors.write(folder.resolve("plain.bin"), good().end()), noZip);
    assertRefused(
        RawSafetensors.write(
            folder.resolve("pointer.bin"), "version https://git-lfs.github.com/spec/v1\n"),
        "it is a Git LFS pointer, not the weights; run git lfs pull in its folder");
    assertRefused(
        RawSafetensors.write(folder.resolve("cut.bin"), "PK\u0003\u0004 and no more than this"),
        "it does not end with a zip directory; is it truncated?");
  }

  /** Whatever is changed, the file is refused in one line or its tensors lie inside it. */
  @Test
  @Timeout(120)
  void survivesAnyChangeOfAFile() throws IOException {
    byte[] original = Files.readAllBytes(GOLDEN.resolve("mixed.bin"));
    PickledTensors sound = PickledTensors.read(GOLDEN.resolve("mixed.bin"));
    int pickleBytes = (int) (sound.dataBegin() - sound.headerBegin());
    Random random = new Random(20240229);
    int refused = 0;
    int read = 0;
    for (int round = 0; round < 2_000; round++) {
      byte[] changed = original.clone();
      boolean inPickle = random.nextBoolean();
      for (int change = random.nextInt(3); change >= 0; change--) {
        int place =
            inPickle
                ? (int) sound.headerBegin() + random.nextInt(pickleBytes)
                : random.nextInt(changed.length);
        changed[place] = (byte) random.nextInt(256);
      }
      Path file = RawSafetensors.write(folder.resolve("changed.bin"), changed);
      try {
        for (TensorInfo tensor : PickledTensors.read(file).tensors().values()) {
          assertThat(tensor.begin()).isBetween(0L, tensor.end());
          assertThat(tensor.end()).isLessThanOrEqualTo(changed.length);
        }
        read++;
      } catch (IllegalArgumentException e) {
        assertThat(e.getMessage()).startsWith("Cannot read " + file + ": ").doesNotContain("\n");
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(500);
    assertThat(read).isGreaterThan(100);
  }

  private static byte[] bytes(TensorInfo tensor) {
    try {
      return Arrays.copyOfRange(
          Files.readAllBytes(tensor.file()), (int) tensor.begin(), (int) tensor.end());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A sound pickle of the tensor a. */
  private static RawPickle good() {
    return new RawPickle()
        .op("}")
        .text("a")
        .tensor(new RawPickle().floats("0", 6), 0, shape(6), strides(1))
        .op("s");
  }

  private static RawTorchFile six(RawPickle pickle) {
    return RawTorchFile.of(pickle.end()).floats("0", 1, 2, 3, 4, 5, 6);
  }

  private Path file(RawPickle storage, long offset, long[] shape, long[] strides) {
    return write(
        six(new RawPickle().op("}").text("a").tensor(storage, offset, shape, strides).op("s")));
  }

  private Path write(RawTorchFile file) {
    return file.write(folder.resolve("pytorch_model.bin"));
  }

  private static TensorInfo tensor(Path file) {
    return Objects.requireNonNull(PickledTensors.read(file).tensors().get("a"));
  }

  private static long[] shape(long... sizes) {
    return sizes;
  }

  private static long[] strides(long... strides) {
    return strides;
  }

  private static Arguments wrong(long[] shape, long[] strides, long offset, String reason) {
    return Arguments.of(shape, strides, offset, reason);
  }

  private static void assertRefused(Path file, String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PickledTensors.read(file))
        .withMessage("Cannot read %s: %s", file, reason);
  }
}
