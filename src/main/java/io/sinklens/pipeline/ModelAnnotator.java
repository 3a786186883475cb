package io.sinklens.pipeline;

import ai.djl.Device;
import io.sinklens.dataset.Failure;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.generation.DeviceLostException;
import io.sinklens.generation.Engine;
import io.sinklens.generation.GenerationRules;
import io.sinklens.generation.Phase;
import io.sinklens.generation.PhaseTimes;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.preprocessing.ImageDecoder;
import io.sinklens.preprocessing.ImageGrid;
import io.sinklens.preprocessing.PixelValues;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.sink.PrefixSinkValues;
import io.sinklens.tensor.Devices;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The annotator with a real model inside.
 *
 * <p>A question goes through three kinds of threads: its caller's reads it and takes its
 * annotations, a few prepare images and prompts ahead of the engine, and the engine's own runs the
 * model over the images of all callers together.
 */
public final class ModelAnnotator implements Annotator {
  private static final int PRODUCT_RUNS = 5;
  private static final double PRODUCT_SECONDS = 6;

  private final LoadedModel model;
  private final List<ResolvedVariant> variants;
  private final GenerationRules rules;
  private final ImageDecoder decoder;
  private final OutcomeBuilder outcomes;
  private final PhaseTimes times;
  private final Device device;
  private final Engine engine;
  private final ExecutorService preparing;
  private final ExecutorService finishing;

