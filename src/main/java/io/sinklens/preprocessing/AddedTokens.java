package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The tokens that a folder adds to a SentencePiece model, and how they divide a text: what {@code
 * PreTrainedTokenizer} does in {@code tokenization_utils.py} and {@code tokenization_utils_base.py}
 * of transformers 4.57.6. Immutable.
 */
final class AddedTokens {
  private static final List<String> ROLES =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");
  private static final String FURTHER = "additional_special_tokens";

  private static final Pattern NOTHING = Pattern.compile("(?!)");

  private final Map<String, AddedToken> byName = new HashMap<>();
  private final Map<Integer, AddedToken> byId = new LinkedHashMap<>();
  private final Map<String, String> roles = new HashMap<>();
  private final Set<String> specialNames = new HashSet<>();
  private final Set<Integer> specialIds = new HashSet<>();
  private final Pattern anyName;

  /**
   * An added token.
   *
   * @param takesLeft whether the blanks before it go
   * @param takesRight whether the blanks behind it go
   * @param wordOnly whether it is one between spaces only
   */
  record AddedToken(String name, int id, boolean takesLeft, boolean takesRight, boolean wordOnly) {}

  /** A part of a text: an added token, or words where that is null. */
  record Segment(String text, @Nullable AddedToken token) {
    static Segment words(String text) {
      return new Segment(text, null);
    }

    boolean isWords() {
      return token == null;
    }
  }

  /**
   * Reads the added tokens of a folder.
   *
   * @param folder may hold {@code special_tokens_map.json} and {@code added_tokens.json}, which
   *     count where the configuration does not list the added tokens
   * @param config {@code tokenizer_config.json}
   * @param defaults names by role, such as {@code bos_token}, for roles that no file mentions
   * @throws IOException when a file cannot be read
   * @throws IllegalArgumentException when a token is described in a way that is not supported
   */
  AddedTokens(
      Path folder,
      JsonNode config,
      Map<String, String> defaults,
      SentencePieceVocabulary vocabulary)
      throws IOException {
    JsonNode listed = config.get("added_tokens_decoder");
    JsonNode map = JsonNodeFactory.instance.objectNode();
    if (listed == null) {
      map = readIfThere(folder.resolve("special_tokens_map.json"));
      readIfThere(folder.resolve("added_tokens.json"))
          .properties()
          .forEach(token -> put(plain(token.getKey(), id(token.getValue().asText()))));
    } else {
      listed.properties().forEach(token -> put(described(token.getValue(), id(token.getKey()))));
    }
    List<JsonNode> named = new ArrayList<>();
    for (String role : ROLES) {
      JsonNode value = map.has(role) ? map.get(role) : config.get(role);
      if (value == null && defaults.containsKey(role)) {
        value = JsonNodeFactory.instance.textNode(defaults.get(role));
      }
      if (value != null && !value.isNull()) {
        roles.put(role, name(value));
        named.add(listed == null ? value : JsonNodeFactory.instance.textNode(name(value)));
      }
    }
    config.path(FURTHER).forEach(named::add);
    map.path(FURTHER).forEach(named::add);
    addSpecial(named, vocabulary);
    String names =
        byName.keySet().stream()
            .filter(name -> !name.isEmpty())
            .sorted(Comparator.comparing(String::length).reversed())
            .map(Pattern::quote)
            .collect(Collectors.joining("|"));
    anyName = names.isEmpty() ? NOTHING : Pattern.compile(names);
  }

  /** Names that no file gives an id are looked up in the vocabulary, or stand behind it. */
  private void addSpecial(List<JsonNode> tokens, SentencePieceVocabulary vocabulary) {
    Map<String, Integer> ids = new HashMap<>();
    for (int id = 0; id < vocabulary.size(); id++) {
      ids.put(byId.containsKey(id) ? byId.get(id).name() : vocabulary.token(id), id);
    }
    byId.forEach((id, token) -> ids.put(token.name(), id));
    for (JsonNode token : tokens) {
      String name = name(token);
      int id = ids.computeIfAbsent(name, added -> ids.size());
      if (!byName.containsKey(name) || token.isObject()) {
        put(described(token, id));
      }
      specialNames.add(name);
      specialIds.add(id);
    }
  }

  private void put(AddedToken token) {
    AddedToken other = byId.put(token.id(), token);
    if (other != null && !other.name().equals(token.name())) {
      throw new IllegalArgumentException(
          "added tokens %s and %s both have the id %d"
              .formatted(other.name(), token.name(), token.id()));
    }
    byName.put(token.name(), token);
  }

  private static JsonNode readIfThere(Path file) throws IOException {
    return Files.exists(file, LinkOption.NOFOLLOW_LINKS)
        ? FolderJson.object(file)
        : JsonNodeFactory.instance.objectNode();
  }

