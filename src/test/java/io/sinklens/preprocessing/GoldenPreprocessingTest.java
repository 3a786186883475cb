package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Against what transformers, tokenizers and Pillow made of the golden images and questions. */
class GoldenPreprocessingTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final int PATCH_SIZE = 14;
  private static final int IMAGE_TOKENS = 16;

  // CRC-32 of convert("RGB") in Pillow 13.0.
  @ParameterizedTest
  @CsvSource({
    "shapes.png, 120a407e",
    "wide.png, d41ee28a",
    "tall.png, ca88d203",
    "small.png, cb02a4db",
    "square.png, 166afb1f",
    "noise.png, 90cfe132",
    "gray.png, 2def6406",
    "gray-alpha.png, e85f34e3",
    "bilevel.png, 85a5279c",
    "transparent.png, 34928b29",
    "palette.png, 68c0fcb9",
    "palette-transparent.png, 42dcb046"
  })
  void decodesPngAsPillowDoes(String file, String crc) throws IOException, RowFailedException {
    assertThat(SyntheticImage.crc(decode(file, Exif.IGNORE))).isEqualTo(crc);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "jpeg-444.jpg",
        "jpeg-420.jpg",
        "jpeg-progressive.jpg",
        "jpeg-gray.jpg",
        "jpeg-cmyk.jpg",
        "jpeg-exif6.jpg",
        "webp-lossless.webp",
        "gif.gif",
        "bmp.bmp",
        "tiff.tiff"
      })
  void decodesOtherFormatsAsPillowDoes(String file) throws IOException, RowFailedException {
    RgbImage expected = reference(file + ".decoded.png");
    RgbImage actual = decode(file, Exif.IGNORE);
    assertThat(actual.width()).isEqualTo(expected.width());
    assertThat(actual.samples()).isEqualTo(expected.samples());
  }

  @Test
  void turnsAPhotographUprightAsPillowDoes() throws IOException, RowFailedException {
    RgbImage expected = reference("jpeg-exif6.jpg.upright.png");
    RgbImage actual = decode("jpeg-exif6.jpg", Exif.APPLY);
    assertThat(actual.width()).isEqualTo(expected.width());
    assertThat(actual.samples()).isEqualTo(expected.samples());
  }

  /**
   * The reader repeats chroma samples where libwebp interpolates them: up to 44 levels, mean 3.2.
   */
  @Test
  void decodesLossyWebpNearlyAsPillowDoes() throws IOException, RowFailedException {
    byte[] expected = reference("webp-lossy.webp.decoded.png").samples();
    byte[] actual = decode("webp-lossy.webp", Exif.IGNORE).samples();
    assertThat(actual).hasSameSizeAs(expected);
    int[] differences =
        IntStream.range(0, expected.length)
            .map(i -> Math.abs((actual[i] & 0xff) - (expected[i] & 0xff)))
            .toArray();
    assertThat(IntStream.of(differences).max().orElseThrow()).isLessThanOrEqualTo(48);
    assertThat(IntStream.of(differences).average().orElseThrow()).isLessThan(3.5);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"llava-mha", "llava-gqa", "llava-bf16", "qwen2-vl", "qwen2-vl-tied", "qwen2.5-vl"})
  void tokenizesAsTransformersDoes(String checkpoint) throws IOException {
    JsonNode tokens = json(checkpoint, "tokens.json");
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(checkpoint))) {
      for (JsonNode text : tokens.get("encode")) {
        assertThat(tokenizer.encodeRaw(text.get("text").asText()))
            .as(text.toString())
            .isEqualTo(ints(text.get("ids")));
      }
      for (JsonNode text : tokens.get("encode_without_bos")) {
        assertThat(tokenizer.encodeRawContinuation(text.get("text").asText()))
            .as(text.toString())
            .isEqualTo(ints(text.get("ids")));
      }
      for (JsonNode text : tokens.get("decode_skipping_special")) {
        assertThat(tokenizer.decode(ints(text.get("ids")))).isEqualTo(text.get("text").asText());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llava-mha", "llava-gqa", "llava-bf16"})
  void makesThePromptsOfTransformers(String checkpoint) throws IOException, RowFailedException {
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(checkpoint))) {
      int imageTokenId = tokenizer.id("<image>").orElseThrow();
      var settings = new PromptEncoder.Settings("<image>", imageTokenId, Encoding.WHOLE, 4096);
      for (JsonNode expected : json(checkpoint, "cases.json").get("cases")) {
        PromptTemplate template =
            expected.get("template").asText().equals("plain")
                ? PromptTemplate.PLAIN
                : PromptTemplate.VICUNA_V1;
        Prompt prompt =
            new PromptEncoder(tokenizer, template, settings)
                .encode(expected.get("question").asText(), IMAGE_TOKENS, 12);
        assertThat(prompt.ids())
            .as(expected.get("question").asText())
            .isEqualTo(ints(expected.get("prompt_token_ids")));
        assertThat(new int[] {prompt.image().start(), prompt.image().end()})
            .isEqualTo(ints(expected.get("image_span")));
      }
    }
  }

  /** The trace holds values in the checkpoint's type. */
  @ParameterizedTest
  @CsvSource({"llava-mha, FLOAT32", "llava-gqa, FLOAT32", "llava-bf16, BFLOAT16"})
  void makesThePixelValuesOfTransformers(String checkpoint, Rounding rounding)
      throws IOException, RowFailedException {
    ImageRule crop = ImageRules.fromCheckpoint(GOLDEN.resolve(checkpoint), PATCH_SIZE);
    assertThat(crop).isEqualTo(new ResizeAndCrop(56, 56, PATCH_SIZE, Normalization.CLIP));
    ImageRule pad = new PadToSquare(56, PATCH_SIZE, Normalization.CLIP);
    int traced = 0;
    for (JsonNode expected : json(checkpoint, "cases.json").get("cases")) {
      if (!expected.get("trace").isNull()) {
        ImageRule rule = expected.get("image_rule").asText().equals("pad") ? pad : crop;
        PixelValues values = rule.apply(decode(expected.get("image").asText(), rule.exif()));
        assertThat(values.grid().tokens()).isEqualTo(IMAGE_TOKENS);
        float[] expectedValues =
            trace(checkpoint, expected.get("trace").asText() + ".pixel_values");
        assertThat(largestDifference(values.data(), expectedValues, rounding))
            .isLessThanOrEqualTo(1e-6f);
        traced++;
      }
    }
    assertThat(traced).isEqualTo(2);
  }

  private enum Rounding {
    FLOAT32,
    BFLOAT16;

    float apply(float value) {
      return switch (this) {
        case FLOAT32 -> value;
        case BFLOAT16 -> {
          int bits = Float.floatToRawIntBits(value);
          yield Float.intBitsToFloat((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
        }
      };
    }
  }

  private static float largestDifference(float[] actual, float[] expected, Rounding rounding) {
    assertThat(actual).hasSameSizeAs(expected);
    float largest = 0;
    for (int i = 0; i < actual.length; i++) {
      largest = Math.max(largest, Math.abs(rounding.apply(actual[i]) - expected[i]));
    }
    return largest;
  }

  private static RgbImage decode(String file, Exif exif) throws IOException, RowFailedException {
    return new ImageDecoder(exif).decode(Files.readAllBytes(GOLDEN.resolve("images/" + file)));
  }

  /** An RGB PNG file through the JDK alone. */
  private static RgbImage reference(String file) throws IOException {
    BufferedImage image = ImageIO.read(GOLDEN.resolve("images/" + file).toFile());
    int[] levels =
        image.getRaster().getPixels(0, 0, image.getWidth(), image.getHeight(), (int[]) null);
    byte[] samples = new byte[levels.length];
    for (int i = 0; i < levels.length; i++) {
      samples[i] = (byte) levels[i];
    }
    return new RgbImage(image.getWidth(), image.getHeight(), samples);
  }

  private static JsonNode json(String checkpoint, String file) throws IOException {
    return new ObjectMapper().readTree(GOLDEN.resolve(checkpoint).resolve(file).toFile());
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }

  /** A float32 tensor of the checkpoint's trace. */
  private static float[] trace(String checkpoint, String name) throws IOException {
    byte[] file = Files.readAllBytes(GOLDEN.resolve(checkpoint).resolve("trace.safetensors"));
    ByteBuffer buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int headerLength = Math.toIntExact(buffer.getLong());
    JsonNode tensor = new ObjectMapper().readTree(file, 8, headerLength).get(name);
    int start = tensor.get("data_offsets").get(0).asInt();
    int end = tensor.get("data_offsets").get(1).asInt();
    float[] values = new float[(end - start) / Float.BYTES];
    buffer.position(8 + headerLength + start);
    buffer.asFloatBuffer().get(values);
    return values;
  }
}
