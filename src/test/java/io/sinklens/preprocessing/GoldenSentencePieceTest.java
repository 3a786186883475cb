package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.Tokenizer.Legacy;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against the slow tokenizers of transformers, in folders that have no tokenizer.json. */
class GoldenSentencePieceTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final String LLAMA_LEGACY = "sentencepiece-llama-legacy";
  private static final String LLAMA = "sentencepiece-llama";
  private static final String INTERNLM2 = "sentencepiece-internlm2";
  private static final int IMAGE_INDEX = -200;

  @TempDir Path changed;

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA, INTERNLM2})
  void encodesAsTheSlowTokenizer(String folder) throws IOException {
    JsonNode tokens = tokens(folder);
    assertThat(tokens.get("encode")).hasSizeGreaterThan(200);
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(folder))) {
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
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA, INTERNLM2})
  void readsWhatLooksSpecialInWordsAsWords(String folder) throws IOException {
    JsonNode tokens = tokens(folder);
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(folder))) {
      for (JsonNode text : tokens.get("encode_as_words")) {
        assertThat(tokenizer.encode(List.of(new Text(text.get("text").asText()))))
            .as(text.toString())
            .isEqualTo(ints(text.get("ids")));
      }
      for (JsonNode prompt : tokens.get("prompts")) {
        List<Piece> pieces =
            StreamSupport.stream(prompt.get("pieces").spliterator(), false)
                .map(GoldenSentencePieceTest::piece)
                .toList();
        assertThat(tokenizer.encode(pieces))
            .as(prompt.toString())
            .isEqualTo(ints(prompt.get("ids")));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA, INTERNLM2})
  void decodesAsTheSlowTokenizer(String folder) throws IOException {
    JsonNode tokens = tokens(folder);
    assertThat(tokens.get("decode_skipping_special")).hasSizeGreaterThan(500);
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(folder))) {
      for (JsonNode text : tokens.get("decode_skipping_special")) {
        assertThat(tokenizer.decode(ints(text.get("ids"))))
            .as(text.toString())
            .isEqualTo(text.get("text").asText());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA, INTERNLM2})
  void encodesLongTextsAsTheSlowTokenizer(String folder) throws IOException {
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(folder))) {
      for (JsonNode text : tokens(folder).get("long")) {
        int[] ids =
            tokenizer.encodeRaw(text.get("text").asText().repeat(text.get("times").asInt()));
        assertThat(ids).hasSize(text.get("length").asInt());
        assertThat(crc(ids)).isEqualTo(text.get("crc32").asLong());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA, INTERNLM2})
  void obeysTheConfigurationAsTheSlowTokenizer(String folder) throws IOException {
    JsonNode tokens = tokens(folder);
    for (JsonNode variant : tokens.get("variants")) {
      Path copy = changed(folder, variant);
      try (Tokenizer tokenizer = Tokenizer.open(copy)) {
        assertVariant(tokenizer, tokens, variant);
      }
    }
  }

  @Test
  void obeysTheFamilyBeforeTheConfiguration() throws IOException {
    JsonNode legacy = tokens(LLAMA_LEGACY);
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(LLAMA_LEGACY), Legacy.OFF)) {
      assertVariant(tokenizer, legacy, variant(legacy, "{\"legacy\":false}"));
    }
    JsonNode current = tokens(LLAMA);
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(LLAMA), Legacy.ON)) {
      assertVariant(tokenizer, current, variant(current, "{\"legacy\":true}"));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {LLAMA_LEGACY, LLAMA})
  void makesThePromptsOfTheOriginalLlavaCode(String folder) throws IOException, RowFailedException {
    try (Tokenizer tokenizer = Tokenizer.open(GOLDEN.resolve(folder))) {
      var settings =
          new PromptEncoder.Settings("<image>", IMAGE_INDEX, Encoding.AROUND_IMAGE, 4096);
      PromptEncoder encoder = new PromptEncoder(tokenizer, PromptTemplate.PLAIN, settings);
      for (JsonNode prompt : tokens(folder).get("around_image")) {
        String raw = prompt.get("before").asText() + "<image>" + prompt.get("after").asText();
        assertThat(encoder.encodeRaw(raw, 1, 0).ids())
            .as(prompt.toString())
            .isEqualTo(ints(prompt.get("ids")));
      }
    }
  }

  private static void assertVariant(Tokenizer tokenizer, JsonNode tokens, JsonNode variant) {
    for (int i = 0; i < tokens.get("encode").size(); i++) {
      String text = tokens.get("encode").get(i).get("text").asText();
      assertThat(tokenizer.encodeRaw(text))
          .as(
              "%s with %s %s",
              text, variant.get("tokenizer_config"), variant.get("normalizer_spec"))
          .isEqualTo(ints(variant.get("encode").get(i)));
    }
    for (JsonNode text : variant.get("decode_skipping_special")) {
      assertThat(tokenizer.decode(ints(text.get("ids"))))
          .as(
              "%s with %s %s",
              text, variant.get("tokenizer_config"), variant.get("normalizer_spec"))
          .isEqualTo(text.get("text").asText());
    }
  }

  private static JsonNode variant(JsonNode tokens, String changes) {
    return StreamSupport.stream(tokens.get("variants").spliterator(), false)
        .filter(variant -> variant.get("tokenizer_config").toString().equals(changes))
        .findFirst()
        .orElseThrow();
  }

  /** A copy of a folder whose tokenizer_config.json, and perhaps its model, is changed. */
  private Path changed(String folder, JsonNode variant) throws IOException {
    for (String file : List.of("tokenizer.model", "special_tokens_map.json", "added_tokens.json")) {
      Files.deleteIfExists(changed.resolve(file));
      if (Files.exists(GOLDEN.resolve(folder).resolve(file))) {
        Files.copy(GOLDEN.resolve(folder).resolve(file), changed.resolve(file));
      }
    }
    if (variant.get("normalizer_spec").path("remove_extra_whitespaces").asBoolean()) {
      // What is behind counts: { normalizer_spec: { remove_extra_whitespaces: true } }
      byte[] addition = {26, 2, 32, 1};
      Files.write(changed.resolve("tokenizer.model"), addition, StandardOpenOption.APPEND);
    }
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode config =
        (ObjectNode)
            mapper.readTree(GOLDEN.resolve(folder).resolve("tokenizer_config.json").toFile());
    config.setAll((ObjectNode) variant.get("tokenizer_config"));
    mapper.writeValue(changed.resolve("tokenizer_config.json").toFile(), config);
    return changed;
  }

  private static Piece piece(JsonNode piece) {
    return piece.has("special")
        ? new Special(piece.get("special").asText())
        : new Text(piece.get("text").asText());
  }

  private static long crc(int[] ids) {
    ByteBuffer bytes = ByteBuffer.allocate(ids.length * Integer.BYTES);
    IntStream.of(ids).forEach(bytes::putInt);
    CRC32 crc = new CRC32();
    crc.update(bytes.array());
    return crc.getValue();
  }

  private static JsonNode tokens(String folder) throws IOException {
    return new ObjectMapper().readTree(GOLDEN.resolve(folder).resolve("tokens.json").toFile());
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }
}
