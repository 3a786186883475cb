package io.sinklens.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.pipeline.AnnotatorSettings;
import io.sinklens.pipeline.Asked;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.result.Answer;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.HeadSelection;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** One question on one image. */
@Command(
    name = "ask",
    description = "Answers one question about one image.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class AskCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Option(names = "--model", required = true, paramLabel = "DIR", description = "Checkpoint folder")
  private Path model;

  @Option(
      names = "--vision-path",
      paramLabel = "DIR",
      description = "Folder of the vision encoder, for a checkpoint that holds none")
  private @Nullable Path visionPath;

  @Option(names = "--image", required = true, paramLabel = "FILE", description = "Image file")
  private Path image;

  @ArgGroup(multiplicity = "1")
  private Wording wording;

  @Option(
      names = "--var",
      paramLabel = "MODE",
      defaultValue = "off",
      description = "off, paper (or on), or reference (default: off)")
  private String var;

  @Option(
      names = "--sink-dimensions",
      split = ",",
      paramLabel = "D",
      description = "Hidden dimensions that mark sinks, such as 1415,2533 (default: the preset's)")
  private List<Integer> sinkDimensions = List.of();

  @Option(
      names = "--sink-threshold",
      paramLabel = "X",
      description = "Sink value from which a token is a sink (default: the preset's, else 20)")
  private @Nullable Double sinkThreshold;

  @Option(
      names = "--min-nonsink-ratio",
      paramLabel = "X",
      defaultValue = "" + RunSettings.Variant.DEFAULT_MIN_NONSINK_RATIO,
      description = "Least share of image attention on non-sinks (default: ${DEFAULT-VALUE})")
  private double minNonsinkRatio;

  @Option(
      names = "--min-image-attention",
      paramLabel = "X",
      defaultValue = "" + RunSettings.Variant.DEFAULT_MIN_IMAGE_ATTENTION,
      description = "Least attention on the image (default: ${DEFAULT-VALUE})")
  private double minImageAttention;

  @Option(
      names = "--moved-share",
      paramLabel = "X",
      defaultValue = "" + RunSettings.Variant.DEFAULT_MOVED_SHARE,
      description = "Share of sink attention moved away (default: ${DEFAULT-VALUE})")
  private double movedShare;

  @Option(
      names = "--max-new-tokens",
      paramLabel = "N",
      defaultValue = "" + RunSettings.Generation.DEFAULT_MAX_NEW_TOKENS,
      description = "Longest answer (default: ${DEFAULT-VALUE})")
  private int maxNewTokens;

  @Option(
      names = "--dtype",
      paramLabel = "D",
      defaultValue = "auto",
      description = "auto, float32, bfloat16, or on a GPU float16 (default: auto)")
  private String dtype;

  @Option(
      names = "--device",
      paramLabel = "D",
      defaultValue = "auto",
      description = "auto, cpu, gpu or gpu:N (default: auto)")
  private String device;

  @Option(
      names = "--template",
      paramLabel = "NAME",
      defaultValue = "auto",
      description = "auto, or a prompt template of the model's family (default: auto)")
  private String template;

  @Option(
      names = "--image-rule",
      paramLabel = "NAME",
      defaultValue = "auto",
      description = "auto, or an image rule of the model's family (default: auto)")
  private String imageRule;

  @Option(names = "--json", description = "Print one JSON object and nothing else")
  private boolean json;

  @Option(
      names = "--trace",
      paramLabel = "FILE",
      description = "Write what happens inside during the prompt as safetensors")
  private @Nullable Path trace;

  /** Either a question for the template, or the whole prompt. */
  private static final class Wording {
    @Option(names = "--question", required = true, paramLabel = "TEXT", description = "Question")
    private @Nullable String question;

    @Option(
        names = "--prompt",
        required = true,
        paramLabel = "RAW",
        description = "The whole prompt, with <image> where the image goes")
    private @Nullable String prompt;
  }

  @Override
  public Integer call() throws RowFailedException {
    byte[] file = read(image);
    requireFolder(trace);
    try (ModelAnnotator annotator = ModelAnnotator.load(settings())) {
      Asked asked =
          wording.question != null
              ? annotator.ask(file, wording.question, trace)
              : annotator.askRaw(file, String.valueOf(wording.prompt), trace);
      PrintWriter out = spec.commandLine().getOut();
      if (json) {
        out.println(new ObjectMapper().valueToTree(json(asked)).toPrettyString());
      } else {
        print(asked, out);
      }
    }
    return ExitCode.DONE;
  }

  private AnnotatorSettings settings() {
    String mode =
        switch (var) {
          case "off", "on" -> "paper";
          case "paper", "reference" -> var;
          default ->
              throw new IllegalArgumentException(
                  "--var must be one of off, on, paper, reference, not " + var);
        };
    RunSettings.Variant variant =
        new RunSettings.Variant(
            var,
            var.equals("off") ? Hook.NONE : Hook.VAR,
            mode,
            sinkDimensions,
            sinkThreshold,
            "prompt",
            minNonsinkRatio,
            minImageAttention,
            movedShare,
            true,
            RunSettings.Knockout.SINKS);
    return new AnnotatorSettings(
        new RunSettings.Model(
            model.toString(),
            "auto",
            template,
            imageRule,
            "auto",
            visionPath == null ? null : visionPath.toString(),
            device,
            dtype,
            ""),
        new RunSettings.Generation(maxNewTokens, 0, Integer.MAX_VALUE, List.of(), 0),
        List.of(variant),
        RunSettings.Statistics.SUMMARY,
        RunSettings.Run.DEFAULT_MAX_IMAGE_PIXELS);
  }

  private static Map<String, @Nullable Object> json(Asked asked) {
    Answer answer = asked.outcome().answer();
    AttentionRecord attention = asked.outcome().attention();
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("answer", answer.text());
    json.put("answer_token_ids", answer.tokenIds());
    json.put("answer_logprob", answer.logprob());
    json.put("finish_reason", answer.finishReason().name().toLowerCase(Locale.ROOT));
    json.put("prompt_token_ids", asked.promptTokenIds());
    json.put("image_span", List.of(asked.imageStart(), asked.imageEnd()));
    json.put(
        "sinks",
        attention == null ? null : attention.sinks().stream().map(AskCommand::json).toList());
    json.put("head_selection", attention == null ? null : nested(attention.headSelection()));
    return json;
  }

  private static Map<String, Object> json(LayerSinks sinks) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("layer", sinks.layer());
    json.put("image_positions", sinks.imagePositions());
    json.put("text_positions", sinks.textPositions());
    json.put("max_value", sinks.maxValue());
    return json;
  }

  /** 0 and 1 as {@code [answer token][layer][head]}. */
  private static List<List<List<Integer>>> nested(HeadSelection selection) {
    List<List<List<Integer>>> tokens = new ArrayList<>();
    for (int t = 0; t < selection.answerTokens(); t++) {
      List<List<Integer>> layers = new ArrayList<>();
      for (int l = 0; l < selection.layers(); l++) {
        List<Integer> heads = new ArrayList<>();
        for (int h = 0; h < selection.heads(); h++) {
          heads.add(selection.selected(t, l, h) ? 1 : 0);
        }
        layers.add(heads);
      }
      tokens.add(layers);
    }
    return tokens;
  }

  private void print(Asked asked, PrintWriter out) {
    out.println(asked.outcome().answer().text());
    AttentionRecord attention = asked.outcome().attention();
    if (attention == null) {
      return;
    }
    HeadSelection heads = attention.headSelection();
    out.println();
    out.println("layer  image sinks  text sinks  heads corrected");
    for (LayerSinks layer : attention.sinks()) {
      long corrected = 0;
      for (int t = 0; t < heads.answerTokens(); t++) {
        for (int h = 0; h < heads.heads(); h++) {
          corrected += heads.selected(t, layer.layer(), h) ? 1 : 0;
        }
      }
      out.printf(
          Locale.ROOT,
          "%5d  %11d  %10d  %13.0f %%%n",
          layer.layer(),
          layer.imagePositions().size(),
          layer.textPositions().size(),
          100.0 * corrected / ((long) heads.answerTokens() * heads.heads()));
    }
  }

  /** Refused before the model is loaded: a trace that cannot be written would cost the answer. */
  private static void requireFolder(@Nullable Path trace) {
    if (trace != null && !Files.isDirectory(trace.toAbsolutePath().resolveSibling("."))) {
      throw new IllegalArgumentException(
          "Cannot write trace %s: its folder does not exist".formatted(trace));
    }
  }

  private static byte[] read(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new IllegalArgumentException(
          "Cannot read image %s: %s"
              .formatted(file, Files.isDirectory(file) ? "it is a folder" : "no such file"));
    }
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read image " + file, e);
    }
  }
}
