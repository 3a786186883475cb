package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class StoredZipTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final String PICKLE = "archive/data.pkl";
  private static final String STORAGE = "archive/data/0";

  @TempDir private Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "pickles/mixed.bin",
        "pickles/hostile.bin",
        "llava-bin/pytorch_model-00001-of-00002.bin",
        "llava-bin/pytorch_model-00002-of-00002.bin"
      })
  void findsWhatJavasOwnReaderFinds(String name) throws IOException {
    Path file = GOLDEN.resolve(name);

    assertThat(contents(file)).isEqualTo(contentsByJava(file)).hasSizeGreaterThan(5);
  }

  @Test
  void readsWhatJavaStores() throws IOException {
    Path file = folder.resolve("java.zip");
    try (OutputStream out = Files.newOutputStream(file);
        ZipOutputStream zip = new ZipOutputStream(out)) {
      zip.setMethod(ZipOutputStream.STORED);
      for (String text : new String[] {"", "a", "größe"}) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        CRC32 crc = new CRC32();
        crc.update(bytes);
        ZipEntry entry = new ZipEntry("of/" + text);
        entry.setSize(bytes.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(bytes);
      }
    }

    assertThat(contents(file)).isEqualTo(contentsByJava(file)).containsKey("of/größe");
  }

  @Test
  void readsEntriesBeyondFourGibibytes() throws IOException {
    long size = (5L << 30) + 3;
    Path file =
        new RawTorchFile()
            .entry(PICKLE, (byte) 'p')
            .sparse("0", size, (byte) 'x', (byte) 'y')
            .sparse("1", 6, (byte) 'z')
            .write(folder.resolve("large.bin"));

    SortedMap<String, StoredZip.Entry> entries = entries(file);

    assertThat(entries).containsOnlyKeys(PICKLE, STORAGE, "archive/data/1");
    StoredZip.Entry large = Objects.requireNonNull(entries.get(STORAGE));
    StoredZip.Entry behind = Objects.requireNonNull(entries.get("archive/data/1"));
    assertThat(large.bytes()).isEqualTo(size);
    assertThat(large.begin() % 64).isZero();
    assertThat(behind.headerBegin()).isEqualTo(large.end()).isGreaterThan(1L << 32);
    try (FileChannel channel = FileChannel.open(file)) {
      assertThat(SafetensorsHeader.bytes(channel, large.end() - 2, 2)).containsExactly('x', 'y');
      assertThat(SafetensorsHeader.bytes(channel, behind.end() - 1, 1)).containsExactly('z');
    }
    try (ZipFile zip = new ZipFile(file.toFile())) {
      assertThat(zip.getEntry(STORAGE).getSize()).isEqualTo(size);
    }
  }

  /** Changes of one field each, and the refusal they bring. */
  static Stream<Arguments> damages() {
    return Stream.of(
        damaged(
            "a deflated entry",
            file -> file.putShort(entry(file, STORAGE) + 10, (short) 8),
            "its zip entry archive/data/0 is compressed (method 8), and torch.save compresses"
                + " nothing"),
        damaged(
            "an entry that only its own header calls deflated",
            file -> file.putShort(file.getInt(entry(file, STORAGE) + 42) + 8, (short) 8),
            "its zip entry archive/data/0 is not where the directory says"),
        damaged(
            "an encrypted entry",
            file -> file.putShort(entry(file, STORAGE) + 8, (short) 0x809),
            "its zip entry archive/data/0 is encrypted"),
        damaged(
            "an entry with two sizes",
            file -> file.putInt(entry(file, STORAGE) + 20, 9),
            "its zip entry archive/data/0 has two sizes"),
        damaged(
            "an entry that ends in the directory",
            file -> sizes(file, 100_000),
            "its zip entry archive/data/0 lies outside the file"),
        damaged(
            "an entry of nearly 4 GiB",
            file -> sizes(file, -2),
            "its zip entry archive/data/0 lies outside the file"),
        damaged(
            "an entry whose size is elsewhere, but is not",
            file -> sizes(file, -1),
            "its zip entry archive/data/0 lacks its zip64 sizes"),
        damaged(
            "an entry behind the file",
            file -> file.putInt(entry(file, STORAGE) + 42, Integer.MAX_VALUE),
            "its zip entry archive/data/0 lies outside the file"),
        damaged(
            "an entry at no header",
            file -> file.putInt(entry(file, STORAGE) + 42, 1),
            "its zip entry archive/data/0 is not where the directory says"),
        damaged(
            "an entry in another entry",
            file -> sizes(file, PICKLE, 100),
            "its zip entries archive/data.pkl and archive/data/0 overlap"),
        damaged(
            "two entries of one name",
            file -> file.put(entry(file, "archive/data/1") + 46 + 13, (byte) '0'),
            "its zip directory has archive/data/0 twice"),
        damaged(
            "a damaged directory",
            file -> file.put(entry(file, STORAGE), (byte) 0),
            "its zip directory is damaged"),
        damaged(
            "a name that leaves the directory",
            file -> file.putShort(entry(file, "archive/data/1") + 28, (short) 60_000),
            "its zip directory is damaged"),
        damaged(
            "another number of entries",
            file -> {
              file.putShort(file.limit() - 12, (short) 4);
              file.putLong(file.limit() - 98 + 32, 4);
            },
            "its zip directory announces 4 entries and has 3"),
        damaged(
            "a directory of another size",
            file -> {
              file.putInt(file.limit() - 10, 46);
              file.putLong(file.limit() - 98 + 40, 46);
            },
            "its zip directory of 46 bytes lies at byte 196, but it ends at 390"),
        damaged(
            "a directory without end",
            file -> {
              file.putInt(file.limit() - 10, -1);
              file.putLong(file.limit() - 98 + 40, Long.MAX_VALUE);
            },
            "its zip directory has 9223372036854775807 bytes, more than 16777216"),
        damaged(
            "a directory of negative size",
            file -> {
              file.putInt(file.limit() - 10, -1);
              file.putLong(file.limit() - 98 + 40, -1);
            },
            "its zip directory has 18446744073709551615 bytes, more than 16777216"),
        damaged(
            "a directory at a negative place",
            file -> {
              file.putInt(file.limit() - 6, -1);
              file.putLong(file.limit() - 98 + 48, -5);
            },
            "its zip directory of 194 bytes lies at byte 18446744073709551611, but it ends at 390"),
        damaged(
            "two ends that differ",
            file -> file.putInt(file.limit() - 6, 195),
            "the two ends of its zip directory contradict each other"),
        damaged(
            "no zip64 end",
            file -> file.put(file.limit() - 98, (byte) 0),
            "its zip64 directory does not end where it should"),
        damaged(
            "a zip64 end elsewhere",
            file -> file.putLong(file.limit() - 42 + 8, -1),
            "its zip64 directory does not end where it should"),
        damaged(
            "a comment",
            file -> file.putShort(file.limit() - 2, (short) 1),
            "it does not end with a zip directory; is it truncated?"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("damages")
  void refusesDamagedDirectories(String damage, Consumer<ByteBuffer> change, String reason)
      throws IOException {
    assertThat(damage).isNotEmpty();
    Path file = small();
    byte[] bytes = Files.readAllBytes(file);
    change.accept(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
    Files.write(file, bytes);

    assertRefused(file, reason);
  }

  @Test
  void refusesEveryTruncation() throws IOException {
    Path file = small();
    byte[] bytes = Files.readAllBytes(file);
    for (int length = 0; length < bytes.length; length++) {
      Files.write(file, Arrays.copyOf(bytes, length));
      assertRefused(file, "it does not end with a zip directory; is it truncated?");
    }
  }

  @Test
  void refusesBytesAroundTheArchive() throws IOException {
    Path file = small();
    byte[] bytes = Files.readAllBytes(file);
    byte[] behind = Arrays.copyOf(bytes, bytes.length + 1);
    byte[] before = new byte[bytes.length + 1];
    System.arraycopy(bytes, 0, before, 1, bytes.length);

    Files.write(file, behind);
    assertRefused(file, "it does not end with a zip directory; is it truncated?");
    Files.write(file, before);
    assertRefused(file, "its zip64 directory does not end where it should");
  }

  private Path small() {
    return new RawTorchFile()
        .entry(PICKLE, (byte) 1)
        .floats("0", 1, 2)
        .floats("1", 3)
        .write(folder.resolve("small.bin"));
  }

  private static int entry(ByteBuffer file, String name) {
    return RawTorchFile.directoryEntry(file, name);
  }

  private static void sizes(ByteBuffer file, int size) {
    sizes(file, STORAGE, size);
  }

  private static void sizes(ByteBuffer file, String name, int size) {
    int entry = entry(file, name);
    file.putInt(entry + 20, size);
    file.putInt(entry + 24, size);
  }

  private static SortedMap<String, StoredZip.Entry> entries(Path file) {
    try (FileChannel channel = FileChannel.open(file)) {
      return StoredZip.entries(file, channel);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Bytes by name, as text of which each character is one. */
  private static Map<String, String> contents(Path file) throws IOException {
    byte[] all = Files.readAllBytes(file);
    Map<String, String> contents = new TreeMap<>();
    entries(file)
        .forEach(
            (name, entry) ->
                contents.put(
                    name,
                    new String(
                        Arrays.copyOfRange(all, (int) entry.begin(), (int) entry.end()),
                        StandardCharsets.ISO_8859_1)));
    return contents;
  }

  private static Map<String, String> contentsByJava(Path file) throws IOException {
    Map<String, String> contents = new TreeMap<>();
    try (ZipFile zip = new ZipFile(file.toFile())) {
      for (ZipEntry entry : zip.stream().toList()) {
        contents.put(
            entry.getName(),
            new String(zip.getInputStream(entry).readAllBytes(), StandardCharsets.ISO_8859_1));
      }
    }
    return contents;
  }

  private static Arguments damaged(String damage, Consumer<ByteBuffer> change, String reason) {
    return Arguments.of(damage, change, reason);
  }

  private static void assertRefused(Path file, String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> entries(file))
        .withMessage("Cannot read %s: %s", file, reason);
  }
}