  private static int id(String written) {
    if (!written.matches("[0-9]{1,9}")) {
      throw new IllegalArgumentException("an added token has the id " + written);
    }
    return Integer.parseInt(written);
  }

  private static AddedToken plain(String name, int id) {
    return new AddedToken(name, id, false, false, false);
  }

  private static AddedToken described(JsonNode token, int id) {
    return new AddedToken(
        name(token),
        id,
        token.path("lstrip").asBoolean(),
        token.path("rstrip").asBoolean(),
        token.path("single_word").asBoolean());
  }

  private static String name(JsonNode token) {
    JsonNode content = token.isObject() ? token.path("content") : token;
    if (!content.isTextual()) {
      throw new IllegalArgumentException("an added token is " + token);
    }
    return content.asText();
  }

  /** Tokens of a vocabulary that words can give although a token is added in their place. */
  Set<Integer> spelt(SentencePieceVocabulary vocabulary) {
    return IntStream.range(0, vocabulary.size())
        .filter(vocabulary::isSpelt)
        .filter(id -> byId.containsKey(id) || byName.containsKey(vocabulary.token(id)))
        .boxed()
        .collect(Collectors.toSet());
  }

  /**
   * The added token of a name.
   *
   * @throws IllegalArgumentException when there is none
   */
  AddedToken require(String name) {
    AddedToken token = byName.get(name);
    if (token == null) {
      throw new IllegalArgumentException(
          "Cannot encode special token %s: the tokenizer has no such added token".formatted(name));
    }
    return token;
  }

  @Nullable AddedToken byName(String name) {
    return byName.get(name);
  }

  @Nullable AddedToken byId(int id) {
    return byId.get(id);
  }

  /** Whether a token is not shown to users. */
  boolean isSpecial(String name) {
    return specialNames.contains(name);
  }

  /** Whether the token of an id is not shown to users. */
  boolean isSpecial(int id) {
    return specialIds.contains(id);
  }

  /**
   * The name of the token with a role.
   *
   * @throws IllegalArgumentException when there is none
   */
  String named(String role) {
    String name = roles.get(role);
    if (name == null) {
      throw new IllegalArgumentException("it has no " + role);
    }
    return name;
  }

  /** Divides a text at the added tokens in it: the first one, of those the longest, and so on. */
  List<Segment> divide(String text) {
    List<Segment> segments = new ArrayList<>();
    Matcher names = anyName.matcher(text);
    int end = 0;
    while (names.find()) {
      segments.add(Segment.words(text.substring(end, names.start())));
      segments.add(new Segment(names.group(), byName.get(names.group())));
      end = names.end();
    }
    segments.add(Segment.words(text.substring(end)));
    segments.removeIf(segment -> segment.text().isEmpty());
    return segments;
  }

  /** Lets tokens take the blanks beside them, and makes words of those that may not stand there. */
  static List<Segment> settle(List<Segment> segments) {
    List<Segment> settled = new ArrayList<>(segments);
    for (int i = 0; i < settled.size(); i++) {
      AddedToken token = settled.get(i).token();
      if (token == null) {
        continue;
      }
      String left = i > 0 ? settled.get(i - 1).text() : "";
      String right = i + 1 < settled.size() ? settled.get(i + 1).text() : "";
      if (token.takesRight() && i + 1 < settled.size() && settled.get(i + 1).isWords()) {
        settled.set(i + 1, Segment.words(withoutLeadingBlanks(right)));
      }
      if (token.takesLeft() && i > 0 && settled.get(i - 1).isWords()) {
        settled.set(i - 1, Segment.words(withoutTrailingBlanks(left)));
      }
      if (token.wordOnly() && !left.isEmpty() && !left.endsWith(" ")) {
        settled.set(i - 1, Segment.words(settled.get(i - 1).text() + token.name()));
        settled.set(i, Segment.words(""));
      } else if (token.wordOnly() && !right.isEmpty() && !right.startsWith(" ")) {
        settled.set(i + 1, Segment.words(token.name() + settled.get(i + 1).text()));
        settled.set(i, Segment.words(""));
      }
    }
    settled.removeIf(segment -> segment.text().isEmpty());
    return settled;
  }

  private static String withoutLeadingBlanks(String text) {
    int start = 0;
    while (start < text.length() && isBlank(text.charAt(start))) {
      start++;
    }
    return text.substring(start);
  }

  private static String withoutTrailingBlanks(String text) {
    int end = text.length();
    while (end > 0 && isBlank(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(0, end);
  }

  /** What Python's {@code strip} takes. */
  private static boolean isBlank(char character) {
    return Character.isWhitespace(character)
        || Character.isSpaceChar(character)
        || character == '\u0085';
  }
}
