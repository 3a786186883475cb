package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Variant;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RunForecastTest {
  private static final List<String> QUESTIONS =
      List.of("Is there a red circle in the image?", "What colour is the star?", "Why?", " ");

  @Test
  void foretellsThePromptTokensOfARun() throws IOException {
    AnnotatorSettings settings = settings();
    byte[] image = Files.readAllBytes(Path.of("src/test/resources/golden/images/shapes.png"));
    List<Question> rows =
        IntStream.range(0, QUESTIONS.size())
            .mapToObj(
                i ->
                    new Question(
                        "row" + i,
                        null,
                        new ImageSource.Bytes(image),
                        QUESTIONS.get(i),
                        List.of(),
                        null,
                        false))
            .toList();

    RunForecast forecast = RunForecast.of(settings, QUESTIONS);

    try (ModelAnnotator annotator = ModelAnnotator.load(settings)) {
      annotator.annotate(rows.iterator()).forEachRemaining(annotation -> {});
      // One image; three prompts, since nothing is asked by a blank question; two variants.
      assertThat(forecast.prefixTokens() + forecast.ownTokens() * 3 * 2)
          .isCloseTo((double) annotator.times().promptTokens(), within(1e-6));
    }
    assertThat(forecast.memory()).startsWith("weights ");
  }

  private static AnnotatorSettings settings() {
    return new AnnotatorSettings(
        new RunSettings.Model(
            "src/main/resources/io/sinklens/demo/checkpoint",
            "auto",
            "auto",
            "auto",
            "auto",
            null,
            "auto",
            "float32",
            ""),
        new RunSettings.Generation(2, 0, 16384, List.of(), 0),
        List.of(variant("baseline", Hook.OBSERVE), variant("var", Hook.VAR)),
        RunSettings.Statistics.SUMMARY,
        1_000_000);
  }

  private static Variant variant(String name, Hook hook) {
    return new Variant(
        name, hook, "paper", List.of(), null, "prompt", 0.5, 0.2, 0.6, true, Knockout.SINKS);
  }
}
