package io.sinklens.preprocessing;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The files that describe a checkpoint's tokenizer and image processor: bounded size and depth, no
 * key twice, refusals in one line.
 */
final class FolderJson {
  private static final int MAX_BYTES = 100_000_000;
  private static final int MAX_DEPTH = 64;
  private static final int MAX_REASON = 300;

  private static final ObjectMapper MAPPER =
      new ObjectMapper(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private FolderJson() {}

  /**
   * The object a file holds.
   *
   * @throws IllegalArgumentException when it holds anything else
   */
  static ObjectNode object(Path file) throws IOException {
    if (!Files.isRegularFile(file)) { // A pipe never ends.
      throw new IllegalArgumentException(
          "Cannot read %s: %s"
              .formatted(
                  file,
                  Files.exists(file)
                      ? "it is neither a file nor a link to one"
                      : "there is no such file, or it is a link to one that is not there"));
    }
    long size = Files.size(file);
    if (size > MAX_BYTES) {
      throw new IllegalArgumentException(
          "Cannot read %s: it has %d bytes, more than %d".formatted(file, size, MAX_BYTES));
    }
    JsonNode root;
    try (Reader text =
        new InputStreamReader(Files.newInputStream(file), StandardCharsets.UTF_8.newDecoder())) {
      root = MAPPER.readTree(text);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException(
          "Cannot read %s: its JSON is not UTF-8".formatted(file), e);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "Cannot read %s: its JSON is malformed: %s"
              .formatted(file, shown(e.getOriginalMessage())),
          e);
    }
    if (root instanceof ObjectNode object) {
      return object;
    }
    throw new IllegalArgumentException(
        "Cannot read %s: it does not hold a JSON object".formatted(file));
  }

  private static String shown(String text) {
    String start = text.length() <= MAX_REASON ? text : text.substring(0, MAX_REASON) + "...";
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?");
  }
}
