package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.Prompt.ImageSpan;
import io.sinklens.preprocessing.PromptEncoder.Encoding;
import io.sinklens.preprocessing.PromptEncoder.Settings;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Token ids are those of {@link TokenizerTest#tiny}. */
class PromptEncoderTest {
  private static final PromptTemplate TEMPLATE =
      new PromptTemplate(
          "tiny", List.of(new Text("h"), new Special("<image>")), List.of(new Text(":")), "");

  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void openTokenizer() throws IOException {
    tokenizer = TokenizerTest.tiny(folder, TokenizerTest.FIRST);
  }

  @AfterEach
  void closeTokenizer() {
    tokenizer.close();
  }

  @Test
  void repeatsTheImageTokenForEveryEmbedding() throws RowFailedException {
    Prompt prompt = encoder(Encoding.WHOLE).encode("i", 3, 1);
    assertThat(prompt.ids()).containsExactly(1, 10, 13, 13, 13, 6, 4);
    assertThat(prompt.image()).isEqualTo(new ImageSpan(2, 5));
    assertThat(prompt.image().length()).isEqualTo(3);
  }

  @Test
  void refusesATokenItHasNothingFor() throws RowFailedException {
    Settings settings = new Settings("<image>", 13, Encoding.WHOLE, 10, Set.of("</s>"));
    PromptEncoder encoder = new PromptEncoder(tokenizer, TEMPLATE, settings);
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> encoder.encodeRaw("h<image>i</s>:", 2, 1))
        .withMessage("Prompt must not hold </s>: nothing can be put in its place")
        .satisfies(e -> assertThat(e.failure().kind()).isEqualTo(FailureKind.UNSUPPORTED_INPUT));
    // In a question it is text.
    assertThat(encoder.encode("</s>", 1, 1).image().length()).isEqualTo(1);
  }

  @Test
  void encodesAroundTheImageLikeTheOriginalCode() throws RowFailedException {
    Prompt prompt = encoder(Encoding.AROUND_IMAGE).encode("i", 2, 1);
    // The text after the image gets a space of its own.
    assertThat(prompt.ids()).containsExactly(1, 10, 13, 13, 3, 6, 4);
    assertThat(encoder(Encoding.AROUND_IMAGE).encodeRaw("h<image>i:", 2, 1).ids())
        .isEqualTo(prompt.ids());
  }

  @Test
  void keepsSpecialTokensInAQuestionAsWordsButObeysThemInARawPrompt() throws RowFailedException {
    assertThat(encoder(Encoding.WHOLE).encode("<s>", 1, 1).ids())
        .containsExactly(1, 10, 13, 12, 9, 4);
    assertThat(encoder(Encoding.WHOLE).encodeRaw("h<image><s>:", 1, 1).ids())
        .containsExactly(1, 10, 13, 1, 4);
  }

  @Test
  void appendsTheSuffixToTheQuestion() throws RowFailedException {
    var encoder =
        new PromptEncoder(tokenizer, TEMPLATE.withQuestionSuffix("<h"), settings(Encoding.WHOLE));
    assertThat(encoder.encode("i", 1, 1).ids()).containsExactly(1, 10, 13, 6, 7, 5, 4);
  }

  @Test
  void refusesAMissingQuestion() {
    requireFailure(
        () -> encoder(Encoding.WHOLE).encode(null, 1, 1),
        FailureKind.QUESTION_MISSING,
        "Cannot ask: the question is null");
    requireFailure(
        () -> encoder(Encoding.WHOLE).encodeRaw(" \n", 1, 1),
        FailureKind.QUESTION_MISSING,
        "Cannot ask: the prompt is blank");
  }

  @Test
  void refusesARawPromptWithoutExactlyOneImage() {
    requireFailure(
        () -> encoder(Encoding.WHOLE).encodeRaw("h", 1, 1),
        FailureKind.UNSUPPORTED_INPUT,
        "Prompt must have <image> exactly once, not 0 times");
    requireFailure(
        () -> encoder(Encoding.AROUND_IMAGE).encodeRaw("<image>h<image>", 1, 1),
        FailureKind.UNSUPPORTED_INPUT,
        "Prompt must have <image> exactly once, not 2 times");
  }

  @Test
  void refusesAPromptThatLeavesNoRoomForTheAnswer() throws RowFailedException {
    PromptEncoder encoder = encoder(Encoding.WHOLE);
    // 4 tokens of text and 10 of the image, in a context of 20.
    assertThat(encoder.encode("i", 10, 6).ids()).hasSize(14);
    requireFailure(
        () -> encoder.encode("i", 10, 7),
        FailureKind.PROMPT_TOO_LONG,
        "Cannot fit the prompt: 14 tokens and up to 7 new ones exceed the context of 20");
  }

  @Test
  void publishedTemplatesReadAsTheirAuthorsWroteThem() {
    assertThat(text(PromptTemplate.VICUNA_V1.pieces("Q?")))
        .isEqualTo(
            "A chat between a curious user and an artificial intelligence assistant. The assistant"
                + " gives helpful, detailed, and polite answers to the user's questions. USER:"
                + " <image>\nQ? ASSISTANT:");
    assertThat(text(PromptTemplate.PLAIN.withQuestionSuffix("\nBe brief.").pieces("Q?")))
        .isEqualTo("USER: <image>\nQ?\nBe brief. ASSISTANT:");
  }

  @Test
  void refusesATemplateWithoutExactlyOneImage() {
    PromptTemplate blind = new PromptTemplate("blind", List.of(), List.of(), "");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new PromptEncoder(tokenizer, blind, settings(Encoding.WHOLE)))
        .withMessage("Prompt template blind must have <image> exactly once, not 0 times");
  }

  private static String text(List<Piece> pieces) {
    return pieces.stream()
        .map(piece -> piece instanceof Text text ? text.text() : ((Special) piece).name())
        .collect(Collectors.joining());
  }

  private PromptEncoder encoder(Encoding encoding) {
    return new PromptEncoder(tokenizer, TEMPLATE, settings(encoding));
  }

  private static Settings settings(Encoding encoding) {
    return new Settings("<image>", 13, encoding, 20);
  }

  private static void requireFailure(ThrowingCallable call, FailureKind kind, String message) {
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(call)
        .extracting(RowFailedException::failure)
        .isEqualTo(new Failure(kind, message));
  }
}
