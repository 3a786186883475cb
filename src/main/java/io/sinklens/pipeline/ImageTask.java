package io.sinklens.pipeline;

import ai.djl.ndarray.types.Shape;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.generation.Answers;
import io.sinklens.generation.OutOfDeviceMemoryException;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.generation.Request;
import io.sinklens.model.ImageInput;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.preprocessing.Mosaic;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.result.Outcome;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * All prompts and variants on one image.
 *
 * <p>Rows whose prompts are the same up to the image's end become one request to the engine, and
 * rows that look at attention in the same dimensions one group of it.
 */
final class ImageTask {
  private final LoadedModel model;
  private final PhaseTimes times;
  private final PixelValues pixels;
  private final OutcomeBuilder outcomes;
  private final @Nullable TraceRecorder trace;

  /** One prompt under one variant, and whether its attention maps are wanted. */
  record Row(Prompt prompt, ResolvedVariant variant, boolean mapped) {
    /** Token ids after the image. */
    int[] ownIds() {
      return Arrays.copyOfRange(prompt.ids(), prompt.image().end(), prompt.ids().length);
    }
  }

  /** What rows share that are watched together; maps are wanted of few, and cost. */
  private record GroupKey(boolean looks, List<Integer> sinkDimensions, boolean mapped) {}

  /**
   * Prepares for an image.
   *
   * @param trace writes down what happens, where there is one row; or null
   */
  ImageTask(
      LoadedModel model,
      PhaseTimes times,
      PixelValues pixels,
      OutcomeBuilder outcomes,
      @Nullable TraceRecorder trace) {
    this.model = model;
    this.times = times;
    this.pixels = pixels;
    this.outcomes = outcomes;
    this.trace = trace;
  }

  /**
   * Answers rows, whose prompts may differ before the image too.
   *
   * <p>Rows that do not fit into memory together are answered one after the other; what fails then
   * is the row that does not fit alone.
   *
   * @param engine takes requests
   * @param finishing where outcomes are made, away from the engine
   * @return one outcome a row, in order
   */
  CompletableFuture<List<Outcome>> run(
      List<Row> rows, Function<Request, CompletableFuture<Answers>> engine, Executor finishing) {
    Map<List<Integer>, List<Integer>> byPrefix = new LinkedHashMap<>();
    for (int i = 0; i < rows.size(); i++) {
      Prompt prompt = rows.get(i).prompt();
      List<Integer> prefix = Arrays.stream(prompt.ids(), 0, prompt.image().end()).boxed().toList();
      byPrefix.computeIfAbsent(prefix, key -> new ArrayList<>()).add(i);
    }
    @Nullable Outcome[] results = new Outcome[rows.size()];
    CompletableFuture<?>[] parts =
        byPrefix.values().stream()
            .map(indices -> runPrefix(rows, indices, results, engine, finishing))
            .toArray(CompletableFuture[]::new);
    return CompletableFuture.allOf(parts)
        .thenApply(done -> Arrays.stream(results).map(Objects::requireNonNull).toList());
  }

  private CompletableFuture<Void> runPrefix(
      List<Row> rows,
      List<Integer> indices,
      @Nullable Outcome[] results,
      Function<Request, CompletableFuture<Answers>> engine,
      Executor finishing) {
    Map<GroupKey, List<Integer>> groups = new LinkedHashMap<>();
    for (int i : indices) {
      ResolvedVariant variant = rows.get(i).variant();
      GroupKey key =
          new GroupKey(variant.look() != null, variant.sinkDimensions(), rows.get(i).mapped());
      groups.computeIfAbsent(key, k -> new ArrayList<>()).add(i);
    }
    List<List<Integer>> members = List.copyOf(groups.values());
    List<List<Row>> grouped =
        members.stream().map(group -> group.stream().map(rows::get).toList()).toList();
    return engine
        .apply(request(grouped))
        .thenAcceptAsync(
            answers -> {
              List<List<Outcome>> ended = outcomes(grouped, answers);
              for (int g = 0; g < members.size(); g++) {
                for (int r = 0; r < members.get(g).size(); r++) {
                  results[members.get(g).get(r)] = ended.get(g).get(r);
                }
              }
            },
            finishing)
        .exceptionallyComposeAsync(
            problem -> {
              if (!(problem.getCause() instanceof OutOfDeviceMemoryException noRoom)) {
                return CompletableFuture.failedFuture(problem);
              }
              CompletableFuture<Void> done = CompletableFuture.completedFuture(null);
              if (indices.size() == 1) {
                results[indices.get(0)] = outOfMemory(noRoom);
                return done;
              }
              for (int i : indices) {
                List<Integer> alone = List.of(i);
                done = done.thenCompose(ok -> runPrefix(rows, alone, results, engine, finishing));
              }
              return done;
            },
            finishing);
  }

  /** What the engine is asked: groups of rows that begin alike. */
  private Request request(List<List<Row>> groups) {
    Prompt prompt = groups.get(0).get(0).prompt();
    return new Request(
        new ImageInput(
            pixels.data(),
            new Shape(pixels.views(), 3, pixels.height(), pixels.width()),
            window(pixels.mosaic())),
        Arrays.copyOf(prompt.ids(), prompt.image().end()),
        prompt.image().start(),
        groups.stream().map(group -> group.stream().map(Row::ownIds).toList()).toList(),
        () -> new RequestLook(model, times, groups, Arrays.hashCode(pixels.data()), trace));
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

  private List<List<Outcome>> outcomes(List<List<Row>> groups, Answers answers) {
    model.network().operators().enterThread();
    try (RequestLook looks = (RequestLook) answers.watch()) {
      List<List<Outcome>> ended = new ArrayList<>();
      for (int g = 0; g < groups.size(); g++) {
        BatchLook look = looks.ofRows(g);
        List<Outcome> ofGroup = new ArrayList<>();
        for (int r = 0; r < groups.get(g).size(); r++) {
          Row row = groups.get(g).get(r);
          ofGroup.add(
              outcomes.outcome(
                  row,
                  pixels.grid(),
                  answers.byGroup().get(g).get(r),
                  look == null ? null : outcomes.attention(row, look, r)));
        }
        ended.add(ofGroup);
      }
      return ended;
    }
  }

  private static Outcome outOfMemory(OutOfDeviceMemoryException problem) {
    return new Outcome.Failed(
        new Failure(
            FailureKind.OUT_OF_MEMORY, "Cannot run the row even alone: " + problem.getMessage()));
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
