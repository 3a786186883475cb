package io.sinklens.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** JSON from strangers: UTF-8, no duplicate keys, bounded size and depth, one-line refusals. */
final class StrictJson {
  /** Of a file that is held as a tree, which takes up to thirty times the bytes. */
  static final int MAX_BYTES = 16 << 20;

  private static final int MAX_DEPTH = 64;
  private static final int MAX_SHOWN_LENGTH = 300;
  private static final int MAX_REASON_LENGTH = 1000;

  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .build();
  private static final ObjectMapper MAPPER =
      new ObjectMapper(FACTORY).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private StrictJson() {}

  /** The object a file holds. */
  static ObjectNode object(Path file) {
    requireFile(file);
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw refusal(file, "it has %d bytes, more than %d".formatted(Files.size(file), MAX_BYTES));
      }
      try (InputStream bytes = Files.newInputStream(file);
          JsonParser parser = parser(bytes)) {
        JsonNode root = MAPPER.readTree(parser);
        if (root instanceof ObjectNode object) {
          return object;
        }
        throw refusal(file, "it does not hold a JSON object");
      }
    } catch (JsonProcessingException | CharacterCodingException e) {
      throw refusal(file, e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  /**
   * Refuses what would never end or is not there. Links to files are fine: download caches are made
   * of them.
   */
  static void requireFile(Path file) {
    if (!Files.isRegularFile(file)) {
      throw refusal(
          file,
          Files.exists(file)
              ? "it is neither a file nor a link to one"
              : "there is no such file, or it is a link to one that is not there");
    }
  }

  static JsonParser parser(InputStream bytes) throws IOException {
    return FACTORY.createParser(new InputStreamReader(bytes, StandardCharsets.UTF_8.newDecoder()));
  }

  static IllegalArgumentException refusal(Path file, String reason) {
    return new IllegalArgumentException(
        "Cannot read %s: %s".formatted(file, shown(reason, MAX_REASON_LENGTH)));
  }

  static IllegalArgumentException refusal(Path file, IOException malformed) {
    String reason =
        malformed instanceof JsonProcessingException e
            ? "its JSON is malformed: " + e.getOriginalMessage()
            : "its JSON is not UTF-8";
    return new IllegalArgumentException(
        "Cannot read %s: %s".formatted(file, shown(reason, MAX_REASON_LENGTH)), malformed);
  }

  /** Text of a stranger as part of a message: one line of bounded length. */
  static String shown(String text) {
    return shown(text, MAX_SHOWN_LENGTH);
  }

  private static String shown(String text, int maxLength) {
    String start = text.length() <= maxLength ? text : text.substring(0, maxLength) + "...";
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?");
  }
}
