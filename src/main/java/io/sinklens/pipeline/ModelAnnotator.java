package io.sinklens.pipeline;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.generation.GenerationRules;
import io.sinklens.generation.Generator;
import io.sinklens.generation.Phase;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.ImageGrid;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.sink.PrefixSinkValues;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The annotator with a real model inside.
 *
 * <p>Images are decoded on the callers' threads; the device serves one image at a time.
 */
public final class ModelAnnotator implements Annotator {
  private final LoadedModel model;
  private final List<ResolvedVariant> variants;
  private final GenerationRules rules;
  private final int batchTokens;
  private final ImageDecoder decoder;
  private final OutcomeBuilder outcomes;
  private final PhaseTimes times = new PhaseTimes();
  private final Generator generator;
  private final ReentrantLock device = new ReentrantLock(true);

  private ModelAnnotator(LoadedModel model, AnnotatorSettings settings) {
    this.model = model;
    RunSettings.Generation generation = settings.generation();
    variants =
        settings.variants().stream()
            .map(
                variant ->
                    ResolvedVariant.of(variant, model.preset(), settings.statistics().level()))
            .toList();
    for (ResolvedVariant variant : variants) {
      if (variant.look() != null) {
        PrefixSinkValues.requireDimensions(
            variant.sinkDimensions(), model.blueprint().decoder().hiddenSize());
      }
    }
    rules =
        new GenerationRules(
            generation.maxNewTokens(),
            model.blueprint().stopTokens(),
            generation.topLogprobs(),
            generation.answerChoices().stream().map(model::firstToken).toList());
    batchTokens = generation.batchTokens();
    decoder = new ImageDecoder(model.exif(), settings.maxImagePixels());
    LlamaConfig config = model.blueprint().decoder();
    outcomes =
        new OutcomeBuilder(
            model.tokenizer(),
            generation.answerChoices(),
            config.numHiddenLayers(),
            config.numAttentionHeads());
    generator = new Generator(model.network(), times);
  }

  /**
   * Loads a model.
   *
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  public static ModelAnnotator load(AnnotatorSettings settings) {
    LoadedModel model = LoadedModel.load(settings.model());
    try {
      return new ModelAnnotator(model, settings);
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  @Override
  public ModelFacts facts() {
    return model.facts().withVariants(variants.stream().map(ResolvedVariant::facts).toList());
  }

  /** What was spent since this was loaded. */
  public RunTimes times() {
    Map<String, Double> seconds = new LinkedHashMap<>();
    for (Phase phase : Phase.values()) {
      seconds.put(phase.name().toLowerCase(Locale.ROOT), times.seconds(phase));
    }
    return new RunTimes(seconds, times.promptTokens(), times.generatedTokens());
  }

  @Override
  public Iterator<Annotation> annotate(Iterator<Question> questions) {
    ImageGroups groups = new ImageGroups(questions);
    return new Iterator<>() {
      private Iterator<Annotation> ready = List.<Annotation>of().iterator();

      @Override
      public boolean hasNext() {
        return ready.hasNext() || groups.hasNext();
      }

      @Override
      public Annotation next() {
        if (!ready.hasNext()) {
          ready = new GroupRun(groups.next()).annotations().iterator();
        }
        return ready.next();
      }
    };
  }

  /**
   * Answers one question under the first variant.
   *
   * @param image the bytes of an image file
   * @param question what to put into the template
   * @param trace file to write the prompt pass to, or null
   * @throws RowFailedException where a row of a dataset would have failed
   */
  public Asked ask(byte[] image, String question, @Nullable Path trace) throws RowFailedException {
    PixelValues pixels = pixels(new ImageSource.Bytes(image));
    return ask(
        pixels,
        model.prompts().encode(question, pixels.grid().tokens(), rules.maxNewTokens()),
        trace);
  }

  /** As {@link #ask}, with a prompt the caller wrote out in full. */
  public Asked askRaw(byte[] image, String prompt, @Nullable Path trace) throws RowFailedException {
    PixelValues pixels = pixels(new ImageSource.Bytes(image));
    return ask(
        pixels,
        model.prompts().encodeRaw(prompt, pixels.grid().tokens(), rules.maxNewTokens()),
        trace);
  }

  @Override
  public void close() {
    device.lock();
    try {
      model.close();
    } finally {
      device.unlock();
    }
  }

  private Asked ask(PixelValues pixels, Prompt prompt, @Nullable Path trace)
      throws RowFailedException {
    ImageTask.Row row =
        new ImageTask.Row(ImageTask.requireTextAfterImage(prompt), variants.get(0), false);
    Outcome outcome;
    device.lock();
    try {
      outcome =
          trace == null
              ? task(pixels).run(List.of(row)).get(0)
              : task(pixels).runTraced(row, trace);
    } finally {
      device.unlock();
    }
    if (outcome instanceof Outcome.Failed failed) {
      throw new RowFailedException(failed.failure().kind(), failed.failure().message());
    }
    return new Asked(
        (Outcome.Answered) outcome,
        Arrays.stream(prompt.ids()).boxed().toList(),
        prompt.image().start(),
        prompt.image().end());
  }

  private ImageTask task(PixelValues pixels) {
    return new ImageTask(model, generator, rules, batchTokens, times, pixels, outcomes);
  }

