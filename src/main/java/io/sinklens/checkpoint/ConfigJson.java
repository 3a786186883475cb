package io.sinklens.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * A JSON object of a checkpoint, read key by key.
 *
 * <p>A key that is missing or of the wrong type is refused with the file, the path of the key and
 * the value: {@code config.json: text_config.hidden_size must be an integer, not "wide"}. A JSON
 * null counts as missing everywhere.
 */
public final class ConfigJson {
  private static final int MAX_TEXT_LENGTH = 300;

  private final String file;
  private final String path;
  private final ObjectNode object;

  private ConfigJson(String file, String path, ObjectNode object) {
    this.file = file;
    this.path = path;
    this.object = object;
  }

  /**
   * Reads a file that holds one JSON object.
   *
   * @throws IllegalArgumentException if it holds anything else
   */
  public static ConfigJson read(Path file) {
    return new ConfigJson(String.valueOf(file.getFileName()), "", StrictJson.object(file));
  }

  /** Whether the key is there with anything but null. */
  public boolean has(String key) {
    return object.hasNonNull(key);
  }

  /** All keys, in the order of the file, those with null too. */
  public List<String> keys() {
    List<String> keys = new ArrayList<>(object.size());
    object.fieldNames().forEachRemaining(keys::add);
    return List.copyOf(keys);
  }

  public int integer(String key) {
    return integer(key, required(key, "an integer"));
  }

  public int integer(String key, int fallback) {
    JsonNode value = value(key);
    return value == null ? fallback : integer(key, value);
  }

  public double number(String key) {
    return number(key, required(key, "a number"));
  }

  public double number(String key, double fallback) {
    JsonNode value = value(key);
    return value == null ? fallback : number(key, value);
  }

  public String text(String key) {
    return text(key, required(key, "a string"));
  }

  public String text(String key, String fallback) {
    JsonNode value = value(key);
    return value == null ? fallback : text(key, value);
  }

  /** A boolean; empty when the key is missing. */
  public Optional<Boolean> flag(String key) {
    return Optional.ofNullable(value(key))
        .map(value -> checked(key, value, "true or false", JsonNode::isBoolean).booleanValue());
  }

  /** A list of integers; a single number is a list of one. */
  public List<Integer> integers(String key) {
    return list(required(key, "a list of integers"), value -> integer(key, value));
  }

  /** A list of lists of integers, such as sizes. */
  public List<List<Integer>> integerLists(String key) {
    String expected = "a list of lists of integers";
    JsonNode value = checked(key, required(key, expected), expected, JsonNode::isArray);
    return list(
        value,
        each ->
            list(checked(key, each, expected, JsonNode::isArray), number -> integer(key, number)));
  }

  /** A list of numbers; a single number is a list of one. */
  public List<Double> numbers(String key) {
    return list(required(key, "a list of numbers"), value -> number(key, value));
  }

  /** A list of strings; a single string is a list of one. */
  public List<String> texts(String key) {
    return list(required(key, "a list of strings"), value -> text(key, value));
  }

  /** The object under a key. */
  public ConfigJson child(String key) {
    return child(key, required(key, "an object"));
  }

  /** The object under a key, if the key is there. */
  public Optional<ConfigJson> optionalChild(String key) {
    return Optional.ofNullable(value(key)).map(value -> child(key, value));
  }

  /**
   * Refuses a setting this program does not implement, whatever its value.
   *
   * @param why a reason for the message, such as {@code scaled rotary positions are not supported}
   */
  public void requireAbsent(String key, String why) {
    JsonNode value = value(key);
    if (value != null) {
      throw new IllegalArgumentException(
          "%s must be absent, not %s: %s".formatted(place(key), shown(value), why));
    }
  }

  /**
   * Refuses values of a setting this program does not implement. A missing key passes.
   *
   * @param allowed strings, or numbers and booleans as JSON writes them
   */
  public void requireOneOf(String key, String... allowed) {
    JsonNode value = value(key);
    if (value != null && !(value.isValueNode() && List.of(allowed).contains(value.asText()))) {
      String expected =
          allowed.length == 1 ? allowed[0] : "one of " + String.join(", ", Arrays.asList(allowed));
      throw wrong(key, expected, value);
    }
  }

  private @Nullable JsonNode value(String key) {
    return has(key) ? object.get(key) : null;
  }

  private JsonNode required(String key, String expected) {
    JsonNode value = value(key);
    if (value == null) {
      throw new IllegalArgumentException(
          "%s must be %s, but is missing".formatted(place(key), expected));
    }
    return value;
  }

  private int integer(String key, JsonNode value) {
    return checked(key, value, "an integer", v -> v.isIntegralNumber() && v.canConvertToInt())
        .intValue();
  }

  private double number(String key, JsonNode value) {
    return checked(key, value, "a number", v -> v.isNumber() && Double.isFinite(v.doubleValue()))
        .doubleValue();
  }

  private String text(String key, JsonNode value) {
    checked(key, value, "a string", JsonNode::isTextual);
    return checked(
            key,
            value,
            "a string of at most %d printable characters".formatted(MAX_TEXT_LENGTH),
            v -> isPrintable(v.textValue()))
        .textValue();
  }

  /** Texts are names, which stand in messages and paths. */
  private static boolean isPrintable(String text) {
    return text.length() <= MAX_TEXT_LENGTH && text.chars().noneMatch(Character::isISOControl);
  }

  private ConfigJson child(String key, JsonNode value) {
    checked(key, value, "an object", JsonNode::isObject);
    return new ConfigJson(file, path + key + ".", (ObjectNode) value);
  }

  private static <T> List<T> list(JsonNode value, Function<JsonNode, T> element) {
    if (!value.isArray()) {
      return List.of(element.apply(value));
    }
    List<T> elements = new ArrayList<>(value.size());
    for (JsonNode each : value) {
      elements.add(element.apply(each));
    }
    return List.copyOf(elements);
  }

  private JsonNode checked(
      String key, JsonNode value, String expected, Predicate<JsonNode> condition) {
    if (!condition.test(value)) {
      throw wrong(key, expected, value);
    }
    return value;
  }

  private IllegalArgumentException wrong(String key, String expected, JsonNode value) {
    return new IllegalArgumentException(
        "%s must be %s, not %s".formatted(place(key), expected, shown(value)));
  }

  private String place(String key) {
    return "%s: %s%s".formatted(file, path, key);
  }

  private static String shown(JsonNode value) {
    return StrictJson.shown(value.toString());
  }
}
