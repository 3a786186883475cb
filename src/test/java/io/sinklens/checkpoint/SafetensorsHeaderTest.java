package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsHeaderTest {
  @TempDir private Path folder;
  private Path file = Path.of("");

  @BeforeEach
  void nameTheFile() {
    file = folder.resolve("model.safetensors");
  }

  @Test
  void placesEveryTensorInTheFile() {
    RawSafetensors raw =
        new RawSafetensors()
            .member("__metadata__", "{\"format\":\"pt\"}")
            .floats("b", List.of(1, 2), 1, 2)
            .shorts("a", "I16", List.of(3), 1, 2, 3)
            .floats("scalar", List.of(), 7)
            .floats("none", List.of(0, 4));

    SafetensorsHeader header = SafetensorsHeader.read(raw.write(file));

    long data = header.dataBegin();
    assertThat(data).isEqualTo(raw.bytes().length - 8 - 6 - 4);
    assertThat(header.metadata()).containsOnlyKeys("format").containsValue("pt");
    assertThat(header.tensors().values())
        .containsExactly(
            new TensorInfo("a", "I16", List.of(3L), file, data + 8, data + 14),
            new TensorInfo("b", "F32", List.of(1L, 2L), file, data, data + 8),
            new TensorInfo("none", "F32", List.of(0L, 4L), file, data + 18, data + 18),
            new TensorInfo("scalar", "F32", List.of(), file, data + 14, data + 18));
  }

  @Test
  void acceptsSpacesAfterTheHeader() {
    new RawSafetensors().floats("a", List.of(1), 1).headerEnd("     ").write(file);

    assertThat(SafetensorsHeader.read(file).tensors()).containsOnlyKeys("a");
  }

  @Test
  void refusesAFileCutAnywhere() {
    RawSafetensors raw = new RawSafetensors().floats("a", List.of(2), 1, 2);
    int length = raw.bytes().length;
    for (int cut = 0; cut < length; cut++) {
      raw.writeCut(file, cut);
      assertThatIllegalArgumentException()
          .as("%d bytes", cut)
          .isThrownBy(() -> SafetensorsHeader.read(file))
          .withMessageStartingWith("Cannot read " + file + ": ");
    }
  }

  @Test
  void refusesAFileTooShortForALength() {
    new RawSafetensors().writeCut(file, 7);

    assertRefused("it has 7 bytes, too few for a header length");
  }

  @Test
  void refusesAHeaderCutShort() {
    RawSafetensors raw = new RawSafetensors().floats("a", List.of(2), 1, 2);
    raw.writeCut(file, 20);

    assertRefused(
        "it announces a header of %d bytes, but only 12 follow; is it truncated?"
            .formatted(raw.bytes().length - 8 - 8));
  }

  @Test
  void refusesDataCutShort() {
    RawSafetensors raw = new RawSafetensors().floats("a", List.of(2), 1, 2);
    raw.writeCut(file, raw.bytes().length - 1);

    assertRefused("tensor a lies at bytes [0, 8) of data that has 7 bytes; is it truncated?");
  }

  @ParameterizedTest
  @CsvSource({
    "1000000, 1000000",
    "-1, 18446744073709551615",
    "-9223372036854775808, 9223372036854775808",
    "9223372036854775807, 9223372036854775807"
  })
  void refusesAnAnnouncedLengthBeyondTheFile(long length, String shown) {
    RawSafetensors.write(
        file, ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array());

    assertRefused(
        "it announces a header of %s bytes, but only 2 follow; is it truncated?".formatted(shown));
  }

  @Test
  void refusesAHugeHeaderBeforeReadingIt() throws IOException {
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(8_000_000_008L);
      sparse.writeLong(Long.reverseBytes(8_000_000_000L));
    }

    assertRefused("its header has 8000000000 bytes, not 2 to 100000000");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void refusesAHeaderTooShortForAnObject(int length) {
    RawSafetensors.write(
        file, ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array());

    assertRefused("its header has %d bytes, not 2 to 100000000".formatted(length));
  }

  @Test
  void saysWhatAGitLfsPointerIs() {
    RawSafetensors.write(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");

    assertRefused("it is a Git LFS pointer, not the weights; run git lfs pull in its folder");
  }

  @Test
  void refusesOverlaps() {
    new RawSafetensors()
        .member("a", "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}")
        .member("b", "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}")
        .data(12)
        .write(file);

    assertRefused("tensors a and b overlap");
  }

  @Test
  void refusesTwoNamesForTheSameBytes() {
    String place = "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}";
    new RawSafetensors().member("a", place).member("b", place).data(8).write(file);

    assertRefused("tensors a and b overlap");
  }

  @Test
  void refusesAnEmptyTensorInsideAnother() {
    new RawSafetensors()
        .floats("a", List.of(2), 1, 2)
        .member("b", "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}")
        .write(file);

    assertRefused("tensors a and b overlap");
  }

  @Test
  void refusesAHoleBetweenTensors() {
    new RawSafetensors().floats("a", List.of(1), 1).data(4).floats("b", List.of(1), 1).write(file);

    assertRefused("bytes [4, 8) of its data belong to no tensor");
  }

  @Test
  void refusesDataBeforeTheFirstTensor() {
    new RawSafetensors().data(1).floats("a", List.of(1), 1).write(file);

    assertRefused("bytes [0, 1) of its data belong to no tensor");
  }

  @Test
  void refusesDataAfterTheLastTensor() {
    new RawSafetensors().floats("a", List.of(1), 1).data(3).write(file);

    assertRefused("bytes [4, 7) of its data belong to no tensor");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[4,0]     | tensor a lies at bytes [4, 0) of data that has 8 bytes",
        "[0,9]     | tensor a lies at bytes [0, 9) of data that has 8 bytes; is it truncated?",
        "[0,9223372036854775807] | tensor a lies at bytes [0, 9223372036854775807) of data that"
            + " has 8 bytes; is it truncated?",
        "[0,7]     | tensor a takes 8 bytes as F32 [2], but its data_offsets [0, 7] hold 7",
        "[0]       | tensor a must have two data_offsets, not [0]",
        "[0,4,8]   | tensor a must have two data_offsets, not [0, 4, 8]",
        "[-8,0]    | tensor a must have a list of non-negative integers as data_offsets, not -8",
        "[0,8.0]   | tensor a must have a list of non-negative integers as data_offsets",
        "[0,\"8\"] | tensor a must have a list of non-negative integers as data_offsets",
        "[0,[8]]   | tensor a must have a list of non-negative integers as data_offsets",
        "8         | tensor a must have a list of non-negative integers as data_offsets"
      })
  void refusesOffsets(String offsets, String reason) {
    new RawSafetensors()
        .member("a", "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":%s}".formatted(offsets))
        .data(8)
        .write(file);

    assertRefused(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[3]      | tensor a takes 12 bytes as F32 [3], but its data_offsets [0, 8] hold 8",
        "[]       | tensor a takes 4 bytes as F32 [], but its data_offsets [0, 8] hold 8",
        "[-2]     | tensor a must have a list of non-negative integers as shape, not -2",
        "[-1,-2]  | tensor a must have a list of non-negative integers as shape, not -1",
        "[2.5]    | tensor a must have a list of non-negative integers as shape",
        "null     | tensor a must have a list of non-negative integers as shape",
        "[4611686018427387904,2] | tensor a is impossibly large: F32 [4611686018427387904, 2]",
        "[4611686018427387906]   | tensor a is impossibly large: F32 [4611686018427387906]",
        "[4294967296,4294967296] | tensor a is impossibly large: F32 [4294967296, 4294967296]",
        "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]"
            + " | tensor a must have at most 32 numbers as shape"
      })
  void refusesShapes(String shape, String reason) {
    new RawSafetensors()
        .member("a", "{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,8]}".formatted(shape))
        .data(8)
        .write(file);

    assertRefused(reason);
  }

  @Test
  void refusesANumberBeyondLong() {
    new RawSafetensors()
        .member("a", "{\"dtype\":\"F32\",\"shape\":[18446744073709551618],\"data_offsets\":[0,8]}")
        .data(8)
        .write(file);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> SafetensorsHeader.read(file))
        .withMessageContaining("out of range of long")
        .withMessageMatching("[^\\n]*");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "F31    | tensor a has unknown dtype F31",
        "f32    | tensor a has unknown dtype f32",
        "Q4_K_M | tensor a has unknown dtype Q4_K_M"
      })
  void refusesDtypes(String dtype, String reason) {
    new RawSafetensors().tensor("a", dtype, List.of(1), new byte[4]).write(file);

    assertRefused(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,4]} | tensor a must have a string dtype",
        "{\"dtype\":\"F32\",\"shape\":[1]}" + " | tensor a must have dtype, shape and data_offsets",
        "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"strides\":[1]}"
            + " | tensor a has an unknown member 'strides'",
        "[1]  | tensor a must be a JSON object",
        "null | tensor a must be a JSON object"
      })
  void refusesEntries(String entry, String reason) {
    new RawSafetensors().member("a", entry).data(4).write(file);

    assertRefused(reason);
  }

  @Test
  void refusesATensorNamedTwice() {
    new RawSafetensors().floats("a", List.of(1), 1).floats("a", List.of(1), 2).write(file);

    assertRefused("its JSON is malformed: Duplicate field 'a'");
  }

  @Test
  void refusesAMemberGivenTwice() {
    new RawSafetensors()
        .member("a", "{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}")
        .data(4)
        .write(file);

    assertRefused("its JSON is malformed: Duplicate field 'dtype'");
  }

  @ParameterizedTest
  @ValueSource(strings = {"{\"a\":1}", "{\"a\":{}}", "{\"a\":null}", "[]", "\"pt\""})
  void refusesMetadataOtherThanStrings(String metadata) {
    new RawSafetensors().member("__metadata__", metadata).write(file);

    assertRefused("__metadata__ must map strings to strings");
  }

  @Test
  void refusesDeepJson() {
    new RawSafetensors().member("a", "[".repeat(100_000)).write(file);

    assertRefused("tensor a must be a JSON object");

    new RawSafetensors()
        .member("a", "{\"shape\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}")
        .write(file);

    assertRefused("tensor a must have a list of non-negative integers as shape");
  }

  @Test
  void refusesMoreAfterTheObject() {
    new RawSafetensors().floats("a", List.of(1), 1).headerEnd(" {}").write(file);

    assertRefused("its header must end after the JSON object");
  }

  @ParameterizedTest
  @ValueSource(strings = {"[]", "\"a\"", "12", "null"})
  void refusesAHeaderThatIsNoObject(String header) {
    RawSafetensors.write(file, withHeader(header.getBytes(StandardCharsets.UTF_8)));

    assertRefused("its header must be a JSON object");
  }

  @Test
  void refusesText() {
    RawSafetensors.write(file, withHeader(new byte[] {'{', 'a', '}'}));

    assertThatIllegalArgumentException()
        .isThrownBy(() -> SafetensorsHeader.read(file))
        .withMessageStartingWith("Cannot read " + file + ": its JSON is malformed: ")
        .withMessageMatching("[^\\n]*");
  }

  @Test
  void refusesWhatIsNotUtf8() {
    RawSafetensors.write(file, withHeader(new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'}));

    assertRefused("its JSON is not UTF-8");
  }

  @Test
  void refusesNamesThatWouldBreakAMessage() {
    new RawSafetensors().floats("a\\nb", List.of(1), 1).write(file);

    assertRefused("a tensor's name must be 1 to 512 printable characters, not 'a?b' (3)");
  }

  @Test
  void refusesNamesWithHalfACharacter() {
    new RawSafetensors().floats("a\\ud800", List.of(1), 1).write(file);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> SafetensorsHeader.read(file))
        .withMessageContaining("a tensor's name must be 1 to 512 printable characters");
  }

  @Test
  void refusesMoreTensorsThanAnyCheckpointHas() {
    RawSafetensors raw = new RawSafetensors();
    for (int i = 0; i <= 250_000; i++) {
      raw.member(String.valueOf(i), "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
    }
    raw.write(file);

    assertRefused("it has more than 250000 tensors");
  }

  @Test
  void refusesNamesWithoutEnd() {
    new RawSafetensors().floats("x".repeat(513), List.of(1), 1).write(file);

    assertRefused(
        "a tensor's name must be 1 to 512 printable characters, not '%s...' (513)"
            .formatted("x".repeat(300)));
  }

  private void assertRefused(String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> SafetensorsHeader.read(file))
        .withMessage("Cannot read " + file + ": " + reason);
  }

  private static byte[] withHeader(byte[] header) {
    return ByteBuffer.allocate(8 + header.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .array();
  }
}
