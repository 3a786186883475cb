package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerTest {
  /** Prepends a space to every text between added tokens, as old LLaMA tokenizers do. */
  static final String LEGACY =
      """
      "normalizer": {"type": "Sequence", "normalizers": [
          {"type": "Prepend", "prepend": "_"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]},
      "pre_tokenizer": null,""";

  /** Prepends a space to the whole prompt only. */
  static final String FIRST =
      """
      "normalizer": null,
      "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first",
          "split": false},""";

  private static final int BEGIN = 1;
  private static final int SPACE = 3;
  private static final int H = 5;
  private static final int I = 6;
  private static final int LESS = 7;
  private static final int S = 8;
  private static final int GREATER = 9;
  private static final int SPACE_H = 10;
  private static final int SPACE_HI = 11;
  private static final int LESS_S = 12;
  private static final int IMAGE = 13;
  private static final int UNKNOWN = 0;

  @TempDir Path folder;

  @Test
  void encodesTheWholePromptInOneGo() throws IOException {
    List<Piece> pieces = List.of(new Text("h"), new Special("<image>"), new Text("i"));
    try (Tokenizer legacy = open(LEGACY);
        Tokenizer first = open(FIRST)) {
      assertThat(legacy.encode(pieces)).containsExactly(BEGIN, SPACE_H, IMAGE, SPACE, I);
      assertThat(first.encode(pieces)).containsExactly(BEGIN, SPACE_H, IMAGE, I);
      assertThat(first.encodeRaw("h<image>i")).containsExactly(BEGIN, SPACE_H, IMAGE, I);
      assertThat(first.encodeContinuation(pieces)).containsExactly(SPACE_H, IMAGE, I);
      assertThat(first.encodeRawContinuation("hi")).containsExactly(SPACE_HI);
    }
  }

  @Test
  void readsSpecialTokensInTextAsWords() throws IOException {
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThat(tokenizer.encodeRaw("hi<s>")).containsExactly(BEGIN, SPACE_HI, BEGIN);
      assertThat(tokenizer.encode(List.of(new Text("hi<s>"))))
          .containsExactly(BEGIN, SPACE_HI, LESS_S, GREATER);
      assertThat(tokenizer.encode(List.of(new Text("<s"), new Text(">"))))
          .containsExactly(BEGIN, SPACE, LESS_S, GREATER);
      assertThat(tokenizer.encode(List.of(new Special("<s>"), new Text("<image>"))))
          .containsExactly(BEGIN, BEGIN, LESS, I, UNKNOWN, GREATER);
    }
  }

  @Test
  void neverReadsAPrivateSpellingInText() throws IOException {
    try (Tokenizer tokenizer = open(FIRST)) {
      // What stands for <s> inside, were it let through.
      assertThat(tokenizer.encode(List.of(new Text("h\ufdd01\ufdd1"))))
          .containsExactly(BEGIN, SPACE_H, UNKNOWN);
    }
  }

  @Test
  void readsALoneSurrogateAsUnknown() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.open(Path.of("src/test/resources/golden/llava-gqa"))) {
      int[] expected = tokenizer.encodeRaw("caf\u00e9 \ufffd \ud83e\udd8a\0");
      String text = "caf\u00e9 \ud83e \ud83e\udd8a\0";
      assertThat(tokenizer.encodeRaw(text)).isEqualTo(expected);
      assertThat(tokenizer.encode(List.of(new Text(text)))).isEqualTo(expected);
    }
  }

  @Test
  void neverCutsOrPads() throws IOException {
    String longText = "h".repeat(5000);
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThat(tokenizer.encode(List.of(new Text(longText)))).hasSize(5001);
      assertThat(tokenizer.encodeRaw(longText)).hasSize(5001);
    }
  }

  @Test
  void decodesWithoutSpecialTokens() throws IOException {
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThat(tokenizer.decode(new int[] {BEGIN, SPACE_HI, IMAGE, SPACE, S, 2}))
          .isEqualTo(" hi s");
    }
  }

  @Test
  void knowsTheIdsOfItsTokens() throws IOException {
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThat(tokenizer.id("<image>")).hasValue(IMAGE);
      assertThat(tokenizer.id("<s>")).hasValue(BEGIN);
      assertThat(tokenizer.id("h")).hasValue(H);
      assertThat(tokenizer.id("<video>")).isEmpty();
    }
  }

  @Test
  void refusesAnUnknownSpecialToken() throws IOException {
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> tokenizer.encode(List.of(new Special("<video>"))))
          .withMessage(
              "Cannot encode special token <video>: the tokenizer has no such added token");
    }
  }

  @Test
  void refusesAModelWithoutNamedTokens() throws IOException {
    Path file = folder.resolve("tokenizer.json");
    Files.writeString(file, "{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 0]]}}");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Tokenizer.open(folder))
        .withMessage(
            "Cannot use tokenizer %s: model type \"Unigram\" without a vocabulary of names and ids"
                .formatted(file));
  }

  @Test
  void refusesADescriptionThatTheNativeCodeCannotRead() throws IOException {
    Files.writeString(
        folder.resolve("tokenizer.json"), "{\"model\": {\"type\": \"New\", \"vocab\": {}}}");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Tokenizer.open(folder))
        .withMessageStartingWith("Cannot use the tokenizer: ");
  }

  @Test
  void saysWhatIsMissing() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Tokenizer.open(folder))
        .withMessage("Cannot find tokenizer.json or tokenizer.model in " + folder);
  }

  @Test
  void prefersTheDescriptionToTheModel() throws IOException {
    Files.writeString(folder.resolve("tokenizer.model"), "not read");
    try (Tokenizer tokenizer = open(FIRST)) {
      assertThat(tokenizer.encodeRaw("hi")).containsExactly(BEGIN, SPACE_HI);
    }
  }

  private Tokenizer open(String splitting) throws IOException {
    return tiny(folder, splitting);
  }

  /** A vocabulary of 14 tokens, whose merges could make the special token {@code <s>} from text. */
  static Tokenizer tiny(Path folder, String splitting) throws IOException {
    Files.writeString(
        folder.resolve("tokenizer.json"),
        """
        {"version": "1.0",
         "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0,
             "direction": "Right"},
         "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
             "pad_id": 2, "pad_type_id": 0, "pad_token": "</s>"},
         "added_tokens": [%s, %s, %s, %s],
         %s
         "post_processor": {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                        {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                      {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
         "decoder": {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
         "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
             "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
             "byte_fallback": false, "ignore_merges": false,
             "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "_": 3, ":": 4, "h": 5, "i": 6, "<": 7,
                 "s": 8, ">": 9, "_h": 10, "_hi": 11, "<s": 12},
             "merges": ["_ h", "_h i", "< s", "<s >"]}}
        """
            .formatted(
                special(0, "<unk>"),
                special(1, "<s>"),
                special(2, "</s>"),
                special(13, "<image>"),
                splitting));
    return Tokenizer.open(folder);
  }

  private static String special(int id, String content) {
    return """
        {"id": %d, "content": "%s", "single_word": false, "lstrip": false, "rstrip": false,
         "normalized": false, "special": true}"""
        .formatted(id, content);
  }
}
