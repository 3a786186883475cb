package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Whatever the header of a file says, it is refused in one line or the file holds just that. */
@Timeout(120)
class SafetensorsFuzzTest {
  private static final int ROUNDS = 5_000;
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, Integer> ELEMENT_BYTES =
      Map.of("F32", 4, "BF16", 2, "I64", 8, "U8", 1);

  private static final Pattern NUMBER = Pattern.compile("\\b[0-9]+\\b");
  private static final Pattern STRING = Pattern.compile("\"[^\"]*\"");
  private static final Pattern VALUE = Pattern.compile("\\{[^{}]*}|\\[[^\\[\\]]*]|\"[^\"]*\"(?!:)");

  private static final List<String> NUMBERS =
      List.of(
          "0",
          "-0",
          "-1",
          "1",
          "2",
          "3",
          "4",
          "8",
          "2147483648",
          "4294967296",
          "3037000500", // Its square is beyond 63 bits.
          "4611686018427387904",
          "9223372036854775807",
          "9223372036854775808",
          "18446744073709551616",
          "1e2",
          "4.0",
          "1e400",
          "NaN",
          "9".repeat(999),
          "9".repeat(100_000));
  private static final List<String> STRINGS =
      List.of(
          "\"\"",
          "\"F32\"",
          "\"BF16\"",
          "\"U8\"",
          "\"F128\"",
          "\"a\"",
          "\"shape\"",
          "\"dtype\"",
          "\"data_offsets\"",
          "\"__metadata__\"",
          "\"a\\u0000\\u2028b\"",
          "\"\\ud800\"",
          "\"" + "x".repeat(100_000) + "\"");
  private static final List<String> VALUES =
      List.of(
          "null",
          "true",
          "{}",
          "[]",
          "[0]",
          "[0,0]",
          "[3037000500,3037000500,0]",
          "[" + "1,".repeat(40) + "1]",
          "[".repeat(50_000) + "]".repeat(50_000),
          "{\"a\":".repeat(50_000) + "1" + "}".repeat(50_000));
  private static final long[] LENGTHS = {
    0, 1, 2, 7, 100, 1L << 24, 1L << 31, 1L << 32, Long.MAX_VALUE, Long.MIN_VALUE, -1, -8
  };

  @TempDir private Path folder;

  @Test
  void holdsWhatItsHeaderSaysOrIsRefused() throws IOException {
    byte[] sound =
        new RawSafetensors()
            .member("__metadata__", "{\"format\":\"pt\"}")
            .floats("a", List.of(2, 3), 1, 2, 3, 4, 5, 6)
            .shorts("b.weight", "BF16", List.of(4), 1, 2, 3, 4)
            .tensor("ids", "I64", List.of(1, 2), new byte[16])
            .floats("scalar", List.of(), 7)
            .tensor("none", "U8", List.of(0, 9))
            .bytes();
    Path file = folder.resolve("model.safetensors");
    int read = 0;
    int refused = 0;
    for (int seed = 0; seed < ROUNDS; seed++) {
      byte[] changed = changed(sound, new Random(seed));
      RawSafetensors.write(file, changed);
      try {
        requireAsSaid(SafetensorsHeader.read(file), changed);
        read++;
      } catch (IllegalArgumentException e) {
        assertThat(e.getMessage())
            .as("seed %d", seed)
            .startsWith("Cannot read " + file + ": ")
            .doesNotContainPattern("[\\p{Cntrl}\\u2028]")
            .hasSizeLessThan(1500);
        refused++;
      } catch (RuntimeException | Error e) {
        throw new AssertionError("seed %d is neither read nor refused".formatted(seed), e);
      }
    }
    assertThat(read).isGreaterThan(ROUNDS / 20);
    assertThat(refused).isGreaterThan(ROUNDS / 2);
  }

