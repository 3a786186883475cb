package io.sinklens.preprocessing;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * A tokenizer as {@code tokenizer.json} describes it.
 *
 * <p>Holds two native tokenizers. One is the checkpoint's own. In the other every added token has a
 * private spelling that no text can contain, so that a user who writes {@code <image>} or {@code
 * </s>} into a question writes words, not control tokens.
 */
final class JsonTokenizer implements Tokenizer {
  // Noncharacters: no text has them, and no normalizer changes them.
  private static final char OPEN = '\ufdd0';
  private static final char CLOSE = '\ufdd1';
  private static final char REPLACEMENT = '\ufffd';

  private final HuggingFaceTokenizer published;
  private final HuggingFaceTokenizer guarded;
  private final Map<String, Integer> ids;
  private final Map<String, String> privateSpellings; // of added tokens

  private JsonTokenizer(
      HuggingFaceTokenizer published,
      HuggingFaceTokenizer guarded,
      Map<String, Integer> ids,
      Map<String, String> privateSpellings) {
    this.published = published;
    this.guarded = guarded;
    this.ids = ids;
    this.privateSpellings = privateSpellings;
  }

  /**
   * Opens a {@code tokenizer.json}.
   *
   * @throws UncheckedIOException when the file cannot be read
   * @throws IllegalArgumentException when it describes a model of a kind that is not supported
   */
  static JsonTokenizer open(Path file) {
    try {
      ObjectNode description = FolderJson.object(file);
      if (!description.path("model").path("vocab").isObject()) {
        throw new IllegalArgumentException(
            "Cannot use tokenizer %s: model type %s without a vocabulary of names and ids"
                .formatted(file, description.path("model").path("type")));
      }
      for (JsonNode token : description.path("added_tokens")) {
        if (!token.isObject()) {
          throw new IllegalArgumentException(
              "Cannot use tokenizer %s: an entry of added_tokens is no object".formatted(file));
        }
      }
      return of(description);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read tokenizer " + file, e);
    }
  }

  private static JsonTokenizer of(ObjectNode description) throws IOException {
    Map<String, Integer> ids = new HashMap<>();
    description
        .path("model")
        .path("vocab")
        .properties()
        .forEach(entry -> ids.put(entry.getKey(), entry.getValue().asInt()));
    Map<String, String> spellings = new LinkedHashMap<>();
    for (JsonNode token : description.path("added_tokens")) {
      String content = token.path("content").asText();
      ids.put(content, token.path("id").asInt());
      spellings.put(content, OPEN + Integer.toString(spellings.size()) + CLOSE);
    }
    HuggingFaceTokenizer published = open(description);
    respell(description, spellings);
    return new JsonTokenizer(published, open(description), Map.copyOf(ids), Map.copyOf(spellings));
  }

  private static HuggingFaceTokenizer open(ObjectNode description) throws IOException {
    byte[] json = description.toString().getBytes(StandardCharsets.UTF_8);
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(json), Map.of("truncation", "false", "padding", "false"));
    } catch (EngineException e) {
      throw e; // no native library
    } catch (RuntimeException e) {
      throw new IllegalArgumentException("Cannot use the tokenizer: " + e.getMessage(), e);
    }
  }

  /** Renames the added tokens wherever a name, not an id, refers to them. */
  private static void respell(ObjectNode description, Map<String, String> spellings) {
    for (JsonNode token : description.path("added_tokens")) {
      respellField((ObjectNode) token, "content", spellings);
    }
    ObjectNode model = (ObjectNode) description.path("model");
    respellField(model, "unk_token", spellings);
    ObjectNode vocabulary = model.objectNode();
    model
        .path("vocab")
        .properties()
        .forEach(
            entry ->
                vocabulary.set(
                    spellings.getOrDefault(entry.getKey(), entry.getKey()), entry.getValue()));
    model.set("vocab", vocabulary);
    if (model.path("merges").isArray()) {
      var merges = model.arrayNode();
      model
          .path("merges")
          .forEach(
              merge -> {
                if (!refersTo(merge, spellings.keySet())) {
                  merges.add(merge);
                }
              });
      model.set("merges", merges);
    }
  }

  private static void respellField(ObjectNode node, String field, Map<String, String> spellings) {
    String content = node.path(field).asText();
    if (spellings.containsKey(content)) {
      node.put(field, spellings.get(content));
    }
  }

  /** A merge is written {@code "a b"} or {@code ["a", "b"]}; it makes the token {@code ab}. */
  private static boolean refersTo(JsonNode merge, Set<String> tokens) {
    String[] parts =
        merge.isArray()
            ? new String[] {merge.path(0).asText(), merge.path(1).asText()}
            : merge.asText().split(" ", 2);
    return Arrays.stream(parts).anyMatch(tokens::contains)
        || tokens.contains(String.join("", parts));
  }

  @Override
  public int[] encodeRaw(String text) {
    return ids(published, text, true);
  }

  @Override
  public int[] encodeRawContinuation(String text) {
    return ids(published, text, false);
  }

  @Override
  public int[] encode(List<Piece> pieces) {
    return ids(guarded, join(pieces), true);
  }

  @Override
  public int[] encodeContinuation(List<Piece> pieces) {
    return ids(guarded, join(pieces), false);
  }

  private String join(List<Piece> pieces) {
    StringBuilder joined = new StringBuilder();
    for (Piece piece : pieces) {
      if (piece instanceof Special special) {
        String spelling = privateSpellings.get(special.name());
        if (spelling == null) {
          throw new IllegalArgumentException(
              "Cannot encode special token %s: the tokenizer has no such added token"
                  .formatted(special.name()));
        }
        joined.append(spelling);
      } else if (piece instanceof Text text) {
        joined.append(text.text().replace(OPEN, REPLACEMENT).replace(CLOSE, REPLACEMENT));
      }
    }
    return joined.toString();
  }

  private static int[] ids(HuggingFaceTokenizer tokenizer, String text, boolean addSpecialTokens) {
    return Arrays.stream(
            tokenizer.encode(LoneSurrogates.replaced(text), addSpecialTokens, false).getIds())
        .mapToInt(Math::toIntExact)
        .toArray();
  }

  @Override
  public String decode(int[] tokenIds) {
    return published.decode(Arrays.stream(tokenIds).asLongStream().toArray(), true);
  }

  @Override
  public OptionalInt id(String token) {
    Integer id = ids.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public void close() {
    published.close();
    guarded.close();
  }
}
