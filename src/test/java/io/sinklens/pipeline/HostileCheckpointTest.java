package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.Device;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A checkpoint of a stranger is read, or refused in one line, whatever stands in its files. */
@Timeout(value = 10, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class HostileCheckpointTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final int FUZZED_VALUES = 250; // of each family
  private static final int FUZZED_BYTES = 50;

  private static final List<JsonNode> UNEXPECTED =
      List.of(
          NODES.numberNode(0),
          NODES.numberNode(-1),
          NODES.numberNode(3),
          NODES.numberNode(65_536),
          NODES.numberNode(Integer.MAX_VALUE),
          NODES.numberNode(Integer.MIN_VALUE),
          NODES.numberNode(Long.MAX_VALUE),
          NODES.numberNode(BigInteger.TEN.pow(500)),
          NODES.numberNode(new BigDecimal("1e-300")),
          NODES.rawValueNode(new RawValue("1e400")),
          NODES.rawValueNode(new RawValue("-1e999999999")),
          NODES.rawValueNode(new RawValue("1e-400")),
          NODES.rawValueNode(new RawValue("-0.0")),
          NODES.rawValueNode(new RawValue("9".repeat(1001))),
          NODES.rawValueNode(new RawValue("NaN")),
          NODES.rawValueNode(new RawValue("-Infinity")),
          NODES.rawValueNode(new RawValue("[".repeat(60) + "]".repeat(60))),
          NODES.numberNode(1e300),
          NODES.numberNode(0.5),
          NODES.textNode(""),
          NODES.textNode("NaN"),
          NODES.textNode("\0\n".repeat(100)),
          NODES.booleanNode(true),
          NODES.nullNode(),
          NODES.arrayNode(),
          NODES.arrayNode().add(Integer.MAX_VALUE).add(1),
          NODES.objectNode());

  @TempDir private Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "llava-mha",
        "llava-gqa",
        "llava-next",
        "llava-onevision",
        "qwen2-vl",
        "qwen2.5-vl",
        "internvl-chat-qwen2",
        "vila1.5"
      })
  void readsOrRefusesFuzzedConfigurations(String name) throws IOException {
    TinyCheckpoint.copyTo(folder, name);
    List<Path> files = new ArrayList<>();
    for (String file :
        List.of("config.json", "preprocessor_config.json", "generation_config.json")) {
      if (Files.exists(folder.resolve(file))) {
        files.add(folder.resolve(file));
      }
    }
    int refused = 0;
    for (int seed = 0; seed < FUZZED_VALUES + FUZZED_BYTES; seed++) {
      Random random = new Random(seed);
      Path file = files.get(random.nextInt(10) < 7 ? 0 : random.nextInt(files.size()));
      byte[] sound = Files.readAllBytes(file);
      Files.write(
          file, seed < FUZZED_VALUES ? otherValue(sound, random) : otherBytes(sound, random));
      if (isRefused(name + " seed " + seed + " " + file.getFileName())) {
        refused++;
      }
      Files.write(file, sound);
    }
    assertThat(refused).isGreaterThan(FUZZED_BYTES);
    assertThat(isRefused(name)).as("the sound files").isFalse();
  }

  private boolean isRefused(String what) {
    try {
      Blueprint blueprint = Families.read(CheckpointFolder.open(folder));
      DeviceBudget.requireRoom(blueprint, Dtype.FLOAT32, Device.cpu());
      blueprint.template();
      blueprint.imageRule();
      assertThat(blueprint.stopTokens()).as(what).isNotNull();
      return false;
    } catch (IllegalArgumentException e) {
      assertThat(e.getMessage()).as(what).isNotBlank().doesNotContain("\n").hasSizeLessThan(2000);
      return true;
    } catch (RuntimeException | Error e) {
      throw new AssertionError(what + " is neither read nor refused", e);
    }
  }

  /** The file with one value replaced by another. */
  private static byte[] otherValue(byte[] json, Random random) throws IOException {
    JsonNode root = JSON.readTree(json);
    List<Runnable> replacements = new ArrayList<>();
    collect(root, random, replacements);
    replacements.get(random.nextInt(replacements.size())).run();
    return JSON.writeValueAsBytes(root);
  }

  private static void collect(JsonNode node, Random random, List<Runnable> replacements) {
    JsonNode other = UNEXPECTED.get(random.nextInt(UNEXPECTED.size()));
    if (node instanceof ObjectNode object) {
      for (String key : object.properties().stream().map(Map.Entry::getKey).toList()) {
        replacements.add(() -> object.set(key, other));
        collect(object.get(key), random, replacements);
      }
    } else if (node instanceof ArrayNode array) {
      for (int i = 0; i < array.size(); i++) {
        int at = i;
        replacements.add(() -> array.set(at, other));
        collect(array.get(i), random, replacements);
      }
    }
  }

  private static byte[] otherBytes(byte[] json, Random random) {
    byte[] file = json.clone();
    int at = random.nextInt(file.length);
    return switch (random.nextInt(3)) {
      case 0 -> Arrays.copyOf(file, at);
      case 1 -> {
        file[at] = (byte) random.nextInt(256);
        yield file;
      }
      default -> {
        Arrays.fill(
            file, at, Math.min(file.length, at + 8), (byte) "[{\"9-".charAt(random.nextInt(5)));
        yield file;
      }
    };
  }

  @ParameterizedTest
  @CsvSource({
    "config.json, 16777216",
    "generation_config.json, 16777216",
    "preprocessor_config.json, 100000000",
    "tokenizer.json, 100000000",
  })
  void refusesJsonThatIsDeepTwofoldOrHuge(String name, int maxBytes) throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve(name);

    Files.writeString(file, "{\"a\":".repeat(100_000));
    assertRefused("Cannot read %s: its JSON is malformed: Document nesting depth".formatted(file));
    Files.writeString(file, "{\"a\":" + "[".repeat(100_000));
    assertRefused("Cannot read %s: its JSON is malformed: Document nesting depth".formatted(file));
    Files.writeString(file, "{\"model\": {}, \"model\": {}}");
    assertRefused("Cannot read %s: its JSON is malformed: Duplicate field".formatted(file));
    Files.writeString(file, "[]");
    assertRefused("Cannot read %s: it does not hold a JSON object".formatted(file));
    Files.write(file, "{\"a\": \"\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1));
    assertRefused("Cannot read %s: its JSON is".formatted(file));
    try (RandomAccessFile huge = new RandomAccessFile(file.toFile(), "rw")) {
      huge.setLength(3L << 30);
    }
    assertRefused(
        "Cannot read %s: it has 3221225472 bytes, more than %d".formatted(file, maxBytes));
  }

  @ParameterizedTest
  @ValueSource(strings = {"1e400", "-1e400", "1e999999999", "NaN", "Infinity", "-Infinity"})
  void refusesNumbersThatAreNone(String number) throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve("config.json");
    ObjectNode config = (ObjectNode) JSON.readTree(file.toFile());
    ((ObjectNode) config.path("text_config")).putRawValue("rms_norm_eps", new RawValue(number));

    Files.writeString(file, JSON.writeValueAsString(config));

    assertRefused(
        number.contains("e")
            ? "config.json: text_config.rms_norm_eps must be a number, not"
            : "Cannot read %s: its JSON is malformed: Non-standard token".formatted(file));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
      })
  void refusesWhatIsNoFile(String name) throws IOException, InterruptedException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve(name);
    String reason = "Cannot read %s: it is neither a file nor a link to one".formatted(file);

    Files.delete(file);
    Files.createDirectory(file);
    assertRefused(reason);
    Files.delete(file);
    Files.createSymbolicLink(file, Path.of("/dev/zero"));
    assertRefused(reason);
    Files.delete(file);
    Path pipe = folder.resolve("pipe");
    assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor()).isZero();
    Files.createSymbolicLink(file, pipe);
    assertRefused(reason);
    Files.delete(pipe); // As a download leaves it that was cut short.
    assertRefused("Cannot read %s: ".formatted(file));
  }

  @Test
  void fingerprintsNoFileOfAnySize() throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve("special_tokens_map.json");
    try (RandomAccessFile huge = new RandomAccessFile(file.toFile(), "rw")) {
      huge.setLength(3L << 30);
    }

    CheckpointFolder checkpoint = CheckpointFolder.open(folder);

    assertThatThrownBy(checkpoint::fingerprint)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read %s: it has 3221225472 bytes, more than 100000000", file);
  }

  /** A tree takes many times the bytes of its text: 99 MB of it filled a heap of a gigabyte. */
  @Test
  void refusesTextThatWouldFillTheHeapAsATree() throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve("config.json");

    Files.writeString(file, "{\"a\": [{}" + ",{}".repeat(33_000_000) + "]}");

    assertRefused("Cannot read %s: it has 99000011 bytes, more than 16777216".formatted(file));
  }

  @Test
  void refusesAHundredThousandTensorsInOneLine() throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path sound = folder.resolve("model.safetensors");
    byte[] weights = Files.readAllBytes(sound);
    int length = (int) ByteBuffer.wrap(weights).order(ByteOrder.LITTLE_ENDIAN).getLong();
    StringBuilder header =
        new StringBuilder(new String(weights, 8, length, StandardCharsets.UTF_8).strip());
    header.setLength(header.length() - 1);
    int data = weights.length - 8 - length;
    for (int i = 0; i < 100_000; i++) {
      header.append(
          ",\"more.%d\":{\"dtype\":\"F32\",\"shape\":[1,0],\"data_offsets\":[%d,%d]}"
              .formatted(i, data, data));
    }
    byte[] more = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
    try (var file = Files.newByteChannel(sound, StandardOpenOption.WRITE)) {
      file.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(more.length).flip());
      file.write(ByteBuffer.wrap(more));
      file.write(ByteBuffer.wrap(weights, 8 + length, data));
    }

    RunSettings.Model settings =
        JobFile.parse(
                "",
                List.of(
                    "input.path=/any",
                    "output.path=/any/out",
                    "model.path=" + folder,
                    "model.dtype=float32"))
            .model();

    assertThatThrownBy(() -> LoadedModel.load(settings).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("100000")
        .hasMessageNotContaining("\n")
        .message()
        .hasSizeLessThan(1000);
  }

  @Test
  void refusesTokenizersWhoseTokensAreNone() throws IOException {
    TinyCheckpoint.copyTo(folder);
    Path file = folder.resolve("tokenizer.json");
    ObjectNode sound = (ObjectNode) JSON.readTree(file.toFile());

    Files.writeString(
        file, sound.deepCopy().set("added_tokens", NODES.arrayNode().add(5)).toString());
    assertRefused("Cannot use tokenizer %s: an entry of added_tokens is no object".formatted(file));
  }

  private void assertRefused(String reason) {
    assertThatThrownBy(
            () -> {
              Blueprint blueprint = Families.read(CheckpointFolder.open(folder));
              blueprint.imageRule();
              blueprint.stopTokens();
              try (Tokenizer tokenizer = blueprint.openTokenizer()) {
                throw new UncheckedIOException(tokenizer + " was read", new IOException());
              }
            })
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(reason)
        .hasMessageNotContaining("\n");
  }
}
