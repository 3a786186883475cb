package io.sinklens.benchmark;

import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.stream.Collectors;

/** Words that lack an apostrophe, and how the scorers of VQA write them. */
enum Contractions {
  /** With straight apostrophes. */
  VQA("vqa-contractions.properties"),

  /** As published for VizWiz: most apostrophes are curly, so that most values match no answer. */
  VIZWIZ("vizwiz-contractions.properties");

  private final String resource;

  Contractions(String resource) {
    this.resource = resource;
  }

  /** The word with its apostrophe, or as it is if the table has none for it. */
  String of(String word) {
    return Tables.of(this).getOrDefault(word, word);
  }

  private Map<String, String> read() {
    Properties table = new Properties();
    try (InputStream file =
        Objects.requireNonNull(Contractions.class.getResourceAsStream(resource), resource)) {
      table.load(new InputStreamReader(file, StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return table.entrySet().stream()
        .collect(
            Collectors.toUnmodifiableMap(
                entry -> (String) entry.getKey(), entry -> (String) entry.getValue()));
  }

  /** Read when first used. */
  private static final class Tables {
    private static final Map<String, String> STRAIGHT = VQA.read();
    private static final Map<String, String> CURLY = VIZWIZ.read();

    static Map<String, String> of(Contractions which) {
      return which == VQA ? STRAIGHT : CURLY;
    }
  }
}