  private PixelValues pixels(ImageSource source) throws RowFailedException {
    if (source instanceof ImageSource.Unavailable unavailable) {
      Failure failure = unavailable.failure();
      throw new RowFailedException(failure.kind(), failure.message());
    }
    long start = System.nanoTime();
    PixelValues pixels =
        model.imageRule().apply(decoder.decode(((ImageSource.Bytes) source).content()));
    times.add(Phase.DECODE_IMAGE, System.nanoTime() - start);
    return pixels;
  }

  /** The questions on one image, on their way. */
  private final class GroupRun {
    private final ImageGroups.Group group;

    GroupRun(ImageGroups.Group group) {
      this.group = group;
    }

    List<Annotation> annotations() {
      PixelValues pixels;
      try {
        pixels = pixels(group.questions().get(0).image());
      } catch (RowFailedException e) {
        return group.questions().stream().flatMap(q -> failed(q, e.failure())).toList();
      }
      // Equal prompts are asked once, however many rows hold them.
      Map<List<Integer>, Prompt> prompts = new LinkedHashMap<>();
      Set<List<Integer>> sampled = new HashSet<>();
      List<Asking> askings = new ArrayList<>();
      for (Question question : group.questions()) {
        try {
          Prompt prompt =
              ImageTask.requireTextAfterImage(
                  model
                      .prompts()
                      .encode(question.text(), pixels.grid().tokens(), rules.maxNewTokens()));
          List<Integer> ids = Arrays.stream(prompt.ids()).boxed().toList();
          prompts.putIfAbsent(ids, prompt);
          if (question.sampled()) {
            sampled.add(ids);
          }
          askings.add(new Asking(question, ids, null));
        } catch (RowFailedException e) {
          askings.add(new Asking(question, List.of(), e.failure()));
        }
      }
      Map<List<Integer>, List<Outcome>> outcomes = answer(prompts, sampled, pixels);
      return askings.stream()
          .flatMap(
              asking ->
                  asking.failure() == null
                      ? answered(
                          asking.question(),
                          outcomes.getOrDefault(asking.promptIds(), List.of()),
                          pixels.grid())
                      : failed(asking.question(), asking.failure()))
          .toList();
    }

    /** For every prompt one outcome a variant; with maps where a row of that prompt is sampled. */
    private Map<List<Integer>, List<Outcome>> answer(
        Map<List<Integer>, Prompt> prompts, Set<List<Integer>> sampled, PixelValues pixels) {
      List<ImageTask.Row> rows = new ArrayList<>();
      prompts.forEach(
          (ids, prompt) -> {
            for (ResolvedVariant variant : variants) {
              rows.add(new ImageTask.Row(prompt, variant, variant.maps() && sampled.contains(ids)));
            }
          });
      List<Outcome> outcomes;
      device.lock();
      try {
        outcomes = task(pixels).run(rows);
      } finally {
        device.unlock();
      }
      Map<List<Integer>, List<Outcome>> byPrompt = new LinkedHashMap<>();
      int next = 0;
      for (List<Integer> ids : prompts.keySet()) {
        byPrompt.put(ids, outcomes.subList(next, next + variants.size()));
        next += variants.size();
      }
      return byPrompt;
    }

    private Stream<Annotation> answered(
        Question question, List<Outcome> ofVariants, ImageGrid grid) {
      List<Float> maskBackground = maskBackground(question, grid);
      List<Annotation> annotations = new ArrayList<>();
      for (int v = 0; v < variants.size(); v++) {
        Outcome outcome = ofVariants.get(v);
        if (outcome instanceof Outcome.Answered answered) {
          PromptFacts prompt = answered.prompt().withMaskBackground(maskBackground);
          AttentionRecord attention = answered.attention();
          if (attention != null && !question.sampled()) { // But a row of the same prompt may be.
            attention = attention.withoutMaps();
          }
          outcome = new Outcome.Answered(answered.answer(), prompt, attention);
        }
        annotations.add(annotation(question, variants.get(v), outcome));
      }
      return annotations.stream();
    }

    private Stream<Annotation> failed(Question question, Failure failure) {
      return variants.stream()
          .map(variant -> annotation(question, variant, new Outcome.Failed(failure)));
    }

    private Annotation annotation(Question question, ResolvedVariant variant, Outcome outcome) {
      String mapped = question.imageId();
      String imageId = mapped != null || group.imageHash().isEmpty() ? mapped : group.imageHash();
      return new Annotation(
          question.sampleId(),
          imageId,
          question.text(),
          variant.name(),
          question.answers(),
          outcome);
    }

    /** Background under each image token; empty without a mask, or with one that is no image. */
    private List<Float> maskBackground(Question question, ImageGrid grid) {
      ImageSource.Bytes mask = question.mask();
      if (mask == null) {
        return List.of();
      }
      try {
        List<Float> shares = new ArrayList<>();
        for (float share : grid.backgroundShare(decoder.decode(mask.content()))) {
          shares.add(share);
        }
        return shares;
      } catch (RowFailedException e) {
        return List.of();
      }
    }
  }

  /** A question with its prompt, or with the reason it has none. */
  private record Asking(Question question, List<Integer> promptIds, @Nullable Failure failure) {}
}
