package io.sinklens.preprocessing;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Prompt.ImageSpan;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Turns questions and raw prompts into {@link Prompt}s. Immutable and shared by threads; does not
 * own its tokenizer.
 */
public final class PromptEncoder {
  /** What stands for the image in a raw prompt, whatever the tokenizer calls it. */
  public static final String RAW_IMAGE = "<image>";

  /** How the reference code of a checkpoint takes a prompt apart before encoding it. */
  public enum Encoding {
    /** In one go, image token included: transformers. */
    WHOLE,
    /** The texts before and after the image each on their own: the original LLaVA and VILA code. */
    AROUND_IMAGE
  }

  private final Tokenizer tokenizer;
  private final PromptTemplate template;
  private final Settings settings;

  /**
   * What a model family says about its prompts.
   *
   * @param imageToken the token that stands for the image in the template
   * @param imageTokenId the id that is repeated for every image embedding; need not be in the
   *     tokenizer when it encodes around the image
   * @param encoding how the prompt is encoded
   * @param contextLength tokens that prompt and answer may have together, above 0
   * @param refusedTokens tokens that stand for something this program cannot give the model, such
   *     as frames of a film; a raw prompt must not hold them
   */
  public record Settings(
      String imageToken,
      int imageTokenId,
      Encoding encoding,
      int contextLength,
      Set<String> refusedTokens) {
    public Settings {
      refusedTokens = Set.copyOf(refusedTokens);
      if (contextLength < 1) {
        throw new IllegalArgumentException("Context length must be above 0, not " + contextLength);
      }
    }

    /** Settings of a model that takes nothing but text and images. */
    public Settings(String imageToken, int imageTokenId, Encoding encoding, int contextLength) {
      this(imageToken, imageTokenId, encoding, contextLength, Set.of());
    }
  }

  /** An encoder for a template that has the settings' image token exactly once. */
  public PromptEncoder(Tokenizer tokenizer, PromptTemplate template, Settings settings) {
    Special image = new Special(settings.imageToken());
    int images = Collections.frequency(template.pieces(""), image);
    if (images != 1) {
      throw new IllegalArgumentException(
          "Prompt template %s must have %s exactly once, not %d times"
              .formatted(template.name(), settings.imageToken(), images));
    }
    this.tokenizer = tokenizer;
    this.template = template;
    this.settings = settings;
  }

  /**
   * The prompt for a question, by the template.
   *
   * @param question what looks like a special token in it is plain text
   * @param imageTokens image embeddings that the model will put into the prompt, above 0
   * @param maxNewTokens tokens to be kept free for the answer
   * @throws RowFailedException {@link FailureKind#QUESTION_MISSING} when the question is null or
   *     blank; {@link FailureKind#PROMPT_TOO_LONG}
   */
  public Prompt encode(@Nullable String question, int imageTokens, int maxNewTokens)
      throws RowFailedException {
    List<Piece> pieces = template.pieces(requireText("question", question));
    int[] ids =
        switch (settings.encoding()) {
          case WHOLE -> tokenizer.encode(pieces);
          case AROUND_IMAGE -> {
            int image = pieces.indexOf(new Special(settings.imageToken()));
            yield around(
                tokenizer.encode(pieces.subList(0, image)),
                tokenizer.encodeContinuation(pieces.subList(image + 1, pieces.size())));
          }
        };
    return expand(ids, imageTokens, maxNewTokens);
  }

  /**
   * The prompt that a user wrote out, special tokens and all.
   *
   * @param raw holds {@link #RAW_IMAGE} once
   * @param imageTokens image embeddings that the model will put into the prompt, above 0
   * @param maxNewTokens tokens to be kept free for the answer
   * @throws RowFailedException {@link FailureKind#QUESTION_MISSING} when the prompt is null or
   *     blank; {@link FailureKind#UNSUPPORTED_INPUT} when it has not exactly one image or holds a
   *     refused token; {@link FailureKind#PROMPT_TOO_LONG}
   */
  public Prompt encodeRaw(@Nullable String raw, int imageTokens, int maxNewTokens)
      throws RowFailedException {
    String[] texts = requireText("prompt", raw).split(RAW_IMAGE, -1);
    if (texts.length != 2) {
      throw notOneImage(texts.length - 1);
    }
    for (String refused : settings.refusedTokens()) {
      if (texts[0].contains(refused) || texts[1].contains(refused)) {
        throw new RowFailedException(
            FailureKind.UNSUPPORTED_INPUT,
            "Prompt must not hold %s: nothing can be put in its place".formatted(refused));
      }
    }
    int[] ids =
        switch (settings.encoding()) {
          case WHOLE -> tokenizer.encodeRaw(texts[0] + settings.imageToken() + texts[1]);
          case AROUND_IMAGE ->
              around(tokenizer.encodeRaw(texts[0]), tokenizer.encodeRawContinuation(texts[1]));
        };
    return expand(ids, imageTokens, maxNewTokens);
  }

  private static String requireText(String name, @Nullable String text) throws RowFailedException {
    if (text == null || text.isBlank()) {
      throw new RowFailedException(
          FailureKind.QUESTION_MISSING,
          "Cannot ask: the %s is %s".formatted(name, text == null ? "null" : "blank"));
    }
    return text;
  }

  private int[] around(int[] before, int[] after) {
    return concatenate(before, new int[] {settings.imageTokenId()}, after);
  }

  private Prompt expand(int[] ids, int imageTokens, int maxNewTokens) throws RowFailedException {
    int[] positions =
        IntStream.range(0, ids.length).filter(i -> ids[i] == settings.imageTokenId()).toArray();
    if (positions.length != 1) {
      throw notOneImage(positions.length);
    }
    ImageSpan image = new ImageSpan(positions[0], positions[0] + imageTokens);
    long length = (long) ids.length - 1 + imageTokens;
    if (length + maxNewTokens > settings.contextLength()) {
      throw new RowFailedException(
          FailureKind.PROMPT_TOO_LONG,
          "Cannot fit the prompt: %d tokens and up to %d new ones exceed the context of %d"
              .formatted(length, maxNewTokens, settings.contextLength()));
    }
    int[] images = new int[imageTokens];
    Arrays.fill(images, settings.imageTokenId());
    return new Prompt(
        concatenate(
            Arrays.copyOf(ids, image.start()),
            images,
            Arrays.copyOfRange(ids, image.start() + 1, ids.length)),
        image);
  }

  private static int[] concatenate(int[]... parts) {
    return Arrays.stream(parts).flatMapToInt(Arrays::stream).toArray();
  }

  private static RowFailedException notOneImage(int images) {
    return new RowFailedException(
        FailureKind.UNSUPPORTED_INPUT,
        "Prompt must have %s exactly once, not %d times".formatted(RAW_IMAGE, images));
  }
}
