package io.sinklens.generation;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.generation.Generated.TokenLogprob;
import io.sinklens.generation.ImageRun.Part;
import io.sinklens.model.ImageInput;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.CacheBlocks;
import io.sinklens.model.decoder.Pass;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * The requests under way, whose tokens go through the decoder together: those of images that have
 * just come with the next tokens of rows that are being answered.
 *
 * <p>Used by one thread.
 */
final class Batch implements AutoCloseable {
  /** Views of images that a GPU encodes at once; more need memory and make it no faster. */
  private static final int MOST_VIEWS = 32;

  private final VisionLanguageModel model;
  private final Operators operators;
  private final GenerationRules rules;
  private final PhaseTimes times;
  private final List<ImageRun> runs = new ArrayList<>();
  private final CacheBlocks caches;
  private final Openings openings = new Openings();

  Batch(VisionLanguageModel model, GenerationRules rules, PhaseTimes times) {
    this.model = model;
    this.operators = model.operators();
    this.rules = rules;
    this.times = times;
    caches = model.decoder().newCaches();
  }

  /**
   * Takes a request in.
   *
   * @param ownCapacity tokens after the prefix that it may hold at once
   * @param places how many such requests memory that comes for it would best have room for
   */
  ImageRun begin(Request request, int ownCapacity, int places) {
    ImageRun run = new ImageRun(request, model, rules, caches, ownCapacity, places);
    runs.add(run);
    return run;
  }

  /** Tokens that there is memory for. */
  long tokens() {
    return caches.tokens();
  }

  /** Tokens that memory must come for before a request can begin that holds so many. */
  long newTokens(int tokens) {
    return caches.isFull(tokens) ? CacheBlocks.capacity(tokens) : 0;
  }

  /** Requests under way that can hold so many tokens. */
  long requests(int capacity) {
    return runs.stream().filter(run -> run.capacity() == capacity).count();
  }

  /** Tokens that the requests under way can come to hold. */
  long usedTokens() {
    return runs.stream().mapToLong(ImageRun::capacity).sum();
  }

  boolean isEmpty() {
    return runs.isEmpty();
  }

  /** One pass; returns the requests it finished, which are under way no more. */
  List<ImageRun> step() {
    try (NDManager scope = operators.manager().newSubManager()) {
      List<Part> parts = new ArrayList<>();
      Map<ImageRun, NDArray> images = images(scope);
      for (ImageRun run : runs.stream().sorted(ImageRun.inMemoryOrder()).toList()) {
        NDArray image = images.get(run);
        if (image != null) {
          parts.add(run.prefixPart(image, openings));
        }
        parts.addAll(run.rowParts());
      }
      boolean prompts = parts.stream().anyMatch(Part::holdsPrompts);
      Phase phase = prompts ? Phase.PROMPT_PASS : Phase.GENERATION;
      long start = System.nanoTime();
      times.time(phase, () -> run(parts, scope));
      times.addPass(
          phase,
          parts.stream().mapToInt(part -> part.ids().length).sum(),
          parts.stream().mapToInt(part -> part.rows().size()).sum(),
          System.nanoTime() - start);
    }
    runs.forEach(run -> run.keepOpening(openings));
    runs.forEach(ImageRun::release);
    List<ImageRun> finished = runs.stream().filter(ImageRun::finished).toList();
    runs.removeAll(finished);
    finished.forEach(run -> run.count(times));
    return finished;
  }

  /** Gives up all requests under way, and what is kept for others. */
  @Override
  public void close() {
    runs.forEach(ImageRun::abandon);
    runs.clear();
    openings.close();
  }

  /** Of the requests that have just come, their images in front of the decoder. */
  private Map<ImageRun, NDArray> images(NDManager scope) {
    List<ImageRun> begun = runs.stream().filter(ImageRun::needsImage).toList();
    return begun.isEmpty() ? Map.of() : times.time(Phase.VISION, () -> encode(begun, scope));
  }

  private Map<ImageRun, NDArray> encode(List<ImageRun> begun, NDManager scope) {
    Map<ImageRun, NDArray> images = new HashMap<>();
    Map<Shape, List<ImageRun>> joined = new LinkedHashMap<>();
    for (ImageRun run : begun) {
      ImageInput image = run.unwatchedImage();
      if (image == null || !operators.areOnGpu() || !model.joinsImages()) {
        images.put(run, run.encodeImage(scope));
      } else {
        joined.computeIfAbsent(image.shape(), shape -> new ArrayList<>()).add(run);
      }
    }
    joined.forEach((shape, ofShape) -> encode(ofShape, shape, scope, images));
    return images;
  }

