package io.sinklens.job;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a benchmark asks, and what is done about attention meanwhile.
 *
 * <p>One asks nothing and only loads the model. Three ask the bundled questions about the bundled
 * images; the others, which a script asks of transformers too, ask the same questions about every
 * image and force answers to one length.
 *
 * @param description for people
 * @param questions asked about every image; null for each image's own
 * @param maxNewTokens length of every answer; null for as long as the answers are
 * @param images how many of the bundled images; null for all
 * @param variants of {@link #VARIANTS}
 */
record Workload(
    String description,
    @Nullable List<String> questions,
    @Nullable Integer maxNewTokens,
    @Nullable Integer images,
    List<String> variants) {

  /** Hooks of variants a workload can run, by the variant's name. */
  static final Map<String, String> VARIANTS =
      Map.of("plain", "none", "baseline", "observe", "var", "var");

  /** The one that asks nothing. */
  static final String LOAD = "load";

  private static final String RESOURCE = "workloads.json";

  private static final ObjectMapper JSON =
      new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

  Workload {
    questions = questions == null ? null : List.copyOf(questions);
    variants = List.copyOf(variants);
    for (String variant : variants) {
      if (!VARIANTS.containsKey(variant)) {
        throw new IllegalArgumentException(
            "Variants must be of plain, baseline, var, not " + variant);
      }
    }
    if (images != null && images < 1) {
      throw new IllegalArgumentException("Images must be above 0, not " + images);
    }
  }

  /** The same with other choices, where they are not null. */
  Workload with(@Nullable Integer otherImages, @Nullable List<String> otherVariants) {
    return new Workload(
        description,
        questions,
        maxNewTokens,
        otherImages == null ? images : otherImages,
        otherVariants == null ? variants : otherVariants);
  }

  /**
   * The same with only the first questions of every image.
   *
   * @throws IllegalArgumentException when there are not so many
   */
  Workload first(int count) {
    if (questions == null) {
      throw new IllegalArgumentException(
          "Questions cannot be counted off where each image has its own");
    }
    if (count < 1 || count > questions.size()) {
      throw new IllegalArgumentException(
          "Questions must be from 1 to %d, not %d".formatted(questions.size(), count));
    }
    return new Workload(description, questions.subList(0, count), maxNewTokens, images, variants);
  }

  /** What a job that runs it is set to, whatever its questions. */
  List<String> overlays() {
    List<String> overlays = new ArrayList<>();
    overlays.add("statistics="); // The defaults: no maps.
    overlays.add(
        "variants="
            + variants.stream()
                .map(name -> "{name: %s, hook: %s}".formatted(name, VARIANTS.get(name)))
                .toList());
    if (maxNewTokens != null) {
      overlays.add("generation.max-new-tokens=" + maxNewTokens);
      overlays.add("generation.min-new-tokens=" + maxNewTokens);
    }
    return overlays;
  }

  /**
   * The workload of that name.
   *
   * @throws IllegalArgumentException naming those there are
   */
  static Workload named(String name) {
    Map<String, Workload> all = all();
    Workload workload = all.get(name);
    if (workload == null) {
      throw new IllegalArgumentException(
          "Workload must be one of %s, not %s".formatted(String.join(", ", all.keySet()), name));
    }
    return workload;
  }

  private static Map<String, Workload> all() {
    Map<String, Workload> all = new LinkedHashMap<>();
    all.put(LOAD, bundled("nothing: the model is loaded", "plain"));
    all.put("plain", bundled("the bundled questions, attention left alone", "plain"));
    all.put("observe", bundled("the bundled questions, sinks measured", "baseline"));
    all.put(
        "baseline-and-var",
        bundled("the bundled questions, measured and with VAR", "baseline", "var"));
    try (InputStream resource = Workload.class.getResourceAsStream(RESOURCE)) {
      all.putAll(JSON.readValue(resource, new TypeReference<LinkedHashMap<String, Workload>>() {}));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read resource " + RESOURCE, e);
    }
    return all;
  }

  private static Workload bundled(String description, String... variants) {
    return new Workload(description, null, null, null, List.of(variants));
  }
}