  /** What another reader of JSON finds in the header, and that the data is covered just once. */
  private static void requireAsSaid(SafetensorsHeader header, byte[] content) throws IOException {
    int length = Math.toIntExact(little(content).getLong());
    int begin = Long.BYTES + length;
    assertThat(header.dataBegin()).isEqualTo(begin);
    JsonNode said = JSON.readTree(new String(content, Long.BYTES, length, StandardCharsets.UTF_8));
    List<String> names = new ArrayList<>();
    said.fieldNames().forEachRemaining(names::add);
    names.remove("__metadata__");
    assertThat(header.tensors()).containsOnlyKeys(names);
    BitSet covered = new BitSet();
    for (TensorInfo tensor : header.tensors().values()) {
      JsonNode entry = said.path(tensor.name());
      assertThat(tensor.dtype()).isEqualTo(entry.path("dtype").asText());
      assertThat(tensor.shape().toString().replace(" ", ""))
          .isEqualTo(entry.path("shape").toString());
      assertThat(tensor.begin()).isEqualTo(begin + entry.path("data_offsets").path(0).asLong());
      assertThat(tensor.end()).isEqualTo(begin + entry.path("data_offsets").path(1).asLong());
      Integer elementBytes = ELEMENT_BYTES.get(tensor.dtype());
      if (elementBytes != null) {
        assertThat(tensor.bytes()).isEqualTo(tensor.elements() * elementBytes);
      }
      BitSet own = new BitSet();
      own.set((int) tensor.begin(), (int) tensor.end());
      assertThat(covered.intersects(own)).as(tensor.name()).isFalse();
      covered.or(own);
    }
    assertThat(covered.cardinality()).isEqualTo(content.length - begin);
  }

  private static byte[] changed(byte[] sound, Random random) {
    int length = (int) little(sound).getLong();
    byte[] changed = sound.clone();
    switch (random.nextInt(8)) {
      case 0 -> {
        for (int flips = random.nextInt(3); flips >= 0; flips--) {
          changed[random.nextInt(Long.BYTES + length)] ^= (byte) (1 << random.nextInt(8));
        }
        return changed;
      }
      case 1 -> {
        return Arrays.copyOf(changed, random.nextInt(changed.length + 20));
      }
      case 2 -> {
        little(changed)
            .putLong(
                random.nextBoolean()
                    ? LENGTHS[random.nextInt(LENGTHS.length)]
                    : length + random.nextInt(-9, 10));
        return changed;
      }
      default -> {
        String header = new String(sound, Long.BYTES, length, StandardCharsets.UTF_8);
        for (int changes = random.nextInt(2); changes >= 0; changes--) {
          header = changed(header, random);
        }
        byte[] bytes = header.getBytes(StandardCharsets.UTF_8);
        int data = sound.length - Long.BYTES - length;
        changed = new byte[Long.BYTES + bytes.length + data];
        little(changed).putLong(bytes.length).put(bytes).put(sound, Long.BYTES + length, data);
        return changed;
      }
    }
  }

  private static String changed(String header, Random random) {
    return switch (random.nextInt(6)) {
      case 0, 1 -> replaced(header, NUMBER, any(NUMBERS, random), random);
      case 2 -> replaced(header, STRING, any(STRINGS, random), random);
      case 3 -> replaced(header, VALUE, any(VALUES, random), random);
      case 4 -> { // Something of the header in another place: twice, overlapping, of other size.
        List<MatchResult> values = VALUE.matcher(header).results().toList();
        yield values.isEmpty()
            ? header
            : replaced(header, VALUE, any(values, random).group(), random);
      }
      default -> { // As JSON allows: the same in other words.
        int at = random.nextInt(header.length());
        yield header.substring(0, at)
            + " \n\t\u00e9".charAt(random.nextInt(4))
            + header.substring(at);
      }
    };
  }

  private static String replaced(String header, Pattern what, String by, Random random) {
    List<MatchResult> places = what.matcher(header).results().toList();
    if (places.isEmpty()) {
      return header;
    }
    MatchResult place = any(places, random);
    return header.substring(0, place.start()) + by + header.substring(place.end());
  }

  private static <T> T any(List<T> choices, Random random) {
    return choices.get(random.nextInt(choices.size()));
  }

  private static ByteBuffer little(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