  /** Encodes images of one shape, so many at a time that their views are no more than a bound. */
  private void encode(
      List<ImageRun> ofShape, Shape shape, NDManager scope, Map<ImageRun, NDArray> images) {
    int most = (int) Math.max(1, MOST_VIEWS / shape.get(0));
    for (int begin = 0; begin < ofShape.size(); begin += most) {
      List<ImageRun> some = ofShape.subList(begin, Math.min(begin + most, ofShape.size()));
      List<NDArray> encoded =
          model.encodeImages(
              scope,
              some.stream().map(run -> Objects.requireNonNull(run.unwatchedImage())).toList());
      for (int i = 0; i < some.size(); i++) {
        images.put(some.get(i), some.get(i).requireAsManyAsPlaces(encoded.get(i)));
      }
    }
  }

  private Batch run(List<Part> parts, NDManager scope) {
    Pass pass = new Pass(parts.stream().map(Part::segment).toList());
    NDArray hidden = model.decoder().forward(embed(parts, scope), pass);
    List<Row> rows = parts.stream().flatMap(part -> part.rows().stream()).toList();
    if (!rows.isEmpty()) {
      take(rows, model.decoder().logits(hidden));
    }
    return this;
  }

  private NDArray embed(List<Part> parts, NDManager scope) {
    long[] ids =
        parts.stream().flatMapToInt(part -> Arrays.stream(part.ids())).asLongStream().toArray();
    NDArray embeddings = model.decoder().embed(scope.create(ids));
    int begin = 0;
    for (Part part : parts) {
      if (part.image() != null) {
        operators.putRows(embeddings, begin + part.imageStart(), part.image());
      }
      begin += part.ids().length;
    }
    return embeddings;
  }

  private void take(List<Row> rows, NDArray logits) {
    NDArray permitted = permitted(rows, logits);
    double[] best = operators.greedy(permitted).toDoubleArray(); // [row, 3]
    List<List<TokenLogprob>> top = top(permitted, rows.size());
    List<List<Double>> choices = choices(rows, permitted);
    for (int r = 0; r < rows.size(); r++) {
      rows.get(r)
          .take(
              Arrays.copyOfRange(best, 3 * r, 3 * r + 3),
              top.isEmpty() ? List.of() : top.get(r),
              choices.isEmpty() ? List.of() : choices.get(r));
    }
  }

  /** Logits with those of stop tokens out of reach where a row may not stop yet. */
  private NDArray permitted(List<Row> rows, NDArray logits) {
    long[] bound =
        IntStream.range(0, rows.size())
            .filter(r -> !rows.get(r).mayStop())
            .asLongStream()
            .toArray();
    if (bound.length == 0 || rules.stopTokens().isEmpty()) {
      return logits;
    }
    long[] stops = rules.stopTokens().stream().mapToLong(Integer::longValue).sorted().toArray();
    NDManager owner = logits.getManager();
    return operators.forbid(logits, owner.create(bound), owner.create(stops));
  }

  private List<List<TokenLogprob>> top(NDArray logits, int rows) {
    if (rules.topLogprobs() == 0) {
      return List.of();
    }
    NDList top = logits.logSoftmax(-1).topK(rules.topLogprobs(), -1);
    float[] logprobs = top.get(0).toFloatArray();
    long[] tokens = top.get(1).toLongArray();
    List<List<TokenLogprob>> ofRows = new ArrayList<>();
    for (int r = 0; r < rows; r++) {
      List<TokenLogprob> ofRow = new ArrayList<>();
      for (int i = r * rules.topLogprobs(); i < (r + 1) * rules.topLogprobs(); i++) {
        ofRow.add(new TokenLogprob((int) tokens[i], logprobs[i]));
      }
      ofRows.add(ofRow);
    }
    return ofRows;
  }

  /** Probabilities of the choice tokens, wanted for first answer tokens only. */
  private List<List<Double>> choices(List<Row> rows, NDArray logits) {
    if (rules.choiceTokens().isEmpty() || rows.stream().allMatch(Row::hasStarted)) {
      return List.of();
    }
    NDArray probabilities = logits.softmax(-1);
    List<List<Double>> ofRows = new ArrayList<>();
    for (int r = 0; r < rows.size(); r++) {
      List<Double> ofRow = new ArrayList<>();
      for (int token : rules.choiceTokens()) {
        ofRow.add((double) probabilities.getFloat(r, token));
      }
      ofRows.add(ofRow);
    }
    return ofRows;
  }
}
