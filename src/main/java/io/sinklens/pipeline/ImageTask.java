package io.sinklens.pipeline;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.types.Shape;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.generation.Generated;
import io.sinklens.generation.GenerationRules;
import io.sinklens.generation.Generator;
import io.sinklens.generation.ImagePrefix;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.Knockout;
import io.sinklens.intervention.Masking;
import io.sinklens.intervention.Var;
import io.sinklens.intervention.VarSettings;
import io.sinklens.model.ImageInput;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.preprocessing.Mosaic;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.result.Outcome;
import io.sinklens.sink.Contributions;
import io.sinklens.tensor.Operators;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * All prompts and variants on one image.
 *
 * <p>The prefix up to the image's end runs once, whatever follows it; then every prompt and variant
 * is a row, and rows that look at attention in the same dimensions run together.
 */
final class ImageTask {
  private final LoadedModel model;
  private final Generator generator;
  private final GenerationRules rules;
  private final int batchTokens;
  private final PhaseTimes times;
  private final PixelValues pixels;
  private final OutcomeBuilder outcomes;

  /** One prompt under one variant, and whether its attention maps are wanted. */
  record Row(Prompt prompt, ResolvedVariant variant, boolean mapped) {
    /** Token ids after the image. */
    int[] ownIds() {
      return Arrays.copyOfRange(prompt.ids(), prompt.image().end(), prompt.ids().length);
    }
  }

  /**
   * What rows must share to run in one batch. For maps attention is written out in every layer,
   * which rows without maps shall not pay for.
   */
  private record BatchKey(boolean looks, List<Integer> sinkDimensions, boolean mapped) {}

  ImageTask(
      LoadedModel model,
      Generator generator,
      GenerationRules rules,
      int batchTokens,
      PhaseTimes times,
      PixelValues pixels,
      OutcomeBuilder outcomes) {
    this.model = model;
    this.generator = generator;
    this.rules = rules;
    this.batchTokens = batchTokens;
    this.times = times;
    this.pixels = pixels;
    this.outcomes = outcomes;
  }

  /** Answers rows whose prompts may differ before the image too; one outcome a row, in order. */
  List<Outcome> run(List<Row> rows) {
    Map<List<Integer>, List<Integer>> byPrefix = new LinkedHashMap<>();
    for (int i = 0; i < rows.size(); i++) {
      Prompt prompt = rows.get(i).prompt();
      List<Integer> prefix = Arrays.stream(prompt.ids(), 0, prompt.image().end()).boxed().toList();
      byPrefix.computeIfAbsent(prefix, key -> new ArrayList<>()).add(i);
    }
    @Nullable Outcome[] results = new Outcome[rows.size()];
    for (List<Integer> indices : byPrefix.values()) {
      List<Outcome> answered = runPrefix(indices.stream().map(rows::get).toList());
      for (int i = 0; i < indices.size(); i++) {
        results[indices.get(i)] = answered.get(i);
      }
    }
    return Arrays.stream(results).map(Objects::requireNonNull).toList();
  }

  private List<Outcome> runPrefix(List<Row> rows) {
    Prompt prompt = rows.get(0).prompt();
    try (PrefixLook known = known(rows);
        ImagePrefix prefix = encode(prompt, new TimedHook(known.hook(), times))) {
      return runBatches(prefix, known, rows);
    } catch (EngineException e) {
      return rows.stream().map(row -> outOfMemory(e)).toList();
    }
  }

  /** Answers one row and writes what happened inside during its prompt to a file. */
  Outcome runTraced(Row row, Path file) {
    Operators operators = model.network().operators();
    LlamaDecoder decoder = model.network().decoder();
    Prompt prompt = row.prompt();
    TraceRecorder trace =
        new TraceRecorder(
            operators, decoder, prompt.image().start(), prompt.image().end(), prompt.ids().length);
    try (PrefixLook known = known(List.of(row));
        ImagePrefix prefix = encode(prompt, traced(trace, known.hook()))) {
      Outcome outcome;
      if (row.variant().look() == null) {
        outcome = generate(prefix, row, traced(trace, AttentionHook.NONE), null);
      } else {
        try (BatchLook look = look(prefix, known, List.of(row))) {
          outcome = generate(prefix, row, traced(trace, look.hook()), look);
        }
      }
      trace.write(file);
      return outcome;
    }
  }

