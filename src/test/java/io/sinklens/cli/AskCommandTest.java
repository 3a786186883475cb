package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** With the golden checkpoints, whose answers transformers and the released VAR code have given. */
class AskCommandTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final Path GQA = GOLDEN.resolve("llava-gqa");
  private static final int LAYERS = 5;
  private static final int HEADS = 4;

  /** The settings of the golden runs that move 0.6, but for the mode. */
  private static final List<String> VAR_SETTINGS =
      List.of(
          "--sink-dimensions=7,50",
          "--sink-threshold=3",
          "--min-nonsink-ratio=0.6",
          "--min-image-attention=0.1",
          "--moved-share=0.6");

  /** Case 20: an image cropped, the plain template, and an answer that VAR changes. */
  private static JsonNode golden;

  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeAll
  static void readGolden() throws IOException {
    golden = goldenCase(GQA, 20);
  }

  @Test
  void printsTheAnswer() {
    assertThat(execute(arguments(golden))).isEqualTo(ExitCode.DONE);
    assertThat(out.toString()).isEqualTo(golden.get("answer").asText() + "\n");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void printsSinksAndCorrectedHeadsUnderVar() throws IOException {
    List<String> arguments = arguments(golden);
    arguments.addAll(VAR_SETTINGS);
    arguments.add("--var=paper");
    assertThat(execute(arguments)).isEqualTo(ExitCode.DONE);

    JsonNode expected = goldenVar("paper-0.6", 20);
    List<String> lines = out.toString().lines().toList();
    assertThat(lines.get(0)).isEqualTo(expected.get("answer").asText());
    assertThat(lines.subList(1, 3))
        .containsExactly("", "layer  image sinks  text sinks  heads corrected");
    assertThat(lines).hasSize(3 + expected.get("sinks").size());
    for (int i = 0; i < expected.get("sinks").size(); i++) {
      JsonNode sinks = expected.get("sinks").get(i);
      int layer = sinks.get("layer").asInt();
      int corrected = 0;
      int rows = 0;
      for (JsonNode token : expected.get("head_selection")) {
        for (JsonNode head : token.get(layer)) {
          corrected += head.asInt();
          rows++;
        }
      }
      assertThat(lines.get(3 + i))
          .isEqualTo(
              String.format(
                  Locale.ROOT,
                  "%5d  %11d  %10d  %13.0f %%",
                  layer,
                  sinks.get("image_positions").size(),
                  sinks.get("text_positions").size(),
                  100.0 * corrected / rows));
    }
  }

  @Test
  void writesOnlyJsonToStandardOutput() throws IOException {
    PrintStream standard = System.out;
    ByteArrayOutputStream captured = new ByteArrayOutputStream();
    List<String> arguments = arguments(golden);
    arguments.add("--json");
    try {
      System.setOut(new PrintStream(captured, true, StandardCharsets.UTF_8));
      assertThat(SinklensCommand.commandLine().execute(arguments.toArray(new String[0])))
          .isEqualTo(ExitCode.DONE);
    } finally {
      System.setOut(standard);
    }
    JsonNode json = onlyJson(captured.toString(StandardCharsets.UTF_8));

    assertThat(names(json))
        .containsExactly(
            "answer",
            "answer_token_ids",
            "answer_logprob",
            "finish_reason",
            "prompt_token_ids",
            "image_span",
            "sinks",
            "head_selection");
    for (String exact :
        List.of("answer", "answer_token_ids", "finish_reason", "prompt_token_ids", "image_span")) {
      assertThat(json.get(exact)).as(exact).isEqualTo(golden.get(exact));
    }
    assertThat(json.get("answer_logprob").asDouble())
        .isCloseTo(golden.get("answer_logprob").asDouble(), within(1e-3));
    assertThat(json.get("sinks").isNull()).isTrue();
    assertThat(json.get("head_selection").isNull()).isTrue();
  }

  @Test
  void marksTheImageTokensByTheirSpan() {
    JsonNode json = ask(arguments(golden));
    int start = json.get("image_span").get(0).asInt();
    int end = json.get("image_span").get(1).asInt();
    int imageToken = json.get("prompt_token_ids").get(start).asInt();
    for (int i = 0; i < json.get("prompt_token_ids").size(); i++) {
      assertThat(json.get("prompt_token_ids").get(i).asInt() == imageToken)
          .as("token %d", i)
          .isEqualTo(i >= start && i < end);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"paper", "reference"})
  void reportsSinksAndHeadsAsTheGoldenRun(String mode) throws IOException {
    JsonNode expected = goldenVar(mode + "-0.6", 20);
    JsonNode json = askVar("--var=" + mode);

    assertThat(json.get("answer_token_ids")).isEqualTo(expected.get("answer_token_ids"));
    assertThat(json.get("head_selection")).isEqualTo(expected.get("head_selection"));
    assertThat(json.get("sinks")).hasSameSizeAs(expected.get("sinks"));
    for (int i = 0; i < expected.get("sinks").size(); i++) {
      JsonNode sinks = json.get("sinks").get(i);
      JsonNode expectedSinks = expected.get("sinks").get(i);
      assertThat(names(sinks))
          .containsExactly("layer", "image_positions", "text_positions", "max_value");
      for (String exact : List.of("layer", "image_positions", "text_positions")) {
        assertThat(sinks.get(exact)).as(exact).isEqualTo(expectedSinks.get(exact));
      }
      assertThat(sinks.get("max_value").asDouble())
          .isCloseTo(expectedSinks.get("max_value").asDouble(), within(1e-4));
    }
    assertThat(json.get("head_selection")).hasSameSizeAs(json.get("answer_token_ids"));
    for (JsonNode token : json.get("head_selection")) {
      assertThat(token).hasSize(LAYERS).allSatisfy(layer -> assertThat(layer).hasSize(HEADS));
    }
  }

  @Test
  void takesOnForPaper() {
    assertThat(askVar("--var=on")).isEqualTo(askVar("--var=paper"));
    refuses("--var must be one of off, on, paper, reference, not maybe", "--var=maybe");
  }

  @ParameterizedTest
  @ValueSource(ints = {9, 20})
  void encodesARawPromptAsTheWholeText(int index) throws IOException {
    JsonNode written = goldenCase(GQA, index);
    List<String> arguments = arguments(written);
    arguments.remove("--question=" + written.get("question").asText());
    arguments.add("--prompt=" + written.get("prompt").asText());
    JsonNode json = ask(arguments);
    for (String exact : List.of("prompt_token_ids", "image_span", "answer_token_ids")) {
      assertThat(json.get(exact)).as(exact).isEqualTo(written.get(exact));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "USER: what?, 'Prompt must have <image> exactly once, not 0 times'",
    "<image><image> what?, 'Prompt must have <image> exactly once, not 2 times'",
    "USER: <image>, Prompt must have text after its image",
    "' ', Cannot ask: the prompt is blank"
  })
  void refusesRawPromptsThatCannotRun(String prompt, String message) {
    assertThat(execute(List.of("ask", "--model=" + GQA, image("wide.png"), "--prompt=" + prompt)))
        .isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).isEqualTo("sinklens: " + message + "\n");
  }

  @Test
  void wantsEitherAQuestionOrAPrompt() {
    List<String> neither = List.of("ask", "--model=" + GQA, image("wide.png"));
    assertThat(execute(neither)).isEqualTo(ExitCode.USAGE);
    assertThat(err.toString()).contains("--question", "--prompt");

    List<String> both = new ArrayList<>(neither);
    both.addAll(List.of("--question=Why?", "--prompt=<image> Why?"));
    assertThat(execute(both)).isEqualTo(ExitCode.USAGE);
    assertThat(out.toString()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"--max-new-tokens=few", "--sink-dimensions=a,b", "--moved-share=most"})
  void wantsNumbersWhereNumbersBelong(String option) {
    List<String> arguments = arguments(golden);
    arguments.removeIf(argument -> argument.startsWith("--max-new-tokens"));
    arguments.add(option);
    assertThat(execute(arguments)).isEqualTo(ExitCode.USAGE);
    assertThat(err.toString()).contains(option.substring(0, option.indexOf('=')));
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void doesNotGuessSinkDimensions() {
    refuses(
        "Cannot run variant on: no sink dimensions are known for this model; give them with"
            + " sink-dimensions (--sink-dimensions of ask), or find them with discover-sinks, which a later"
            + " version brings",
        "--var=on");
    refuses("Sink dimensions must be from 0 to 63, not 64", "--var=on", "--sink-dimensions=7,64");
  }

  @Test
  void knowsTheSinkDimensionsOfTheBundledCheckpoint() throws Exception {
    JsonNode json =
        ask(
            List.of(
                "ask",
                "--model=" + InspectCommandTest.bundledCheckpoint(),
                image("shapes.png"),
                "--question=How many shapes are there?",
                "--max-new-tokens=2",
                "--var=on"));
    assertThat(json.get("sinks"))
        .hasSize(4)
        .allSatisfy(layer -> assertThat(layer.get("max_value").asDouble()).isGreaterThan(5));
    assertThat(json.get("head_selection")).hasSameSizeAs(json.get("answer_token_ids"));
  }

  @Test
  void looksForSinksInTheDimensionsGiven() {
    JsonNode both = askVar("--var=paper").get("sinks");
    assertThat(askVar("--var=paper", "--sink-dimensions=50").get("sinks")).isNotEqualTo(both);
    assertThat(askVar("--var=paper", "--sink-dimensions=50,7").get("sinks")).isEqualTo(both);
  }

  @Test
  void findsFewerSinksUnderAHigherThreshold() {
    JsonNode more = askVar("--var=paper").get("sinks");
    JsonNode fewer = askVar("--var=paper", "--sink-threshold=3.9").get("sinks");
    for (String positions : List.of("image_positions", "text_positions")) {
      List<JsonNode> found = more.findValues(positions);
      List<JsonNode> left = fewer.findValues(positions);
      assertThat(left).isNotEqualTo(found).hasSameSizeAs(found);
      for (int i = 0; i < found.size(); i++) {
        assertThat(integers(found.get(i))).containsAll(integers(left.get(i)));
      }
    }
    assertThat(askVar("--var=paper", "--sink-threshold=20").get("answer_token_ids"))
        .as("nothing to correct")
        .isEqualTo(golden.get("answer_token_ids"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"--min-nonsink-ratio", "--min-image-attention"})
  void selectsFewerHeadsAsMoreIsAsked(String option) {
    JsonNode all = askVar("--var=paper", option + "=0").get("head_selection").get(0);
    JsonNode none = askVar("--var=paper", option + "=1").get("head_selection");
    JsonNode some = askVar("--var=paper").get("head_selection").get(0);
    assertThat(ones(all)).isGreaterThan(ones(some));
    assertThat(ones(some)).isGreaterThan(0);
    assertThat(none).allSatisfy(token -> assertThat(ones(token)).isZero());
  }

  @Test
  void movesNothingUnderAShareOfZero() {
    JsonNode json = askVar("--var=paper", "--moved-share=0");
    assertThat(json.get("answer_token_ids")).isEqualTo(golden.get("answer_token_ids"));
    assertThat(json.get("answer_logprob").asDouble())
        .isCloseTo(golden.get("answer_logprob").asDouble(), within(1e-3));
    assertThat(ones(json.get("head_selection").get(0))).isGreaterThan(0);

    double all = askVar("--var=paper", "--moved-share=1").get("answer_logprob").asDouble();
    double part = askVar("--var=paper").get("answer_logprob").asDouble();
    assertThat(Math.abs(all - part)).isGreaterThan(1e-2);
  }

  @ParameterizedTest
  @CsvSource({
    "--sink-threshold=0, 'sink-threshold must be above 0, not 0.0'",
    "--min-nonsink-ratio=1.5, 'min-nonsink-ratio must be from 0 to 1, not 1.5'",
    "--min-image-attention=-0.1, 'min-image-attention must be from 0 to 1, not -0.1'",
    "--moved-share=NaN, 'moved-share must be from 0 to 1, not NaN'",
    "--max-new-tokens=0, 'generation.max-new-tokens must be at least 1, not 0'",
    "--dtype=float64, 'model.dtype must be one of auto, float32, float16, bfloat16, not float64'",
    "--dtype=float16, 'Cannot compute in float16 on the processor; model.dtype bfloat16 and float32 can'",
    "--device=tpu, 'model.device must be auto, cpu, gpu or gpu:N, not tpu'",
    "--device=gpu, 'Cannot use device gpu: libtorch 2.7.1 finds no CUDA device, or was built without CUDA'",
    "--template=chatml, 'model.template chatml is not one of family llava'",
    "--image-rule=tile, 'model.image-rule tile is not one of family llava'"
  })
  void namesTheRangeOfASetting(String option, String message) {
    refuses(message, option);
  }

  @Test
  void stopsAfterTheTokensAllowed() {
    JsonNode json = ask(arguments(golden, "--max-new-tokens=3"));
    assertThat(integers(json.get("answer_token_ids")))
        .isEqualTo(integers(golden.get("answer_token_ids")).subList(0, 3));
    assertThat(json.get("finish_reason").asText()).isEqualTo("length");

    refuses(
        "Cannot fit the prompt: 38 tokens and up to 475 new ones exceed the context of 512",
        "--max-new-tokens=475");
  }

  @Test
  void computesInTheTypeAskedFor() throws IOException {
    Path checkpoint = GOLDEN.resolve("llava-bf16");
    JsonNode written = goldenCase(checkpoint, 0);
    List<String> arguments = arguments(written);
    arguments.set(1, "--model=" + checkpoint);
    List<String> narrow = new ArrayList<>(arguments);
    arguments.add("--dtype=float32");
    narrow.add("--dtype=bfloat16");

    JsonNode float32 = ask(arguments);
    assertThat(float32.get("answer_token_ids"))
        .isEqualTo(written.get("float32").get("answer_token_ids"));
    assertThat(float32.get("answer_logprob").asDouble())
        .isCloseTo(written.get("float32").get("answer_logprob").asDouble(), within(1e-3));
    JsonNode bfloat16 = ask(narrow);
    assertThat(bfloat16.get("answer_token_ids")).isEqualTo(written.get("answer_token_ids"));
    assertThat(bfloat16.get("answer_logprob").asDouble())
        .isCloseTo(float32.get("answer_logprob").asDouble(), within(1.0))
        .isNotCloseTo(float32.get("answer_logprob").asDouble(), within(1e-3));
  }

  /** Cases 9 and 27 ask the same of the same image, cropped and padded. */
  @Test
  void preparesImagesAndPromptsAsAskedFor() throws IOException {
    JsonNode cropped = goldenCase(GQA, 9);
    JsonNode padded = goldenCase(GQA, 27);
    assertThat(padded.get("question")).isEqualTo(cropped.get("question"));
    for (JsonNode written : List.of(cropped, padded)) {
      JsonNode json = ask(arguments(written));
      assertThat(json.get("prompt_token_ids")).isEqualTo(written.get("prompt_token_ids"));
      assertThat(json.get("answer_token_ids")).isEqualTo(written.get("answer_token_ids"));
      assertThat(json.get("answer_logprob").asDouble())
          .isCloseTo(written.get("answer_logprob").asDouble(), within(1e-3));
    }
    assertThat(ask(arguments(cropped, "--template=plain")).get("image_span"))
        .isEqualTo(golden.get("image_span"))
        .isNotEqualTo(cropped.get("image_span"));
  }

  @Test
  void takesTheVisionEncoderFromAFolderOfItsOwn() throws IOException {
    Path checkpoint = GOLDEN.resolve("llava-original");
    JsonNode original = goldenCase(checkpoint, 16);
    List<String> arguments =
        arguments(
            original,
            "--model=" + checkpoint,
            "--vision-path=" + GOLDEN.resolve("clip-vit-tiny-patch14-56"),
            "--image-rule=auto",
            "--dtype=float32");

    assertThat(execute(arguments)).as(err.toString()).isEqualTo(ExitCode.DONE);

    assertThat(original.get("image_rule").asText()).isEqualTo("pad");
    assertThat(out.toString()).isEqualTo(original.get("answer").asText() + "\n");
  }

  @Test
  void asksForAVisionEncoderThatLiesElsewhere() {
    Path checkpoint = GOLDEN.resolve("llava-original");
    refuses(
        "Cannot load %s: its vision tower openai/clip-vit-tiny-patch14-56 is a folder of its own; get it and give its path (model.vision-path, or --vision-path)"
            .formatted(checkpoint),
        "--model=" + checkpoint);
    Path tower = GOLDEN.resolve("clip-vit-tiny-patch14-56");
    refuses(
        "Cannot use vision path %s: checkpoint %s needs no vision encoder from elsewhere; leave it out"
            .formatted(tower, GQA),
        "--vision-path=" + tower);
  }

  @Test
  void saysInOneLineWhatCannotBeRead() throws IOException {
    Path absent = folder.resolve("absent.png");
    refuses("Cannot read image %s: no such file".formatted(absent), "--image=" + absent);
    refuses("Cannot read image %s: it is a folder".formatted(folder), "--image=" + folder);

    Path text = Files.writeString(folder.resolve("text.png"), "no image\nat all");
    refusesMatching("Cannot decode the image: .+", "--image=" + text);
    Path cut = folder.resolve("cut.png");
    byte[] whole = Files.readAllBytes(GOLDEN.resolve("images/noise.png"));
    Files.write(cut, Arrays.copyOf(whole, whole.length / 2));
    refusesMatching("Cannot decode the image: .+", "--image=" + cut);

    refuses(
        "Cannot open checkpoint %s: there is no such folder".formatted(absent),
        "--model=" + absent);
    Path empty = Files.createDirectory(folder.resolve("empty"));
    refuses("Cannot open checkpoint %s: the folder is empty".formatted(empty), "--model=" + empty);
    refuses("Cannot ask: the question is blank", "--question= ");
  }

  @Test
  void showsTheStackTraceOnlyWhenAsked() {
    List<String> arguments = arguments(golden, "--model=" + folder.resolve("absent"));
    assertThat(execute(arguments)).isEqualTo(ExitCode.BAD_INPUT);
    String line = err.toString();
    assertThat(line.lines()).hasSize(1);

    err.getBuffer().setLength(0);
    arguments.add("--verbose");
    assertThat(execute(arguments)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .startsWith(line)
        .contains("java.lang.IllegalArgumentException", "\tat io.sinklens.");
    assertThat(out.toString()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"off", "paper", "reference"})
  void writesTheInsideOfThePromptPass(String mode) throws IOException {
    Path file = folder.resolve("trace.safetensors");
    JsonNode json = askVar("--var=" + mode, "--trace=" + file);
    JsonNode untraced = askVar("--var=" + mode);
    assertThat(json.get("answer_token_ids")).isEqualTo(untraced.get("answer_token_ids"));
    assertThat(json.get("head_selection")).isEqualTo(untraced.get("head_selection"));
    assertThat(json.get("answer_logprob").asDouble())
        .isCloseTo(untraced.get("answer_logprob").asDouble(), within(1e-4));

    int tokens = json.get("prompt_token_ids").size();
    int patches = 16;
    Map<String, List<Integer>> expected = new TreeMap<>();
    expected.put("vision.output", List.of(patches, 32));
    expected.put("projector.output", List.of(patches, 64));
    for (int layer = 0; layer < LAYERS; layer++) {
      expected.put("decoder." + layer + ".input", List.of(tokens, 64));
      expected.put("decoder." + layer + ".attention", List.of(HEADS, tokens, tokens));
      expected.put("decoder." + layer + ".attention_used", List.of(HEADS, tokens, tokens));
    }
    expected.put("logits", List.of(tokens, 512));
    Trace trace = Trace.read(file);
    assertThat(trace.shapes()).isEqualTo(expected);

    float[] logits = trace.values("logits");
    float[] last = Arrays.copyOfRange(logits, logits.length - 512, logits.length);
    int first = 0;
    for (int id = 1; id < last.length; id++) {
      first = last[id] > last[first] ? id : first;
    }
    assertThat(first).isEqualTo(json.get("answer_token_ids").get(0).asInt());

    List<Integer> corrected = new ArrayList<>();
    for (int layer = 0; layer < LAYERS; layer++) {
      if (!Arrays.equals(
          trace.values("decoder." + layer + ".attention"),
          trace.values("decoder." + layer + ".attention_used"))) {
        corrected.add(layer);
      }
    }
    assertThat(corrected).isSubsetOf(2, 3, 4);
    assertThat(corrected.isEmpty()).isEqualTo(mode.equals("off"));
  }

  @Test
  void saysWhereATraceCannotBeWritten() {
    Path file = folder.resolve("absent/trace.safetensors");
    refusesMatching("Cannot write .*absent/trace.safetensors.*", "--trace=" + file);
  }

  private void refuses(String message, String... options) {
    refusesMatching("\\Q" + message + "\\E", options);
  }

  /** Exit code 1, one line on standard error, nothing on standard output. */
  private void refusesMatching(String message, String... options) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    assertThat(execute(arguments(golden, options))).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).matches("sinklens: " + message + "\n");
    assertThat(out.toString()).isEmpty();
  }

  /** The golden question with the golden settings of VAR. */
  private JsonNode askVar(String... options) {
    List<String> all = new ArrayList<>(VAR_SETTINGS);
    for (String option : options) {
      all.removeIf(argument -> isSame(argument, option));
      all.add(option);
    }
    return ask(arguments(golden, all.toArray(new String[0])));
  }

  private JsonNode ask(List<String> arguments) {
    out.getBuffer().setLength(0);
    List<String> all = new ArrayList<>(arguments);
    all.add("--json");
    assertThat(execute(all)).as(err.toString()).isEqualTo(ExitCode.DONE);
    assertThat(err.toString()).isEmpty();
    return onlyJson(out.toString());
  }

  private int execute(List<String> arguments) {
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(arguments.toArray(new String[0]));
  }

  /** What asks a golden case of the grouped-query checkpoint, with options replaced or added. */
  private static List<String> arguments(JsonNode written, String... options) {
    List<String> arguments = new ArrayList<>();
    arguments.add("ask");
    arguments.add("--model=" + GQA);
    arguments.add(image(written.get("image").asText()));
    arguments.add("--question=" + written.get("question").asText());
    arguments.add("--template=" + written.get("template").asText());
    arguments.add("--image-rule=" + written.get("image_rule").asText());
    arguments.add("--max-new-tokens=12");
    for (String option : options) {
      arguments.removeIf(argument -> isSame(argument, option));
      arguments.add(option);
    }
    return arguments;
  }

  private static boolean isSame(String argument, String option) {
    return argument.startsWith(option.substring(0, option.indexOf('=') + 1));
  }

  private static String image(String name) {
    return "--image=" + GOLDEN.resolve("images").resolve(name);
  }

  private static JsonNode goldenCase(Path checkpoint, int index) throws IOException {
    return new ObjectMapper()
        .readTree(checkpoint.resolve("cases.json").toFile())
        .get("cases")
        .get(index);
  }

  private static JsonNode goldenVar(String name, int index) throws IOException {
    for (JsonNode run : new ObjectMapper().readTree(GQA.resolve("var.json").toFile()).get("runs")) {
      for (JsonNode goldenCase : run.get("cases")) {
        if (run.get("name").asText().equals(name) && goldenCase.get("case").asInt() == index) {
          return goldenCase;
        }
      }
    }
    throw new IllegalArgumentException("No case %d in run %s".formatted(index, name));
  }

  /** The one JSON object that a text is; anything after it is an error. */
  private static JsonNode onlyJson(String text) {
    try {
      JsonNode json =
          new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).readTree(text);
      assertThat(json.isObject()).isTrue();
      return json;
    } catch (IOException e) {
      throw new AssertionError("Not one JSON object: " + text, e);
    }
  }

  private static List<String> names(JsonNode json) {
    List<String> names = new ArrayList<>();
    json.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static List<Integer> integers(JsonNode array) {
    List<Integer> integers = new ArrayList<>();
    array.forEach(element -> integers.add(element.asInt()));
    return integers;
  }

  /** How many heads of one answer token are selected. */
  private static int ones(JsonNode layers) {
    int ones = 0;
    for (JsonNode layer : layers) {
      ones += (int) integers(layer).stream().filter(bit -> bit == 1).count();
    }
    return ones;
  }

  /** A safetensors file, read without the code under test. */
  private record Trace(JsonNode header, ByteBuffer data) {
    static Trace read(Path file) throws IOException {
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      int length = (int) bytes.getLong();
      JsonNode header = new ObjectMapper().readTree(bytes.array(), 8, length);
      int begin = 8 + length;
      return new Trace(
          header, bytes.slice(begin, bytes.capacity() - begin).order(ByteOrder.LITTLE_ENDIAN));
    }

    Map<String, List<Integer>> shapes() {
      Map<String, List<Integer>> shapes = new TreeMap<>();
      header
          .properties()
          .forEach(
              tensor -> {
                if (!tensor.getKey().equals("__metadata__")) {
                  assertThat(tensor.getValue().get("dtype").asText()).isEqualTo("F32");
                  shapes.put(tensor.getKey(), integers(tensor.getValue().get("shape")));
                }
              });
      return shapes;
    }

    float[] values(String name) {
      List<Integer> offsets = integers(header.get(name).get("data_offsets"));
      int bytes = offsets.get(1) - offsets.get(0);
      float[] values = new float[bytes / 4];
      data.slice(offsets.get(0), bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
      return values;
    }
  }
}
