package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.generation.Answers;
import io.sinklens.generation.Engine;
import io.sinklens.generation.GenerationRules;
import io.sinklens.generation.OutOfDeviceMemoryException;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.generation.Request;
import io.sinklens.intervention.Masking;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.pipeline.RunSettings.Statistics.Level;
import io.sinklens.preprocessing.Exif;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.result.Answer;
import io.sinklens.result.Outcome;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ImageTaskTest {
  private static final int NEW_TOKENS = 4;
  private static final List<String> QUESTIONS =
      List.of("How many?", "What is on the left? Answer the question using a single word.", "Why?");

  private static LoadedModel model;
  private static PixelValues pixels;
  private static OutcomeBuilder outcomes;
  private final PhaseTimes times = new PhaseTimes();
  private Engine engine;

  @BeforeAll
  static void load() throws IOException, RowFailedException {
    model =
        LoadedModel.load(
            new RunSettings.Model(
                TinyCheckpoint.golden("llava-gqa").toString(),
                "auto",
                "plain",
                "auto",
                "auto",
                null,
                TestDevice.setting(),
                "float32",
                ""));
    byte[] image = Files.readAllBytes(Path.of("src/test/resources/golden/images/wide.png"));
    pixels = model.imageRule().apply(new ImageDecoder(Exif.APPLY, 1_000_000).decode(image));
    LlamaConfig decoder = model.blueprint().decoder();
    outcomes =
        new OutcomeBuilder(
            model.tokenizer(), List.of(), decoder.numHiddenLayers(), decoder.numAttentionHeads());
  }

  @AfterAll
  static void unload() {
    model.close();
  }

  @BeforeEach
  void start() {
    GenerationRules rules = new GenerationRules(NEW_TOKENS, 0, Set.of(), 0, List.of());
    engine = new Engine(model.network(), rules, Integer.MAX_VALUE, times);
  }

  @AfterEach
  void stop() {
    engine.close();
  }

  @Test
  void failsOnlyTheRowThatDoesNotFitIntoMemoryAlone() throws RowFailedException {
    List<ImageTask.Row> rows = rows();
    int tooLong = rows.get(1).ownIds().length;
    List<Integer> rowsOfRequests = new ArrayList<>();
    List<Outcome> ended =
        run(
            rows,
            request -> {
              List<int[]> ofRequest = request.groups().stream().flatMap(List::stream).toList();
              rowsOfRequests.add(ofRequest.size());
              return ofRequest.stream().anyMatch(ids -> ids.length >= tooLong)
                  ? CompletableFuture.failedFuture(
                      new OutOfDeviceMemoryException("no room", new IllegalStateException()))
                  : engine.submit(request);
            });

    assertThat(rowsOfRequests).containsExactly(3, 1, 1, 1);
    assertThat(ended.get(1))
        .isInstanceOfSatisfying(
            Outcome.Failed.class,
            failed -> {
              assertThat(failed.failure().kind()).isEqualTo(FailureKind.OUT_OF_MEMORY);
              assertThat(failed.failure().message())
                  .isEqualTo("Cannot run the row even alone: no room");
            });
    List<Outcome> all = run(rows, engine::submit);
    for (int i : new int[] {0, 2}) {
      assertThat(answer(ended.get(i)).tokenIds()).hasSize(NEW_TOKENS);
      assertThat(answer(ended.get(i)).tokenIds()).isEqualTo(answer(all.get(i)).tokenIds());
    }
  }

  @Test
  void passesOtherProblemsOn() throws RowFailedException {
    List<ImageTask.Row> rows = rows();
    assertThatThrownBy(
            () ->
                run(
                    rows,
                    request -> CompletableFuture.failedFuture(new IllegalStateException("broken"))))
        .isInstanceOf(CompletionException.class)
        .hasRootCauseMessage("broken");
  }

  private List<Outcome> run(
      List<ImageTask.Row> rows, Function<Request, CompletableFuture<Answers>> answering) {
    return new ImageTask(model, times, pixels, outcomes, null)
        .run(rows, answering, Runnable::run)
        .join();
  }

  private static List<ImageTask.Row> rows() throws RowFailedException {
    ResolvedVariant plain =
        new ResolvedVariant("plain", null, Masking.NONE, false, List.of(), Level.SUMMARY);
    List<ImageTask.Row> rows = new ArrayList<>();
    for (String question : QUESTIONS) {
      rows.add(
          new ImageTask.Row(
              model.prompts().encode(question, pixels.grid().tokens(), NEW_TOKENS), plain, false));
    }
    return rows;
  }

  private static Answer answer(Outcome outcome) {
    assertThat(outcome).isInstanceOf(Outcome.Answered.class);
    return ((Outcome.Answered) outcome).answer();
  }
}