  private static AttentionHook traced(TraceRecorder trace, AttentionHook hook) {
    return trace.before().andThen(hook).andThen(trace.after());
  }

  private Outcome generate(
      ImagePrefix prefix, Row row, AttentionHook hook, @Nullable BatchLook look) {
    Generated answer = generator.generate(prefix, List.of(row.ownIds()), rules, hook).get(0);
    return outcomes.outcome(
        row, pixels.grid(), answer, look == null ? null : outcomes.attention(row, look, 0));
  }

  private PrefixLook known(List<Row> rows) {
    return new PrefixLook(model.network().operators(), model.network().decoder().config(), rows);
  }

  private ImagePrefix encode(Prompt prompt, AttentionHook hook) {
    return generator.encodePrefix(
        new ImageInput(
            pixels.data(),
            new Shape(pixels.views(), 3, pixels.height(), pixels.width()),
            window(pixels.mosaic())),
        Arrays.copyOf(prompt.ids(), prompt.image().end()),
        prompt.image().start(),
        hook);
  }

  private static @Nullable TileWindow window(@Nullable Mosaic mosaic) {
    return mosaic == null
        ? null
        : new TileWindow(
            mosaic.tileRows(),
            mosaic.tileColumns(),
            mosaic.top(),
            mosaic.left(),
            mosaic.rows(),
            mosaic.columns(),
            mosaic.packedRows(),
            mosaic.packedColumns());
  }

  private List<Outcome> runBatches(ImagePrefix prefix, PrefixLook known, List<Row> rows) {
    Map<BatchKey, List<Integer>> byKey = new LinkedHashMap<>();
    for (int i = 0; i < rows.size(); i++) {
      ResolvedVariant variant = rows.get(i).variant();
      BatchKey key =
          new BatchKey(variant.look() != null, variant.sinkDimensions(), rows.get(i).mapped());
      byKey.computeIfAbsent(key, k -> new ArrayList<>()).add(i);
    }
    @Nullable Outcome[] results = new Outcome[rows.size()];
    byKey.forEach(
        (key, indices) -> {
          for (List<Integer> chunk : chunks(prefix, rows, indices)) {
            List<Outcome> answered =
                runBatch(prefix, known, chunk.stream().map(rows::get).toList());
            for (int i = 0; i < chunk.size(); i++) {
              results[chunk.get(i)] = answered.get(i);
            }
          }
        });
    return Arrays.stream(results).map(Objects::requireNonNull).toList();
  }

  /** Rows that fit the token budget together, the shared prefix counted once; at least one. */
  private List<List<Integer>> chunks(ImagePrefix prefix, List<Row> rows, List<Integer> indices) {
    List<List<Integer>> chunks = new ArrayList<>();
    List<Integer> chunk = new ArrayList<>();
    int longest = 0;
    for (int index : indices) {
      int tokens = rows.get(index).ownIds().length + rules.maxNewTokens();
      int padded = Math.max(longest, tokens);
      long together = prefix.length() + (long) padded * (chunk.size() + 1);
      if (!chunk.isEmpty() && together > batchTokens) {
        chunks.add(chunk);
        chunk = new ArrayList<>();
        padded = tokens;
      }
      chunk.add(index);
      longest = padded;
    }
    chunks.add(chunk);
    return chunks;
  }

  /** Runs rows together; where memory does not suffice, each half on its own. */
  private List<Outcome> runBatch(ImagePrefix prefix, PrefixLook known, List<Row> rows) {
    try {
      return rows.get(0).variant().look() == null // As in all rows of a batch.
          ? generate(prefix, rows)
          : generateLooking(prefix, known, rows);
    } catch (EngineException e) {
      if (!isOutOfMemory(e)) {
        throw e;
      }
      if (rows.size() == 1) {
        return List.of(outOfMemory(e));
      }
      int half = rows.size() / 2;
      List<Outcome> both = new ArrayList<>(runBatch(prefix, known, rows.subList(0, half)));
      both.addAll(runBatch(prefix, known, rows.subList(half, rows.size())));
      return both;
    }
  }

