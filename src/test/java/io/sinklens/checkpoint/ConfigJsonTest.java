package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.withPrecision;

import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.assertj.core.api.ThrowableAssertAlternative;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ConfigJsonTest {
  @TempDir private Path folder;

  @Test
  void readsEveryKindOfValue() {
    ConfigJson config =
        config(
            """
            {"size": 4096, "eps": 1e-05, "theta": 10000, "act": "silu", "tied": false,
             "stop": [2, 7], "mean": [0.5, 1], "names": ["a", "b"], "text_config": {"size": 8},
             "nothing": null}
            """);

    assertThat(config.keys()).startsWith("size", "eps").contains("nothing").hasSize(10);
    assertThat(config.integer("size")).isEqualTo(4096);
    assertThat(config.number("eps", 1)).isEqualTo(1e-5, withPrecision(1e-20));
    assertThat(config.number("theta")).isEqualTo(10000);
    assertThat(config.text("act")).isEqualTo("silu");
    assertThat(config.flag("tied")).contains(false);
    assertThat(config.integers("stop")).containsExactly(2, 7);
    assertThat(config.integers("size")).containsExactly(4096);
    assertThat(config.numbers("mean")).containsExactly(0.5, 1.0);
    assertThat(config.numbers("eps")).containsExactly(1e-5);
    assertThat(config.texts("names")).containsExactly("a", "b");
    assertThat(config.texts("act")).containsExactly("silu");
    assertThat(config.child("text_config").integer("size")).isEqualTo(8);
    assertThat(config.optionalChild("text_config")).isPresent();
  }

  @ParameterizedTest
  @ValueSource(strings = {"{}", "{\"key\": null}"})
  void takesNullForMissing(String json) {
    ConfigJson config = config(json);

    assertThat(config.has("key")).isFalse();
    assertThat(config.integer("key", 7)).isEqualTo(7);
    assertThat(config.number("key", 0.5)).isEqualTo(0.5);
    assertThat(config.text("key", "x")).isEqualTo("x");
    assertThat(config.flag("key")).isEmpty();
    assertThat(config.optionalChild("key")).isEmpty();
    config.requireAbsent("key", "never");
    config.requireOneOf("key", "a");
    refusal(config, c -> c.integer("key")).withMessage(missing("an integer"));
    refusal(config, c -> c.number("key")).withMessage(missing("a number"));
    refusal(config, c -> c.text("key")).withMessage(missing("a string"));
    refusal(config, c -> c.child("key")).withMessage(missing("an object"));
    refusal(config, c -> c.integers("key")).withMessage(missing("a list of integers"));
    refusal(config, c -> c.numbers("key")).withMessage(missing("a list of numbers"));
    refusal(config, c -> c.texts("key")).withMessage(missing("a list of strings"));
  }

  @Test
  void refusesOtherTypesNamingThePath() {
    ConfigJson config =
        config("{\"outer\": {\"text\": \"wide\", \"half\": 0.5, \"list\": [1, \"b\"]}}")
            .child("outer");

    refusal(config, c -> c.integer("text"))
        .withMessage("config.json: outer.text must be an integer, not \"wide\"");
    refusal(config, c -> c.integer("half", 1))
        .withMessage("config.json: outer.half must be an integer, not 0.5");
    refusal(config, c -> c.number("text", 1))
        .withMessage("config.json: outer.text must be a number, not \"wide\"");
    refusal(config, c -> c.text("half"))
        .withMessage("config.json: outer.half must be a string, not 0.5");
    refusal(config, c -> c.flag("half"))
        .withMessage("config.json: outer.half must be true or false, not 0.5");
    refusal(config, c -> c.child("text"))
        .withMessage("config.json: outer.text must be an object, not \"wide\"");
    refusal(config, c -> c.optionalChild("list"))
        .withMessage("config.json: outer.list must be an object, not [1,\"b\"]");
    refusal(config, c -> c.integers("list"))
        .withMessage("config.json: outer.list must be an integer, not \"b\"");
  }

  @ParameterizedTest
  @ValueSource(strings = {"2147483648", "-2147483649", "99999999999999999999", "1.0", "true"})
  void refusesIntegersThatAreNone(String value) {
    refusal(config("{\"key\": " + value + "}"), c -> c.integer("key"))
        .withMessage("config.json: key must be an integer, not " + value);
  }

  @Test
  void readsListsOfLists() {
    ConfigJson config =
        config("{\"key\": [[336, 672], [672, 336]], \"flat\": [1], \"text\": \"[]\"}");

    assertThat(config.integerLists("key")).containsExactly(List.of(336, 672), List.of(672, 336));
    refusal(config, c -> c.integerLists("flat"))
        .withMessage("config.json: flat must be a list of lists of integers, not 1");
    refusal(config, c -> c.integerLists("text"))
        .withMessage("config.json: text must be a list of lists of integers, not \"[]\"");
    refusal(config("{}"), c -> c.integerLists("key"))
        .withMessage(missing("a list of lists of integers"));
  }

  @Test
  void refusesNumbersWithoutEnd() {
    refusal(config("{\"key\": 1e999}"), c -> c.number("key"))
        .withMessageStartingWith("config.json: key must be a number, not ");
  }

  @Test
  void refusesSettingsItsCallerDoesNotImplement() {
    ConfigJson config =
        config("{\"rope_scaling\": {\"factor\": 2}, \"act\": \"relu\", \"layer\": -1}");

    refusal(config, c -> c.requireAbsent("rope_scaling", "scaled positions are not supported"))
        .withMessage(
            "config.json: rope_scaling must be absent, not {\"factor\":2}: "
                + "scaled positions are not supported");
    refusal(config, c -> c.requireOneOf("act", "silu", "gelu"))
        .withMessage("config.json: act must be one of silu, gelu, not \"relu\"");
    refusal(config, c -> c.requireOneOf("layer", "-2"))
        .withMessage("config.json: layer must be -2, not -1");
    refusal(config, c -> c.requireOneOf("rope_scaling", ""))
        .withMessage("config.json: rope_scaling must be , not {\"factor\":2}");
    config.requireOneOf("act", "silu", "relu");
    config.requireOneOf("layer", "-1");
  }

  @Test
  void keepsMessagesToOneShortLine() {
    refusal(config("{\"key\": \"" + "a\\u2028".repeat(1000) + "\"}"), c -> c.integer("key"))
        .withMessageMatching("config.json: key must be an integer, not \"(a\\?)+a?\\.\\.\\.");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "[]", "1", "null", "\"text\""})
  void refusesFilesWithoutAnObject(String json) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> config(json))
        .withMessage(
            "Cannot read %s: it does not hold a JSON object", folder.resolve("config.json"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{\"a\": 1, \"a\": 2}", "{\"a\": }", "{} {}", "{'a': 1}", "{\"a\": NaN}"})
  void refusesMalformedFilesInOneLine(String json) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> config(json))
        .withMessageStartingWith(
            "Cannot read %s: its JSON is malformed: ", folder.resolve("config.json"))
        .withMessageMatching("[^\\n]*");
  }

  @Test
  void refusesDeepJson() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> config("{\"a\": " + "[".repeat(65) + "]".repeat(65) + "}"))
        .withMessageContaining(
            "epth (65) exceeds the maximum allowed"); // Jackson words it in two ways.
  }

  private ConfigJson config(String json) {
    return ConfigJson.read(RawSafetensors.write(folder.resolve("config.json"), json));
  }

  private static String missing(String expected) {
    return "config.json: key must be " + expected + ", but is missing";
  }

  private static ThrowableAssertAlternative<IllegalArgumentException> refusal(
      ConfigJson config, Consumer<ConfigJson> use) {
    return assertThatIllegalArgumentException().isThrownBy(() -> use.accept(config));
  }
}
