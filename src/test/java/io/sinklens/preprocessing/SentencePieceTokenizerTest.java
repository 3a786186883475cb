package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.Tokenizer.Legacy;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the golden files do not hold: refusals, threads, texts that Python cannot have. */
class SentencePieceTokenizerTest {
  private static final Path LLAMA = Path.of("src/test/resources/golden/sentencepiece-llama");
  private static final Path INTERNLM2 =
      Path.of("src/test/resources/golden/sentencepiece-internlm2");
  private static final int IM_END = 598;

  @TempDir Path folder;

  @BeforeEach
  void copyLlama() throws IOException {
    for (String file : List.of("tokenizer.model", "tokenizer_config.json")) {
      Files.copy(LLAMA.resolve(file), folder.resolve(file));
    }
  }

  @Test
  void neverReadsARenamedTokenInWords() {
    // [UNUSED_TOKEN_145] is how the model itself spells <|im_end|>.
    String spelling = "[UNUSED_TOKEN_145]";
    try (Tokenizer tokenizer = Tokenizer.open(INTERNLM2)) {
      assertThat(tokenizer.id("<|im_end|>")).hasValue(IM_END);
      assertThat(tokenizer.encodeRawContinuation("<|im_end|>")).containsExactly(IM_END);
      assertThat(tokenizer.encodeRawContinuation(spelling)).containsExactly(IM_END);
      assertThat(tokenizer.encodeContinuation(List.of(new Special("<|im_end|>"))))
          .containsExactly(IM_END);
      int[] words = tokenizer.encodeContinuation(List.of(new Text(spelling + "<|im_end|>")));
      assertThat(words).hasSizeGreaterThan(10).doesNotContain(IM_END);
      assertThat(tokenizer.decode(words)).isEqualTo(spelling + "<|im_end|>");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"sentencepiece-llama", "sentencepiece-internlm2"})
  void readsALoneSurrogateAsUnknown(String name) {
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA.resolveSibling(name))) {
      int[] expected = tokenizer.encodeRaw("caf\u00e9 \ufffd \ud83e\udd8a");
      String text = "caf\u00e9 \ud83e \ud83e\udd8a";
      assertThat(tokenizer.encodeRaw(text)).isEqualTo(expected);
      assertThat(tokenizer.encode(List.of(new Text(text)))).isEqualTo(expected);
      // Two halves that meet are one character.
      assertThat(tokenizer.encode(List.of(new Text("\ud83e"), new Text("\udd8a"))))
          .isEqualTo(tokenizer.encodeRaw("\ud83e\udd8a"));
    }
  }

  @Test
  void joinsWordsBeforeItEncodesThem() {
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA)) {
      assertThat(tokenizer.encode(List.of(new Text("the pic"), new Text(""), new Text("ture"))))
          .isEqualTo(tokenizer.encodeRaw("the picture"));
      assertThat(tokenizer.encode(List.of())).isEqualTo(tokenizer.encodeRaw(""));
      assertThat(tokenizer.encode(List.of(new Text("")))).isEqualTo(tokenizer.encodeRaw(""));
    }
  }

  @Test
  void knowsTheIdsOfItsTokens() {
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA)) {
      assertThat(tokenizer.id("<s>")).hasValue(1);
      assertThat(tokenizer.id("<0x0A>")).hasValue(13);
      assertThat(tokenizer.id("<image>")).hasValue(601);
      assertThat(tokenizer.id("<video>")).isEmpty();
    }
  }

  @Test
  void dropsIdsOfNoToken() {
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA)) {
      int[] ids = tokenizer.encodeRaw("the picture");
      int[] more = Arrays.copyOf(ids, ids.length + 3);
      more[ids.length] = -200;
      more[ids.length + 1] = 31_999;
      more[ids.length + 2] = Integer.MAX_VALUE;
      assertThat(tokenizer.decode(more)).isEqualTo("the picture");
      assertThat(tokenizer.decode(new int[0])).isEmpty();
    }
  }

  @Test
  void decodesTheUnknownTokenAsTheModelSays() throws IOException {
    byte[] model = Files.readAllBytes(LLAMA.resolve("tokenizer.model"));
    List<String> tokens = List.of("an", "<unk>", "\u2581is", "<s>", "\u2581not in it");
    assertThat(new SentencePieceVocabulary(new SentencePieceFile(model)).decode(tokens))
        .isEqualTo("an \u2047  is\u2581not in it");
    // { trainer_spec: { unk_surface: "?" } }
    byte[] longer = Arrays.copyOf(model, model.length + 6);
    System.arraycopy(new byte[] {18, 4, (byte) 0xe2, 2, 1, '?'}, 0, longer, model.length, 6);
    assertThat(new SentencePieceVocabulary(new SentencePieceFile(longer)).decode(tokens))
        .isEqualTo("an? is\u2581not in it");
  }

  @Test
  void servesThreadsAtTheSameTime() throws InterruptedException, ExecutionException {
    String text = "What is in the picture? 图片 \ud83e\udd8a ".repeat(50);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA)) {
      int[] expected = tokenizer.encodeRaw(text);
      List<Future<Boolean>> runs = new ArrayList<>();
      for (int thread = 0; thread < 4; thread++) {
        runs.add(
            threads.submit(
                () -> {
                  boolean equal = true;
                  for (int i = 0; i < 200; i++) {
                    equal &= Arrays.equals(tokenizer.encodeRaw(text), expected);
                    equal &= tokenizer.decode(expected).equals(text);
                  }
                  return equal;
                }));
      }
      for (Future<Boolean> run : runs) {
        assertThat(run.get()).isTrue();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void letsRunningCallsEndWhenClosed() throws InterruptedException, ExecutionException {
    String text = "the picture ".repeat(2000);
    Tokenizer tokenizer = Tokenizer.open(INTERNLM2);
    int[] expected = tokenizer.encodeRaw(text);
    CountDownLatch running = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<String> end =
          thread.submit(
              () -> {
                while (true) {
                  try {
                    assertThat(tokenizer.encodeRaw(text)).isEqualTo(expected);
                    running.countDown();
                  } catch (IllegalStateException e) {
                    return e.getMessage();
                  }
                }
              });
      running.await();
      tokenizer.close();
      assertThat(end.get()).isEqualTo("Cannot encode: the tokenizer is closed");
      tokenizer.close();
      assertThatIllegalStateException()
          .isThrownBy(() -> tokenizer.encode(List.of(new Text("a"))))
          .withMessage("Cannot encode: the tokenizer is closed");
    } finally {
      thread.shutdownNow();
    }
  }

  @Test
  void refusesAnUnknownSpecialToken() {
    try (Tokenizer tokenizer = Tokenizer.open(LLAMA)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> tokenizer.encode(List.of(new Special("<video>"))))
          .withMessage(
              "Cannot encode special token <video>: the tokenizer has no such added token");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "tokenizer_class | \"T5Tokenizer\" | tokenizer_class must be LlamaTokenizer,"
            + " LlamaTokenizerFast or InternLM2Tokenizer, not T5Tokenizer",
        "tokenizer_class | null | tokenizer_class must be LlamaTokenizer,"
            + " LlamaTokenizerFast or InternLM2Tokenizer, not absent",
        "sp_model_kwargs | {\"enable_sampling\":true} | sp_model_kwargs must be empty,"
            + " not {\"enable_sampling\":true}",
        "extra_special_tokens | {\"image_token\":\"<image>\"} | extra_special_tokens must be"
            + " empty, not {\"image_token\":\"<image>\"}",
        "split_special_tokens | true | split_special_tokens must be false, not true",
        "legacy | \"yes\" | legacy must be true or false, not \"yes\"",
        "bos_token | null | it has no bos_token",
        "unk_token | null | it has no unk_token",
        "additional_special_tokens | [\"<new>\", \"<newer>\", \"<newest>\", \"<last>\"] | added"
            + " tokens \u2581red and <last> both have the id 611",
        "pad_token | 5 | an added token is 5",
        "added_tokens_decoder | {\"-1\": {\"content\": \"<x>\"}} | an added token has the id -1",
      })
  void refusesWhatItDoesNotKnow(String key, String value, String reason) throws IOException {
    set(key, value);
    assertRefused(reason);
  }

  @Test
  void servesAFolderWithoutSpecialTokens() throws IOException {
    for (String key : List.of("bos_token", "eos_token", "unk_token", "pad_token")) {
      set(key, "null");
    }
    set("added_tokens_decoder", "{}");
    set("additional_special_tokens", "[]");
    set("add_bos_token", "false");
    set("legacy", "true");
    try (Tokenizer plain = Tokenizer.open(folder);
        Tokenizer llama = Tokenizer.open(LLAMA, Legacy.ON)) {
      assertThat(plain.encodeRaw("the picture<s>"))
          .isEqualTo(llama.encodeContinuation(List.of(new Text("the picture<s>"))));
      assertThat(plain.decode(plain.encodeRaw("the picture<s>"))).isEqualTo("the picture<s>");
    }
  }

  @Test
  void refusesFilesThatHoldNoObject() throws IOException {
    Files.writeString(folder.resolve("tokenizer_config.json"), "[]");
    assertRefused(
        "Cannot read %s: it does not hold a JSON object"
            .formatted(folder.resolve("tokenizer_config.json")));
  }

  @Test
  void refusesAModelWithoutConfiguration() throws IOException {
    Files.delete(folder.resolve("tokenizer_config.json"));
    assertRefused("there is no tokenizer_config.json beside it");
  }

  @Test
  void refusesWhatIsNoModel() throws IOException {
    writeModel("version https://git-lfs.github.com/spec/v1\n".getBytes(StandardCharsets.UTF_8));
    assertRefused("it is no protocol buffer");
    writeModel(new byte[0]);
    assertRefused("its model_type must be 2, byte-pair encoding, not 1");
    byte[] model = Files.readAllBytes(LLAMA.resolve("tokenizer.model"));
    writeModel(Arrays.copyOf(model, 1000));
    assertRefused("it ends too early");
    // An unknown token that is an ordinary one: only the native library notices.
    model[1 + model[1]] = 1;
    writeModel(model);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Tokenizer.open(folder))
        .withMessageStartingWith("Cannot use tokenizer ")
        .withMessageContaining("unk");
  }

  @Test
  void refusesModelsThatWouldEndTheProcess() throws IOException {
    byte[] model = Files.readAllBytes(LLAMA.resolve("tokenizer.model"));
    // { pieces: { piece: "", type: USER_DEFINED } } and { ... piece: "\0" ... }
    for (byte[] token :
        List.of(new byte[] {10, 4, 10, 0, 24, 4}, new byte[] {10, 5, 10, 1, 0, 24, 4})) {
      ByteArrayOutputStream longer = new ByteArrayOutputStream();
      longer.writeBytes(model);
      longer.writeBytes(token);
      writeModel(longer.toByteArray());
      assertRefused("a token is empty or has a NUL");
    }
  }

  @Test
  void refusesADenormalizer() throws IOException {
    ByteArrayOutputStream longer = new ByteArrayOutputStream();
    longer.writeBytes(Files.readAllBytes(LLAMA.resolve("tokenizer.model")));
    // { denormalizer_spec: { precompiled_charsmap: "x" } }
    longer.writeBytes(new byte[] {42, 3, 18, 1, 'x'});
    writeModel(longer.toByteArray());
    assertRefused("a denormalizer is not supported");
  }

  private void assertRefused(String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Tokenizer.open(folder))
        .withMessage(
            "Cannot use tokenizer %s: %s".formatted(folder.resolve("tokenizer.model"), reason));
  }

  private void writeModel(byte[] bytes) throws IOException {
    Files.write(folder.resolve("tokenizer.model"), bytes);
  }

  private void set(String key, String value) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    Path file = folder.resolve("tokenizer_config.json");
    ObjectNode config = (ObjectNode) mapper.readTree(file.toFile());
    config.set(key, mapper.readTree(value));
    mapper.writeValue(file.toFile(), config);
  }
}
