package io.sinklens.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One mapping of the file, with only known keys.
 *
 * @param path where it stands, such as {@code variants.1}
 * @param kind which keys it may have, a key of {@link JobFile#KEYS}
 */
record SettingsSection(String path, String kind, ObjectNode node) {
  private static final int MAX_MESSAGE_LENGTH = 300;

  SettingsSection {
    List<String> known = JobFile.KEYS.getOrDefault(kind, List.of());
    node.fieldNames()
        .forEachRemaining(
            key -> {
              if (!known.contains(key)) {
                throw new IllegalArgumentException(
                    "Unknown setting "
                        + shown(join(path, key))
                        + nearest(kind, path, key)
                            .map("; did you mean %s?"::formatted)
                            .orElse("; known here: " + String.join(", ", known)));
              }
            });
  }

  String path(String key) {
    return join(path, key);
  }

  /** What stands under a key, or null for nothing and for YAML's null. */
  @Nullable JsonNode value(String key) {
    JsonNode value = node.get(key);
    return value == null || value.isNull() ? null : value;
  }

  /** Whether the key is there at all, also with YAML's null. */
  boolean states(String key) {
    return node.has(key);
  }

  SettingsSection section(String key) {
    JsonNode value = value(key);
    if (value == null) {
      return new SettingsSection(path(key), path(key), JsonNodeFactory.instance.objectNode());
    }
    if (value instanceof ObjectNode object) {
      return new SettingsSection(path(key), path(key), object);
    }
    throw wrong(key, "a section of keys", value);
  }

  List<SettingsSection> items(String key) {
    JsonNode value = value(key);
    if (!(value instanceof ArrayNode array)) {
      throw wrong(key, "a list", value);
    }
    List<SettingsSection> items = new ArrayList<>();
    for (int i = 0; i < array.size(); i++) {
      if (!(array.get(i) instanceof ObjectNode item)) {
        throw wrong(key + "." + i, "a section of keys", array.get(i));
      }
      items.add(new SettingsSection(path(key) + "." + i, key, item));
    }
    return items;
  }

  String requiredText(String key) {
    String text = optionalText(key);
    if (text == null || text.isBlank()) {
      throw new IllegalArgumentException(path(key) + " must be given");
    }
    return text;
  }

  String text(String key, String ifAbsent) {
    String text = optionalText(key);
    return text == null ? ifAbsent : text;
  }

  @Nullable String optionalText(String key) {
    JsonNode value = value(key);
    return value == null ? null : text(key, value);
  }

  private String text(String key, JsonNode value) {
    if (!value.isTextual()) {
      throw wrong(key, "text", value);
    }
    return value.textValue();
  }

  @Nullable String optionalOneOf(String key, List<String> allowed) {
    String text = optionalText(key);
    if (text != null && !allowed.contains(text)) {
      throw new IllegalArgumentException(
          "%s must be %s, not %s"
              .formatted(
                  path(key),
                  allowed.size() == 1 ? allowed.get(0) : "one of " + String.join(", ", allowed),
                  shown(text)));
    }
    return text;
  }

  <E extends Enum<E>> E constant(String key, E[] constants, E ifAbsent) {
    List<String> names = Arrays.stream(constants).map(SettingsMap::lower).toList();
    String text = optionalOneOf(key, names);
    return text == null ? ifAbsent : constants[names.indexOf(text)];
  }

  <E extends Enum<E>> E requiredConstant(String key, E[] constants) {
    requiredText(key);
    return constant(key, constants, constants[0]);
  }

  /** A list of texts; one text stands for a list of one. */
  List<String> texts(String key, List<String> ifAbsent) {
    JsonNode value = value(key);
    if (value == null) {
      return ifAbsent;
    }
    if (value.isTextual()) {
      return List.of(value.textValue());
    }
    if (!value.isArray()) {
      throw wrong(key, "text or a list of texts", value);
    }
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < value.size(); i++) {
      texts.add(text(key + "." + i, value.get(i)));
    }
    return texts;
  }

  /** Texts under names that the file chooses, in its order. */
  Map<String, String> textsByName(String key) {
    JsonNode value = value(key);
    if (value == null) {
      return Map.of();
    }
    if (!(value instanceof ObjectNode named)) {
      throw wrong(key, "names and texts", value);
    }
    Map<String, String> texts = new LinkedHashMap<>();
    named
        .properties()
        .forEach(e -> texts.put(e.getKey(), text(key + "." + e.getKey(), e.getValue())));
    return texts;
  }

  /** A list of whole numbers from 0, also as text such as {@code 1415,2533}. */
  List<Integer> integers(String key) {
    JsonNode value = value(key);
    if (value == null) {
      return List.of();
    }
    JsonNode list = value;
    if (value.isTextual()) {
      String text = value.textValue();
      if (!text.matches("\\s*[0-9]{1,9}(\\s*,\\s*[0-9]{1,9})*\\s*")) {
        throw wrong(key, "whole numbers such as [1415, 2533]", value);
      }
      ArrayNode numbers = JsonNodeFactory.instance.arrayNode();
      for (String number : text.split(",", -1)) {
        numbers.add(Integer.parseInt(number.strip()));
      }
      list = numbers;
    } else if (value.isInt()) {
      list = JsonNodeFactory.instance.arrayNode().add(value);
    }
    List<Integer> integers = new ArrayList<>();
    for (JsonNode number : list) {
      if (!number.isInt() || number.intValue() < 0) {
        throw wrong(key, "whole numbers such as [1415, 2533]", value);
      }
      integers.add(number.intValue());
    }
    if (!list.isArray()) {
      throw wrong(key, "whole numbers such as [1415, 2533]", value);
    }
    return integers;
  }

  int integer(String key, int ifAbsent) {
    Integer number = optionalInteger(key);
    return number == null ? ifAbsent : number;
  }

  @Nullable Integer optionalInteger(String key) {
    JsonNode value = value(key);
    if (value != null && !value.isInt()) {
      throw wrong(key, "a whole number", value);
    }
    return value == null ? null : value.intValue();
  }

  long whole(String key, long ifAbsent) {
    JsonNode value = value(key);
    if (value != null && !(value.isIntegralNumber() && value.canConvertToLong())) {
      throw wrong(key, "a whole number", value);
    }
    return value == null ? ifAbsent : value.longValue();
  }

  double number(String key, double ifAbsent) {
    Double number = optionalNumber(key);
    return number == null ? ifAbsent : number;
  }

  @Nullable Double optionalNumber(String key) {
    JsonNode value = value(key);
    if (value != null && !(value.isNumber() && Double.isFinite(value.doubleValue()))) {
      throw wrong(key, "a number", value);
    }
    return value == null ? null : value.doubleValue();
  }

  /** A share under its own name, or what is left of 1 under the other name; never both. */
  double fractionOrComplement(String key, String complement, double ifAbsent) {
    Double share = fraction(key);
    Double rest = fraction(complement);
    if (share != null && rest != null) {
      throw new IllegalArgumentException(
          "%s and %s say the same; give only one".formatted(path(key), path(complement)));
    }
    if (rest != null) {
      return BigDecimal.ONE.subtract(BigDecimal.valueOf(rest)).doubleValue();
    }
    return share == null ? ifAbsent : share;
  }

  private @Nullable Double fraction(String key) {
    Double share = optionalNumber(key);
    if (share != null && !(share >= 0 && share <= 1)) {
      throw new IllegalArgumentException(
          "%s must be from 0 to 1, not %s".formatted(path(key), share));
    }
    return share;
  }

  boolean flag(String key, boolean ifAbsent) {
    JsonNode value = value(key);
    if (value != null && !value.isBoolean()) {
      throw wrong(key, "true or false", value);
    }
    return value == null ? ifAbsent : value.booleanValue();
  }

  /** Makes a value of this section, whose refusals then say where the section stands. */
  <T> T named(Supplier<T> made) {
    try {
      return made.get();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("%s: %s".formatted(path, e.getMessage()), e);
    }
  }

  private IllegalArgumentException wrong(String key, String expected, @Nullable JsonNode value) {
    return new IllegalArgumentException(
        "%s must be %s, not %s".formatted(path(key), expected, shown(String.valueOf(value))));
  }

  /** The known key nearest to one that nobody knows, if any is near. */
  private static Optional<String> nearest(String kind, String path, String key) {
    String best = null;
    int least = Math.max(2, key.length() / 2) + 1;
    for (var section : JobFile.KEYS.entrySet()) {
      for (String known : section.getValue()) {
        boolean here = section.getKey().equals(kind);
        int distance = distance(key, known) + (here ? 0 : 1);
        if (distance < least) {
          least = distance;
          best = join(here ? path : section.getKey(), known);
        }
      }
    }
    return Optional.ofNullable(best);
  }

  /** Letters to insert, remove or replace to make one word of the other. */
  private static int distance(String one, String other) {
    int[] above = new int[other.length() + 1];
    Arrays.setAll(above, i -> i);
    for (int i = 1; i <= one.length(); i++) {
      int[] row = new int[other.length() + 1];
      row[0] = i;
      for (int j = 1; j <= other.length(); j++) {
        int replaced = above[j - 1] + (one.charAt(i - 1) == other.charAt(j - 1) ? 0 : 1);
        row[j] = Math.min(replaced, Math.min(above[j], row[j - 1]) + 1);
      }
      above = row;
    }
    return above[other.length()];
  }

  /** Text of a stranger as part of a message: one line of bounded length. */
  static String shown(String text) {
    String start =
        text.length() <= MAX_MESSAGE_LENGTH ? text : text.substring(0, MAX_MESSAGE_LENGTH) + "...";
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?");
  }

  private static String join(String path, String key) {
    return path.isEmpty() ? key : path + "." + key;
  }
}
