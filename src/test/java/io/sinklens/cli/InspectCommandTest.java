package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InspectCommandTest {
  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void saysWhatTheBundledCheckpointIs() throws URISyntaxException {
    assertThat(inspect(bundledCheckpoint())).as(err.toString()).isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .contains(
            line("checkpoint", bundledCheckpoint().toString()),
            line("family", "llava"),
            line("layout", "transformers"),
            line(
                "decoder",
                "6 layers, hidden 256, 8 heads, 8 key-value heads, MLP 512, vocabulary 640,"
                    + " context 1024"),
            line("template", "vicuna-v1"),
            line("image rule", "stretch"),
            line("image token", "known to the tokenizer"),
            line("stop tokens", "[2]"),
            line("preset", "demo"),
            line("sink dimensions", "21, 90, threshold 5.0"))
        .anyMatch(line -> line.matches("parameters +[0-9,]+"))
        .anyMatch(line -> line.matches("dtype +bfloat16 stored, (bfloat16|float32) computed"))
        .anyMatch(
            line ->
                line.matches(
                    "memory +weights [0-9.]+ MiB \\(.+\\), keys and values [0-9.]+ MiB per 1000"
                        + " tokens; free [0-9.]+ [MG]iB"))
        .anyMatch(line -> line.matches("files +[0-9]+ tensors, 10.8 MiB"))
        .anyMatch(line -> line.matches("fingerprint +[0-9a-f]{64}"));
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void namesWhatIsOtherwiseInThePublishedModel() throws IOException, URISyntaxException {
    try (Stream<Path> files = Files.list(bundledCheckpoint())) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [2, 7]}");

    assertThat(inspect(folder)).as(err.toString()).isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .contains(
            line("stop tokens", "[2, 7]; the published model has [2]"),
            line("template", "vicuna-v1"));
  }

  @Test
  void saysHowToGoOnWithoutSinkDimensions() {
    assertThat(inspect(Path.of("src/test/resources/golden/llava-gqa"))).isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .contains(
            line("dtype", "float32 stored, float32 computed"),
            line("preset", "none"),
            line(
                "sink dimensions",
                "unknown; give --sink-dimensions, or find them with discover-sinks, which a later"
                    + " version brings"));
  }

  @Test
  void readsWhatTransformersSavedAsPickles() {
    assertThat(inspect(Path.of("src/test/resources/golden/llava-bin"))).isEqualTo(ExitCode.DONE);

    assertThat(out.toString().lines())
        .contains(line("family", "llava"))
        .anyMatch(line -> line.matches("dtype +float16 stored, (bfloat16|float32) computed"));
  }

  @Test
  void looksAtAVisionEncoderInAFolderOfItsOwn() {
    Path golden = Path.of("src/test/resources/golden");
    String tower = golden.resolve("clip-vit-tiny-patch14-56").toString();
    assertThat(
            execute(
                "inspect", golden.resolve("llava-original").toString(), "--vision-path=" + tower))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);
    assertThat(out.toString().lines())
        .contains(
            line("layout", "original"),
            line(
                "vision",
                "CLIP, 3 of 4 layers, hidden 32, 56 px in patches of 14, 16 image tokens, from "
                    + tower),
            line("image rule", "pad"),
            line("image token", "by id only"),
            line("stop tokens", "[2]"));
  }

  @Test
  void looksAtACheckpointOfParts() {
    assertThat(inspect(Path.of("src/test/resources/golden/vila1.5")))
        .as(err.toString())
        .isEqualTo(ExitCode.DONE);
    assertThat(out.toString().lines())
        .contains(
            line("family", "vila"),
            line("layout", "original-in-parts"),
            line("image rule", "stretch"),
            line("stop tokens", "[2]"))
        .anyMatch(line -> line.matches("dtype +bfloat16 stored, (bfloat16|float32) computed"));
  }

  @Test
  void refusesPicklesOfMoreThanTensors() throws IOException {
    Path weights = folder.resolve("pytorch_model.bin");
    Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"llava\"}");
    Files.copy(Path.of("src/test/resources/golden/pickles/hostile.bin"), weights);

    assertThat(inspect(folder)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .isEqualTo(
            "sinklens: Cannot read %s: its pickle calls posix.system, and only tensors are allowed\n"
                .formatted(weights));
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void saysWhatIsUnsupported() throws IOException {
    Path golden = Path.of("src/test/resources/golden/llava-bf16");
    for (String file : new String[] {"model.safetensors", "tokenizer.json"}) {
      Files.copy(golden.resolve(file), folder.resolve(file));
    }
    String config = Files.readString(golden.resolve("config.json"));
    Files.writeString(
        folder.resolve("config.json"), config.replaceFirst("\"llava\"", "\"paligemma\""));

    assertThat(inspect(folder)).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString()).matches("sinklens: [^\n]*paligemma[^\n]*\n");
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void wantsOneFolder() throws URISyntaxException {
    assertThat(execute("inspect")).isEqualTo(ExitCode.USAGE);
    String checkpoint = bundledCheckpoint().toString();
    assertThat(execute("inspect", checkpoint, checkpoint)).isEqualTo(ExitCode.USAGE);

    assertThat(inspect(folder.resolve("absent"))).isEqualTo(ExitCode.BAD_INPUT);
    assertThat(err.toString())
        .endsWith(
            "sinklens: Cannot open checkpoint %s: there is no such folder\n"
                .formatted(folder.resolve("absent")));
  }

  /** The checkpoint in the jar, as a folder. */
  static Path bundledCheckpoint() throws URISyntaxException {
    String name = "/io/sinklens/demo/checkpoint";
    return Path.of(
        Objects.requireNonNull(InspectCommandTest.class.getResource(name), name).toURI());
  }

  private static String line(String key, String value) {
    return "%-18s %s".formatted(key, value);
  }

  private int inspect(Path checkpoint) {
    return execute("inspect", checkpoint.toString());
  }

  private int execute(String... arguments) {
    return SinklensCommand.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(arguments);
  }
}