  private List<Outcome> generate(ImagePrefix prefix, List<Row> rows) {
    List<Generated> answers =
        generator.generate(
            prefix, rows.stream().map(Row::ownIds).toList(), rules, AttentionHook.NONE);
    List<Outcome> results = new ArrayList<>();
    for (int r = 0; r < rows.size(); r++) {
      results.add(outcomes.outcome(rows.get(r), pixels.grid(), answers.get(r), null));
    }
    return results;
  }

  private List<Outcome> generateLooking(ImagePrefix prefix, PrefixLook known, List<Row> rows) {
    try (BatchLook look = look(prefix, known, rows)) {
      List<Generated> answers =
          generator.generate(
              prefix,
              rows.stream().map(Row::ownIds).toList(),
              rules,
              new TimedHook(look.hook(), times));
      List<Outcome> results = new ArrayList<>();
      for (int r = 0; r < rows.size(); r++) {
        results.add(
            outcomes.outcome(
                rows.get(r),
                pixels.grid(),
                answers.get(r),
                outcomes.attention(rows.get(r), look, r)));
      }
      return results;
    }
  }

  private BatchLook look(ImagePrefix prefix, PrefixLook known, List<Row> rows) {
    LlamaConfig decoder = model.network().decoder().config();
    List<VarSettings> settings =
        rows.stream().map(row -> Objects.requireNonNull(row.variant().look())).toList();
    Var var =
        new Var(
            model.network().operators(),
            known.sinkValues(rows.get(0).variant().sinkDimensions()), // As in all rows of a batch.
            prefix.imageStart(),
            settings,
            rows.stream().mapToInt(row -> row.ownIds().length).toArray(),
            decoder.numHiddenLayers(),
            decoder.numAttentionHeads());
    AttentionMapRecorder maps =
        rows.get(0).mapped()
            ? new AttentionMapRecorder(
                model.network().operators(),
                prefix.imageStart(),
                prefix.length(),
                rows.size(),
                decoder.numHiddenLayers())
            : null;
    Contributions contributions =
        rows.stream().anyMatch(row -> row.variant().contributes())
            ? new Contributions(
                model.network().operators(),
                var.sinks(),
                known.valueNorms(),
                rows.size(),
                decoder.numHiddenLayers(),
                decoder.numAttentionHeads())
            : null;
    return new BatchLook(rows, var, contributions, knockout(var, rows), maps);
  }

  private @Nullable Knockout knockout(Var var, List<Row> rows) {
    List<Masking> maskings = rows.stream().map(this::masking).toList();
    return maskings.stream().allMatch(masking -> masking.tokens() == Masking.Tokens.NONE)
        ? null
        : new Knockout(
            model.network().operators(),
            var.sinks(),
            maskings,
            model.network().decoder().config().numHiddenLayers());
  }

  /** A row's choice of tokens, the same wherever and with whomever the row runs. */
  private Masking masking(Row row) {
    Masking masking = row.variant().masking();
    return masking.tokens() == Masking.Tokens.RANDOM
        ? masking.of(31L * Arrays.hashCode(row.prompt().ids()) + Arrays.hashCode(pixels.data()))
        : masking;
  }

  private static Outcome outOfMemory(EngineException e) {
    if (!isOutOfMemory(e)) {
      throw e;
    }
    return new Outcome.Failed(
        new Failure(FailureKind.OUT_OF_MEMORY, "Cannot run the row even alone: " + firstLine(e)));
  }

  private static boolean isOutOfMemory(EngineException e) {
    String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
    return message.contains("not enough memory") || message.contains("out of memory");
  }

  private static String firstLine(EngineException e) {
    return String.valueOf(e.getMessage()).strip().lines().findFirst().orElse("");
  }

  /** A prompt must go on after its image: only later queries are corrected, and one must answer. */
  static Prompt requireTextAfterImage(Prompt prompt) throws RowFailedException {
    if (prompt.image().end() == prompt.ids().length) {
      throw new RowFailedException(
          FailureKind.UNSUPPORTED_INPUT, "Prompt must have text after its image");
    }
    return prompt;
  }
}
