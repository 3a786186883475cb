package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.pipeline.RunSettings.Columns;
import io.sinklens.pipeline.RunSettings.Generation;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.pipeline.RunSettings.Input;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Model;
import io.sinklens.pipeline.RunSettings.Output;
import io.sinklens.pipeline.RunSettings.Run;
import io.sinklens.pipeline.RunSettings.Statistics;
import io.sinklens.pipeline.RunSettings.Variant;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JobFileTest {
  private static final String LEAST =
      """
      input: {path: in}
      output: {path: out}
      model: {path: model}
      """;

  private static final String EVERYTHING =
      """
      input:
        path: s3a://bucket/pope/*.parquet
        columns: {id: [category, question_id], image: picture, image-id: scene, question: q, answers: [a, b], mask: m}
        images: /images
        image-table: {path: "s3a://bucket/images", id: key, image: picture_of_table}
        derived: {q: "concat(a, b)"}
        filter: split = 'test'
        draw: 500
      output: {path: s3a://bucket/out, keep-columns: [category]}
      model: {path: /models/llava, preset: none, template: plain, image-rule: pad, exif: ignore, vision-path: /models/clip, device: cpu, dtype: float32, prompt-suffix: " Be short."}
      generation: {max-new-tokens: 5, batch-tokens: 64, answer-choices: [yes, no], top-logprobs: 2}
      variants:
        - {name: plain, hook: none}
        - name: moved
          hook: var
          mode: reference
          sink-dimensions: [1415, 2533]
          sink-threshold: 17.5
          sink-tokens: all
          min-nonsink-ratio: 0.25
          min-image-attention: 0.1
          moved-share: 0.9
          require-visual-sink: false
        - {name: masked, hook: knockout, masked-tokens: random, seed: -7}
      statistics: {level: full, samples: 50}
      run: {wave-rows: 7, max-failed-share: 0.5, max-image-pixels: 5000000000, max-stall-seconds: 60}
      """;

  @Test
  void fillsEveryDefault() {
    assertThat(parse(LEAST))
        .isEqualTo(
            new RunSettings(
                new Input(
                    "in",
                    new Columns(List.of(), "image", null, "question", List.of("answer"), null),
                    null,
                    null,
                    Map.of(),
                    null,
                    null),
                new Output("out", List.of()),
                new Model("model", "auto", "auto", "auto", "auto", null, "auto", "auto", ""),
                new Generation(128, 0, null, List.of(), 0),
                List.of(
                    new Variant(
                        "baseline",
                        Hook.OBSERVE,
                        "paper",
                        List.of(),
                        null,
                        "prompt",
                        0.5,
                        0.2,
                        0.6,
                        true,
                        Knockout.SINKS),
                    new Variant(
                        "var",
                        Hook.VAR,
                        "paper",
                        List.of(),
                        null,
                        "prompt",
                        0.5,
                        0.2,
                        0.6,
                        true,
                        Knockout.SINKS)),
                Statistics.SUMMARY,
                new Run(100_000, 0.01, 100_000_000, 1800)));
  }

  @Test
  void readsEveryKey() {
    assertThat(parse(EVERYTHING))
        .isEqualTo(
            new RunSettings(
                new Input(
                    "s3a://bucket/pope/*.parquet",
                    new Columns(
                        List.of("category", "question_id"),
                        "picture",
                        "scene",
                        "q",
                        List.of("a", "b"),
                        "m"),
                    "/images",
                    new ImageTable("s3a://bucket/images", "key", "picture_of_table"),
                    Map.of("q", "concat(a, b)"),
                    "split = 'test'",
                    500),
                new Output("s3a://bucket/out", List.of("category")),
                new Model(
                    "/models/llava",
                    "none",
                    "plain",
                    "pad",
                    "ignore",
                    "/models/clip",
                    "cpu",
                    "float32",
                    " Be short."),
                new Generation(5, 0, 64, List.of("yes", "no"), 2),
                List.of(
                    new Variant(
                        "plain",
                        Hook.NONE,
                        "paper",
                        List.of(),
                        null,
                        "prompt",
                        0.5,
                        0.2,
                        0.6,
                        true,
                        Knockout.SINKS),
                    new Variant(
                        "moved",
                        Hook.VAR,
                        "reference",
                        List.of(1415, 2533),
                        17.5,
                        "all",
                        0.25,
                        0.1,
                        0.9,
                        false,
                        Knockout.SINKS),
                    new Variant(
                        "masked",
                        Hook.KNOCKOUT,
                        "paper",
                        List.of(),
                        null,
                        "prompt",
                        0.5,
                        0.2,
                        0.6,
                        true,
                        new Knockout("random", -7))),
                new Statistics(Statistics.Level.FULL, 50),
                new Run(7, 0.5, 5_000_000_000L, 60)));
  }

  @Test
  void writesSettingsThatReadBackTheSame() throws JsonProcessingException {
    for (String job : List.of(LEAST, EVERYTHING)) {
      String written = new ObjectMapper().writeValueAsString(JobFile.toMap(parse(job)));

      assertThat(parse(written)).isEqualTo(parse(job));
      assertThat(JobFile.toMap(parse(written))).isEqualTo(JobFile.toMap(parse(job)));
    }
  }

  @Test
  void laysSettingsOverTheFile() {
    RunSettings settings =
        parse(
            LEAST,
            "input.columns.id=[category, question_id]",
            "input.columns.answers=",
            "variants.1.mode=reference",
            "generation.answer-choices=[yes, no]",
            "model.path=/models/a=b");

    assertThat(settings.input().columns().id()).containsExactly("category", "question_id");
    assertThat(settings.input().columns().answers()).isEmpty();
    assertThat(settings.variants()).extracting(Variant::mode).containsExactly("paper", "reference");
    assertThat(settings.generation().answerChoices()).containsExactly("yes", "no");
    assertThat(settings.model().path()).isEqualTo("/models/a=b");
  }

  @Test
  void takesOneTextForAListOfOne() {
    RunSettings settings =
        parse(LEAST, "input.columns.id=question_id", "output.keep-columns=category");

    assertThat(settings.input().columns().id()).containsExactly("question_id");
    assertThat(settings.output().keepColumns()).containsExactly("category");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "max-sink-share=0.9 | 0.1 | 0.6",
        "min-nonsink-ratio=0.9 | 0.9 | 0.6",
        "kept-share=0.9 | 0.5 | 0.1",
        "moved-share=0.9 | 0.5 | 0.9",
      })
  void knowsBothNamesOfAShare(String overlay, double minNonsinkRatio, double movedShare) {
    Variant variant = parse(LEAST, "variants.1." + overlay).variants().get(1);

    assertThat(variant.minNonsinkRatio()).isEqualTo(minNonsinkRatio);
    assertThat(variant.movedShare()).isEqualTo(movedShare);
  }

  @Test
  void takesPublishedSettingsByName() {
    Variant released = parse(LEAST, "variants.1.preset=released").variants().get(1);

    assertThat(released.mode()).isEqualTo("reference");
    assertThat(released.minNonsinkRatio()).isEqualTo(0.5);
    assertThat(released.movedShare()).isEqualTo(0.4);

    Variant changed =
        parse(
                LEAST,
                "variants.1={name: v, hook: var, preset: released, mode: paper, moved-share: 1}")
            .variants()
            .get(1);
    assertThat(changed.mode()).isEqualTo("paper");
    assertThat(changed.movedShare()).isEqualTo(1);
  }

  @Test
  void takesSinkDimensionsInAnyForm() {
    for (String form : List.of("[1415, 2533]", "1415,2533", "'1415, 2533'")) {
      assertThat(
              parse(LEAST, "variants.0.sink-dimensions=" + form).variants().get(0).sinkDimensions())
          .containsExactly(1415, 2533);
    }
    assertThat(parse(LEAST, "variants.0.sink-dimensions=7").variants().get(0).sinkDimensions())
        .containsExactly(7);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "model.pth=x | Unknown setting model.pth; did you mean model.path?",
        "variants.1.mod=x | Unknown setting variants.1.mod; did you mean variants.1.mode?",
        "batch-tokens=5 | Unknown setting batch-tokens; did you mean generation.batch-tokens?",
        "run.colour=5 | Unknown setting run.colour; known here: wave-rows, max-failed-share,"
            + " max-image-pixels, max-stall-seconds",
        "model.path= | model.path must be given",
        "variants.1.name= | variants.1.name must be given",
        "variants.1.hook=knock | variants.1.hook must be one of none, observe, var, knockout,"
            + " contribution, not knock",
        "variants.1.masked-tokens=all | variants.1: masked-tokens must be one of sinks, random, not"
            + " all",
        "variants.1.seed=1.5 | variants.1.seed must be a whole number, not 1.5",
        "variants.1.preset=paper | variants.1.preset must be released, not paper",
        "variants.1.mode=fast | variants.1: mode must be one of paper, reference, not fast",
        "variants.1.min-image-attention=2 | variants.1: min-image-attention must be from 0 to 1,"
            + " not 2.0",
        "variants.1.max-sink-share=1.5 | variants.1.max-sink-share must be from 0 to 1, not 1.5",
        "variants.1={name: v, hook: var, moved-share: 0.6, kept-share: 0.4} |"
            + " variants.1.moved-share and variants.1.kept-share say the same; give only one",
        "variants.1.sink-dimensions=a,b | variants.1.sink-dimensions must be whole numbers such as"
            + " [1415, 2533], not \"a,b\"",
        "variants.1.sink-dimensions=[-1] | variants.1.sink-dimensions must be whole numbers such as"
            + " [1415, 2533], not [-1]",
        "variants.1.require-visual-sink=yes | variants.1.require-visual-sink must be true or false,"
            + " not \"yes\"",
        "variants.2.mode=paper | Cannot set variants.2.mode: variants has 2 items, numbered 0 to 1",
        "variants.first.mode=paper | Cannot set variants.first.mode: variants has 2 items, numbered"
            + " 0 to 1",
        "variants=[] | Variants must not be empty",
        "variants=5 | variants must be a list, not 5",
        "variants.0=5 | variants.0 must be a section of keys, not 5",
        "model=5 | model must be a section of keys, not 5",
        "model.path.x=5 | Cannot set model.path.x: model.path is \"model\", which has no keys",
        "=5 | Cannot set =5: it must look like generation.max-new-tokens=64",
        "generation.max-new-tokens=many | generation.max-new-tokens must be a whole number, not"
            + " \"many\"",
        "generation.max-new-tokens=1.5 | generation.max-new-tokens must be a whole number, not 1.5",
        "generation.max-new-tokens=0 | generation.max-new-tokens must be at least 1, not 0",
        "run.max-stall-seconds=0 | run.max-stall-seconds must be at least 1, not 0",
        "generation.answer-choices=[1] | generation.answer-choices.0 must be text, not 1",
        "run.max-failed-share=.nan | Cannot read run.max-failed-share: malformed in line 1:"
            + " Malformed numeric value '.nan'",
        "model.vision-path=5 | model.vision-path must be text, not 5",
        "model.prompt-suffix=5 | model.prompt-suffix must be text, not 5",
        "statistics.level=all | statistics.level must be one of none, summary, full, not all",
        "statistics.samples=3 | statistics.samples must be 0 unless statistics.level is full, not 3"
            + " at level summary",
        "statistics={level: full, samples: -1} | statistics.samples must be at least 0, not -1",
      })
  void refuses(String overlay, String message) {
    assertThatThrownBy(() -> parse(LEAST, overlay))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @Test
  void refusesWhatYamlWouldReadInSilence() {
    assertThatThrownBy(() -> parse("model: {path: a, path: b}"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot read the job file: malformed in line 1: Duplicate field");
    assertThatThrownBy(() -> parse("model: {path: &x a, dtype: *x}"))
        .hasMessage("Cannot read the job file: aliases such as *x are not supported");
    assertThatThrownBy(() -> parse(LEAST + "---\nmore: 1\n"))
        .hasMessageStartingWith("Cannot read the job file: malformed");
    assertThatThrownBy(() -> parse("[".repeat(100)))
        .hasMessageStartingWith("Cannot read the job file: malformed");
    assertThatThrownBy(() -> parse("model: {path: [}"))
        .hasMessageStartingWith("Cannot read the job file: malformed in line 1: ");
    assertThatThrownBy(() -> parse("just text"))
        .hasMessage("The job file must hold keys and values, not \"just text\"");
    assertThatThrownBy(() -> parse("")).hasMessage("input.path must be given");
  }

  @Test
  void refusesYamlThatIsMeantToHarm() {
    assertThatThrownBy(
            () ->
                parse(
                    LEAST
                        + "variants: !!javax.script.ScriptEngineManager"
                        + " [!!java.net.URLClassLoader [[!!java.net.URL ['http://x/']]]]\n"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot read the job file: tags such as !!javax.script.ScriptEngineManager are not"
                + " supported");
    assertThatThrownBy(() -> parse(LEAST, "model.path=!!java.io.File /etc/passwd"))
        .hasMessage("Cannot read model.path: tags such as !!java.io.File are not supported");
    StringBuilder laughs = new StringBuilder("a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n");
    for (int i = 1; i < 12; i++) {
      laughs.append("a%d: &a%d [%s]\n".formatted(i, i, ("*a" + (i - 1) + ", ").repeat(10)));
    }
    assertThatThrownBy(() -> parse(laughs.toString()))
        .hasMessage("Cannot read the job file: aliases such as *a0 are not supported");
    for (String deep : List.of("[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000))) {
      assertThatThrownBy(() -> parse(deep))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("Cannot read the job file: malformed")
          .hasMessageNotContaining("\n");
    }
    assertThatThrownBy(() -> parse("a: " + "x".repeat(1_100_000)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot read the job file: malformed");
  }

  @Test
  void readsFiles(@TempDir Path folder) throws IOException {
    Path job = Files.writeString(folder.resolve("job.yaml"), LEAST);
    assertThat(JobFile.read(job, List.of())).isEqualTo(parse(LEAST));

    Path absent = folder.resolve("absent.yaml");
    assertThatThrownBy(() -> JobFile.read(absent, List.of()))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot read job file %s: no such file", absent);

    Path binary = Files.write(folder.resolve("binary.yaml"), new byte[] {(byte) 0xff, 0, 1});
    assertThatThrownBy(() -> JobFile.read(binary, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read job file %s: not UTF-8", binary);
  }

  /** The page lists exactly the known keys, with the defaults that the code has. */
  @Test
  void agreesWithItsPage() throws IOException {
    Map<String, String> documented = new LinkedHashMap<>();
    for (String line : Files.readAllLines(Path.of("src/site/markdown/settings.md"))) {
      if (line.startsWith("| `")) {
        String[] cells = line.split("\\|", -1);
        documented.put(cells[1].strip().replace("`", ""), cells[3].strip());
      }
    }
    RunSettings least = parse(LEAST, "variants=[{name: v, hook: var}]");
    Map<String, String> coded = new LinkedHashMap<>();
    flatten("", JobFile.toMap(least), coded);
    for (String required :
        List.of("input.path", "output.path", "model.path", "variants.N.name", "variants.N.hook")) {
      coded.put(required, "required");
    }
    coded.remove("input.image-table");
    coded.put("input.image-table.path", "`null`");
    coded.put("input.image-table.id", "`\"id\"`");
    coded.put("input.image-table.image", "`\"image\"`");
    coded.put("variants.N.preset", "`null`");
    coded.put("variants.N.max-sink-share", "1 − `min-nonsink-ratio`");
    coded.put("variants.N.kept-share", "1 − `moved-share`");

    assertThat(documented).containsExactlyInAnyOrderEntriesOf(coded);
    assertThat(documented.keySet()).containsExactlyInAnyOrderElementsOf(knownKeys());
  }

  private static List<String> knownKeys() {
    List<String> keys = new ArrayList<>();
    JobFile.KEYS.forEach(
        (section, names) -> {
          String path = section.equals("variants") ? "variants.N" : section;
          for (String name : names) {
            String key = path.isEmpty() ? name : path + "." + name;
            if (!JobFile.KEYS.containsKey(key)) {
              keys.add(key);
            }
          }
        });
    return keys;
  }

  private static void flatten(String path, @Nullable Object value, Map<String, String> into) {
    if (value instanceof Map<?, ?> entries) {
      entries.forEach(
          (key, entry) -> flatten(path.isEmpty() ? "" + key : path + "." + key, entry, into));
    } else if (path.equals("variants") && value instanceof List<?> variants) {
      flatten("variants.N", variants.get(0), into);
    } else {
      try {
        into.put(path, "`" + new ObjectMapper().writeValueAsString(value) + "`");
      } catch (JsonProcessingException e) {
        throw new AssertionError(e);
      }
    }
  }

  private static RunSettings parse(String yaml, String... overlays) {
    return JobFile.parse(yaml, List.of(overlays));
  }
}