  private ModelAnnotator(LoadedModel model, AnnotatorSettings settings, PhaseTimes times) {
    this.model = model;
    this.times = times;
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
            generation.minNewTokens(),
            model.blueprint().stopTokens(),
            generation.topLogprobs(),
            generation.answerChoices().stream().map(model::firstToken).toList());
    decoder = new ImageDecoder(model.exif(), settings.maxImagePixels());
    LlamaConfig config = model.blueprint().decoder();
    outcomes =
        new OutcomeBuilder(
            model.tokenizer(),
            generation.answerChoices(),
            config.numHiddenLayers(),
            config.numAttentionHeads());
    device = model.network().operators().manager().getDevice();
    Integer stated = generation.batchTokens();
    int batchTokens =
        stated != null ? stated : DeviceBudget.tokens(config, model.network().dtype(), device);
    engine = new Engine(model.network(), rules, batchTokens, times);
    preparing =
        Executors.newFixedThreadPool(
            Math.max(1, Runtime.getRuntime().availableProcessors() / 2), daemon("prepare"));
    finishing = Executors.newSingleThreadExecutor(daemon("finish"));
  }

  /**
   * Loads a model.
   *
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  public static ModelAnnotator load(AnnotatorSettings settings) {
    return load(settings, new PhaseTimes());
  }

  /** The same with a given account, which is told of every pass. */
  static ModelAnnotator load(AnnotatorSettings settings, PhaseTimes times) {
    LoadedModel model = LoadedModel.load(settings.model());
    try {
      return new ModelAnnotator(model, settings, times);
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
    return new RunTimes(
        seconds,
        times.promptTokens(),
        times.answeredRows(),
        times.generatedTokens(),
        times.passes().entrySet().stream()
            .map(
                pass ->
                    new RunTimes.Passes(
                        pass.getKey().phase().name().toLowerCase(Locale.ROOT),
                        pass.getKey().tokens(),
                        pass.getKey().answers(),
                        pass.getValue().count(),
                        pass.getValue().nanos() / 1e9))
            .toList());
  }

  @Override
  public EngineFigures figures() {
    long passes = 0;
    long tokens = 0;
    long rows = 0;
    for (Map.Entry<PhaseTimes.PassSize, PhaseTimes.PassSum> pass : times.passes().entrySet()) {
      long count = pass.getValue().count();
      passes += count;
      tokens += count * pass.getKey().tokens();
      rows += count * pass.getKey().answers();
    }
    return new EngineFigures(
        passes,
        tokens,
        rows,
        times.begun(),
        times.waitSeconds(),
        Devices.memory(device).map(memory -> memory.total() - memory.free()).orElse(0L));
  }

  /** Operators that have run: a pass has thousands. */
  @Override
  public long steps() {
    return model.network().operators().calls();
  }

  /**
   * Seconds that nothing but the decoder's products with weights take in a pass of that size, the
   * median of a few runs: what no pass can be faster than. Not while it annotates.
   */
  public double productSeconds(int tokens, int answers) {
    LlamaDecoder decoder = model.network().decoder();
    model.network().operators().enterThread();
    List<Double> seconds = new ArrayList<>();
    double spent = 0;
    while (seconds.size() < PRODUCT_RUNS && spent < PRODUCT_SECONDS) {
      long start = System.nanoTime();
      decoder.multiply(tokens, answers);
      seconds.add((System.nanoTime() - start) / 1e9);
      spent += seconds.get(seconds.size() - 1);
    }
    Collections.sort(seconds);
    return seconds.get((seconds.size() - 1) / 2);
  }

  /** Floating-point operations of these products. */
  public long productOperations(int tokens, int answers) {
    return model.network().decoder().multiplications(tokens, answers);
  }

  @Override
  public Iterator<Annotation> annotate(Iterator<Question> questions) {
    return new LookAhead(new ImageGroups(questions));
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
    preparing.shutdownNow();
    engine.close();
    finishing.shutdown();
    awaitEnd(finishing);
    model.close();
  }

  private Asked ask(PixelValues pixels, Prompt prompt, @Nullable Path file)
      throws RowFailedException {
    ImageTask.Row row =
        new ImageTask.Row(ImageTask.requireTextAfterImage(prompt), variants.get(0), false);
    TraceRecorder trace =
        file == null
            ? null
            : new TraceRecorder(
                model.network().operators(),
                model.network().decoder(),
                prompt.image().start(),
                prompt.image().end(),
                prompt.ids().length);
    ImageTask task = new ImageTask(model, times, pixels, outcomes, trace);
    Outcome outcome = await(task.run(List.of(row), engine::submit, finishing)).get(0);
    if (trace != null && file != null) {
      trace.write(file);
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

  /** What is being finished reads tensors of the model. */
  private static void awaitEnd(ExecutorService executor) {
    try {
      executor.awaitTermination(1, TimeUnit.MINUTES);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static ThreadFactory daemon(String work) {
    AtomicInteger count = new AtomicInteger();
    return runnable -> {
      Thread thread = new Thread(runnable, "sinklens-" + work + "-" + count.incrementAndGet());
      thread.setDaemon(true);
      return thread;
    };
  }

  /** Waits, and throws what went wrong as it was thrown. */
  private static <T> T await(CompletableFuture<T> result) {
    try {
      return result.join();
    } catch (CompletionException e) {
      Throwable cause = e.getCause();
      while (cause instanceof CompletionException nested && nested.getCause() != null) {
        cause = nested.getCause();
      }
      if (cause instanceof DeviceLostException problem) {
        throw new AnnotatorLostException(String.valueOf(problem.getMessage()), problem);
      }
      if (cause instanceof RuntimeException problem) {
        throw problem;
      }
      if (cause instanceof Error problem) {
        throw problem;
      }
      throw e;
    }
  }

  /** Annotations in the order of their questions, with images on their way ahead of the reader. */
  private final class LookAhead implements Iterator<Annotation> {
    /** Images on their way at once: enough to fill a batch of short prompts. */
    private static final int MAX_IMAGES = 64;

    /** Bytes of image files on their way, unless a single image has more. */
    private static final long MAX_BYTES = 64L << 20;

    private final ImageGroups groups;
    private final Deque<UnderWay> underWay = new ArrayDeque<>();
    private long bytes;
    private Iterator<Annotation> ready = List.<Annotation>of().iterator();

    LookAhead(ImageGroups groups) {
      this.groups = groups;
    }

    /** An image's annotations to come. */
    private record UnderWay(CompletableFuture<List<Annotation>> annotations, long bytes) {}

    @Override
    public boolean hasNext() {
      return ready.hasNext() || !underWay.isEmpty() || groups.hasNext();
    }

    @Override
    public Annotation next() {
      if (!ready.hasNext()) {
        readAhead();
        UnderWay first = underWay.remove();
        bytes -= first.bytes();
        ready = await(first.annotations()).iterator();
        readAhead();
      }
      return ready.next();
    }

    private void readAhead() {
      while (groups.hasNext()
          && underWay.size() < MAX_IMAGES
          && (underWay.isEmpty() || bytes < MAX_BYTES)) {
        ImageGroups.Group group = groups.next();
        long size =
            group.questions().get(0).image() instanceof ImageSource.Bytes image
                ? image.content().length
                : 0;
        bytes += size;
        underWay.add(
            new UnderWay(
                CompletableFuture.completedFuture(new GroupRun(group))
                    .thenComposeAsync(GroupRun::begin, preparing),
                size));
      }
    }
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

    /** Prepares the image and its prompts, and hands them to the engine. */
    CompletableFuture<List<Annotation>> begin() {
      PixelValues pixels;
      try {
        pixels = pixels(group.questions().get(0).image());
      } catch (RowFailedException e) {
        return CompletableFuture.completedFuture(
            group.questions().stream().flatMap(q -> failed(q, e.failure())).toList());
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
      return answer(prompts, sampled, pixels)
          .thenApply(
              outcomes ->
                  askings.stream()
                      .flatMap(
                          asking ->
                              asking.failure() == null
                                  ? answered(
                                      asking.question(),
                                      outcomes.getOrDefault(asking.promptIds(), List.of()),
                                      pixels.grid())
                                  : failed(asking.question(), asking.failure()))
                      .toList());
    }

    /** For every prompt one outcome a variant; with maps where a row of that prompt is sampled. */
    private CompletableFuture<Map<List<Integer>, List<Outcome>>> answer(
        Map<List<Integer>, Prompt> prompts, Set<List<Integer>> sampled, PixelValues pixels) {
      List<ImageTask.Row> rows = new ArrayList<>();
      prompts.forEach(
          (ids, prompt) -> {
            for (ResolvedVariant variant : variants) {
              rows.add(new ImageTask.Row(prompt, variant, variant.maps() && sampled.contains(ids)));
            }
          });
      return new ImageTask(model, times, pixels, outcomes, null)
          .run(rows, engine::submit, finishing)
          .thenApply(
              outcomes -> {
                Map<List<Integer>, List<Outcome>> byPrompt = new LinkedHashMap<>();
                int next = 0;
                for (List<Integer> ids : prompts.keySet()) {
                  byPrompt.put(ids, outcomes.subList(next, next + variants.size()));
                  next += variants.size();
                }
                return byPrompt;
              });
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
