package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Statistics.Level;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.result.Annotation;
import io.sinklens.result.Answer;
import io.sinklens.result.Answer.TokenLogprob;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.Outcome;
import io.sinklens.result.PromptFacts;
import io.sinklens.tensor.Devices;
import io.sinklens.tensor.TestDevice;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ModelAnnotatorTest {
  private static final Path IMAGES = Path.of("src/test/resources/golden/images");
  private static final String QUESTION = "Is the triangle above the circle?";
  private static final Variant NONE = variant("none", Hook.NONE, 0.6);
  private static final Variant OBSERVE = variant("observe", Hook.OBSERVE, 0.6);
  private static final Variant VAR = variant("var", Hook.VAR, 0.6);
  private static final Variant VAR_ALL = variant("var-all", Hook.VAR, 1);
  private static final Variant KNOCKOUT = variant("knockout", Hook.KNOCKOUT, 0.6);
  private static final Variant RANDOM =
      variant("random", Hook.KNOCKOUT, 0.6, new Knockout("random", 1));
  private static final Variant CONTRIBUTION = variant("contribution", Hook.CONTRIBUTION, 0.6);
  private static final Variant OTHER_RANDOM =
      variant("other-random", Hook.KNOCKOUT, 0.6, new Knockout("random", 2));

  @Test
  void asksEqualPromptsOnceAndWritesThemForEveryRow() {
    List<Question> distinct =
        List.of(question("a", "wide.png", QUESTION), question("b", "wide.png", "How many?"));
    List<Question> repeated =
        List.of(
            question("a", "wide.png", QUESTION),
            question("a2", "wide.png", QUESTION),
            question("b", "wide.png", "How many?"),
            question("a3", "wide.png", QUESTION));
    long tokens;
    List<Annotation> once;
    try (ModelAnnotator annotator = load(new Settings())) {
      once = run(annotator, distinct);
      tokens = annotator.times().promptTokens();
    }
    try (ModelAnnotator annotator = load(new Settings())) {
      List<Annotation> all = run(annotator, repeated);
      assertThat(annotator.times().promptTokens()).isEqualTo(tokens);
      assertThat(all).extracting(Annotation::sampleId).containsExactly("a", "a2", "b", "a3");
      assertThat(answer(all.get(1))).isEqualTo(answer(once.get(0)));
      assertThat(answer(all.get(2))).isEqualTo(answer(once.get(1)));
      assertThat(answer(all.get(3))).isEqualTo(answer(once.get(0)));
    }
  }

  @Test
  void runsThePrefixOfAnImageOnceForAllItsQuestionsAndVariants() throws RowFailedException {
    List<String> texts = List.of(QUESTION, "How many?", "What is on the left?");
    try (ModelAnnotator annotator = load(new Settings().variants(NONE, OBSERVE, VAR))) {
      long expected = 0;
      for (String text : texts) {
        Asked asked = annotator.ask(bytes("wide.png"), text, null);
        expected += 3L * (asked.promptTokenIds().size() - asked.imageEnd());
        if (text.equals(QUESTION)) {
          expected += asked.imageEnd() - asked.imageStart(); // The text before it ran already.
        }
      }
      long before = annotator.times().promptTokens();
      run(annotator, texts.stream().map(text -> question(text, "wide.png", text)).toList());
      assertThat(annotator.times().promptTokens() - before).isEqualTo(expected);
    }
  }

  @Test
  void answersEveryQuestionUnderEveryVariantInOrder() {
    try (ModelAnnotator annotator = load(new Settings().variants(VAR, NONE))) {
      List<Annotation> annotations = run(annotator, questions());
      List<String> expected = new ArrayList<>();
      for (Question question : questions()) {
        expected.add(question.sampleId() + " var");
        expected.add(question.sampleId() + " none");
      }
      assertThat(annotations.stream().map(a -> a.sampleId() + " " + a.variant()).toList())
          .isEqualTo(expected);
    }
  }

  @Test
  void givesMixedVariantsTheAnswersTheyHaveAlone() {
    List<Variant> variants =
        List.of(NONE, OBSERVE, CONTRIBUTION, VAR, VAR_ALL, KNOCKOUT, RANDOM, OTHER_RANDOM);
    Map<String, List<Annotation>> alone = new LinkedHashMap<>();
    for (Variant variant : variants) {
      try (ModelAnnotator annotator = load(new Settings().variants(variant))) {
        alone.put(variant.name(), run(annotator, questions()));
      }
    }
    List<Annotation> mixed;
    try (ModelAnnotator annotator =
        load(new Settings().variants(variants.toArray(new Variant[0])))) {
      mixed = run(annotator, questions());
    }
    for (Variant variant : variants) {
      compare(
          mixed.stream().filter(a -> a.variant().equals(variant.name())).toList(),
          Objects.requireNonNull(alone.get(variant.name())));
    }
    List<List<Integer>> plain = tokenIds(Objects.requireNonNull(alone.get("none")));
    assertThat(tokenIds(Objects.requireNonNull(alone.get("observe")))).isEqualTo(plain);
    assertThat(tokenIds(Objects.requireNonNull(alone.get("contribution")))).isEqualTo(plain);
    for (Variant changing : variants.subList(3, variants.size())) {
      assertThat(tokenIds(Objects.requireNonNull(alone.get(changing.name())))).isNotEqualTo(plain);
    }
    assertThat(Objects.requireNonNull(alone.get("none")))
        .allSatisfy(annotation -> assertThat(answered(annotation).attention()).isNull());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 200, 100_000})
  void annotatesTheSameWhateverTheTokenBudget(int batchTokens) {
    List<Annotation> usual;
    try (ModelAnnotator annotator = load(new Settings().variants(NONE, VAR))) {
      usual = run(annotator, questions());
    }
    try (ModelAnnotator annotator =
        load(new Settings().variants(NONE, VAR).batchTokens(batchTokens))) {
      compare(run(annotator, questions()), usual);
    }
  }

  @Test
  void annotatesTheSameWhateverTheOrderOfRows() {
    try (ModelAnnotator annotator = load(new Settings().variants(VAR))) {
      List<Annotation> forwards = run(annotator, questions());
      List<Question> reversed = new ArrayList<>(questions());
      Collections.reverse(reversed);
      List<Annotation> backwards = new ArrayList<>(run(annotator, reversed));
      Collections.reverse(backwards);
      compare(backwards, forwards);
    }
  }

  @Test
  void annotatesTheSameFromTwoThreadsAtOnce() throws InterruptedException, ExecutionException {
    try (ModelAnnotator annotator = load(new Settings().variants(NONE, VAR))) {
      List<Annotation> expected = run(annotator, questions());
      ExecutorService threads = Executors.newFixedThreadPool(2);
      try {
        List<Future<List<Annotation>>> runs = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
          runs.add(threads.submit(() -> run(annotator, questions())));
        }
        for (Future<List<Annotation>> each : runs) {
          compare(each.get(), expected);
        }
      } finally {
        threads.shutdown();
      }
    }
  }

  @Test
  void readsQuestionsOnlyWhenTheirAnnotationsAreWanted() {
    List<String> read = new ArrayList<>();
    List<Question> many = new ArrayList<>();
    for (int i = 0; i < 100; i++) { // Of images that change from row to row.
      many.add(question("a" + i, "wide.png", QUESTION));
      many.add(question("b" + i, "tall.png", QUESTION));
    }
    Iterator<Question> questions =
        many.stream().peek(question -> read.add(question.sampleId())).iterator();
    try (ModelAnnotator annotator = load(new Settings())) {
      Iterator<Annotation> annotations = annotator.annotate(questions);
      annotations.next();
      assertThat(read).hasSizeLessThan(many.size());
      annotations.forEachRemaining(annotation -> {});
      assertThat(read).hasSameSizeAs(many);
    }
  }

  @Test
  void failsTheRowsOfAnUnreadableImageAndGoesOn() {
    byte[] junk = "not an image".getBytes(StandardCharsets.UTF_8);
    List<Question> rows =
        List.of(
            question("good", "wide.png", QUESTION),
            row("bad1", null, new ImageSource.Bytes(junk), QUESTION, List.of(), null),
            row("bad2", null, new ImageSource.Bytes(junk), "Why?", List.of(), null),
            row(
                "gone",
                "mapped",
                new ImageSource.Unavailable(
                    new Failure(FailureKind.IMAGE_MISSING, "No such file x.png")),
                QUESTION,
                List.of("yes"),
                null),
            question("after", "noise.png", QUESTION));
    try (ModelAnnotator annotator = load(new Settings().variants(NONE, VAR))) {
      List<Annotation> annotations = run(annotator, rows);
      assertThat(annotations).hasSize(10);
      assertThat(kinds(annotations))
          .containsExactly(
              "good answered",
              "good answered",
              "bad1 IMAGE_UNREADABLE",
              "bad1 IMAGE_UNREADABLE",
              "bad2 IMAGE_UNREADABLE",
              "bad2 IMAGE_UNREADABLE",
              "gone IMAGE_MISSING",
              "gone IMAGE_MISSING",
              "after answered",
              "after answered");
      assertThat(annotations.get(6).imageId()).isEqualTo("mapped");
      assertThat(annotations.get(6).answers()).containsExactly("yes");
      assertThat(((Outcome.Failed) annotations.get(6).outcome()).failure().message())
          .isEqualTo("No such file x.png");
      assertThat(annotations.get(2).imageId()).matches("[0-9a-f]{64}");
    }
  }

  @Test
  void failsRowsWithoutAQuestionOrWithTooLongAPromptAndAnswersTheirNeighbours() {
    List<Question> rows =
        List.of(
            question("null", "wide.png", null),
            question("good", "wide.png", QUESTION),
            question("blank", "wide.png", " \n\t"),
            question("long", "wide.png", "Why? ".repeat(300)),
            question("good2", "wide.png", "How many?"));
    try (ModelAnnotator annotator = load(new Settings())) {
      List<Annotation> annotations = run(annotator, rows);
      assertThat(kinds(annotations))
          .containsExactly(
              "null QUESTION_MISSING",
              "good answered",
              "blank QUESTION_MISSING",
              "long PROMPT_TOO_LONG",
              "good2 answered");
      assertThat(annotations.get(0).question()).isNull();
      assertThat(annotations.get(3).question()).startsWith("Why? Why? ");
    }
  }

  @Test
  void keepsRoomForTheWholeAnswer() throws RowFailedException {
    int promptTokens;
    try (ModelAnnotator annotator = load(new Settings())) {
      promptTokens = annotator.ask(bytes("wide.png"), QUESTION, null).promptTokenIds().size();
    }
    // The checkpoint's context is 512 tokens.
    try (ModelAnnotator annotator = load(new Settings().maxNewTokens(512 - promptTokens))) {
      assertThat(kinds(run(annotator, List.of(question("fits", "wide.png", QUESTION)))))
          .containsExactly("fits answered");
    }
    try (ModelAnnotator annotator = load(new Settings().maxNewTokens(512 - promptTokens + 1))) {
      assertThat(kinds(run(annotator, List.of(question("over", "wide.png", QUESTION)))))
          .containsExactly("over PROMPT_TOO_LONG");
    }
  }

  @Test
  void failsImagesOfMorePixelsThanAllowed() {
    List<Question> rows =
        List.of(
            question("exactly", "small.png", QUESTION), question("over", "noise.png", QUESTION));
    try (ModelAnnotator annotator = load(new Settings().maxImagePixels(17 * 19))) {
      assertThat(kinds(run(annotator, rows)))
          .containsExactly("exactly answered", "over IMAGE_TOO_LARGE");
    }
    try (ModelAnnotator annotator = load(new Settings().maxImagePixels(17 * 19 - 1))) {
      assertThat(kinds(run(annotator, rows.subList(0, 1))))
          .containsExactly("exactly IMAGE_TOO_LARGE");
    }
  }

  @Test
  void storesNoAttentionAtLevelNoneAndAnswersTheSame() {
    List<Annotation> summary;
    try (ModelAnnotator annotator = load(new Settings().variants(OBSERVE, VAR))) {
      summary = run(annotator, questions());
    }
    try (ModelAnnotator annotator = load(new Settings().variants(OBSERVE, VAR).level(Level.NONE))) {
      List<Annotation> bare = run(annotator, questions());
      assertThat(bare)
          .allSatisfy(annotation -> assertThat(answered(annotation).attention()).isNull());
      assertThat(tokenIds(bare)).isEqualTo(tokenIds(summary));
      assertThat(annotator.times().seconds().get("hook")).isPositive(); // Of var alone.
    }
    assertThat(summary)
        .allSatisfy(annotation -> assertThat(answered(annotation).attention()).isNotNull());
  }

  @Test
  void mapsTheAttentionOfSampledRowsAndOfNoOther() {
    List<Question> rows = new ArrayList<>(questions());
    rows.set(1, sampled(rows.get(1)));
    rows.set(3, sampled(rows.get(3)));
    rows.add(question("as 4", "tall.png", "What is in the image?"));
    List<Annotation> plain;
    try (ModelAnnotator annotator = load(new Settings().variants(NONE, OBSERVE, VAR_ALL))) {
      plain = run(annotator, rows);
    }
    try (ModelAnnotator annotator =
        load(new Settings().variants(NONE, OBSERVE, VAR_ALL).level(Level.FULL))) {
      List<Annotation> full = run(annotator, rows);
      compare(full, plain);
      List<String> mapped = new ArrayList<>();
      for (int i = 0; i < full.size(); i++) {
        AttentionRecord attention = answered(full.get(i)).attention();
        if (attention != null && attention.maps() != null) {
          mapped.add(full.get(i).sampleId() + " " + full.get(i).variant());
          requireImageAttention(attention, attention.maps().before());
          assertThat(attention.maps().before().equals(attention.maps().after()))
              .as("unchanged by " + full.get(i).variant())
              .isEqualTo(full.get(i).variant().equals("observe"));
        }
      }
      assertThat(mapped).containsExactly("2 observe", "2 var-all", "4 observe", "4 var-all");
    }
  }

  /** Every head's attention on the image, added up over the image's tokens. */
  private static void requireImageAttention(AttentionRecord attention, List<List<Float>> map) {
    assertThat(map).hasSize(5).allSatisfy(layer -> assertThat(layer).hasSize(16));
    for (AttentionRecord.HeadStatistics layer : attention.headStatistics()) {
      assertThat(map.get(layer.layer()).stream().mapToDouble(Float::doubleValue).sum())
          .isCloseTo(
              layer.imageAttention().stream().mapToDouble(Float::doubleValue).average().orElse(-1),
              within(1e-5));
    }
  }

  @Test
  void mapsWhatTheTraceOfThePromptShows(@TempDir Path folder) throws RowFailedException {
    Question question = question("1", "wide.png", QUESTION);
    for (Variant variant : List.of(OBSERVE, VAR_ALL)) {
      try (ModelAnnotator annotator =
          load(new Settings().variants(variant).level(Level.FULL).maxNewTokens(1))) {
        Path file = folder.resolve("trace.safetensors");
        Asked asked = annotator.ask(bytes("wide.png"), QUESTION, file);
        AttentionMaps maps =
            Objects.requireNonNull(
                Objects.requireNonNull(
                        answered(run(annotator, List.of(sampled(question))).get(0)).attention())
                    .maps());
        TensorFile trace = TensorFile.read(file);
        for (int layer = 0; layer < 5; layer++) {
          String name = "decoder." + layer + ".attention";
          requireMap(maps.before().get(layer), trace.values(name), asked);
          requireMap(maps.after().get(layer), trace.values(name + "_used"), asked);
        }
      }
    }
  }

  /** Of the one answer token, against the definition in double, two heads to a key-value head. */
  @Test
  void measuresWhatSinksAndOtherImageTokensContribute(@TempDir Path folder)
      throws RowFailedException {
    TensorFile weights =
        TensorFile.read(
            TinyCheckpoint.golden("llava-gqa").resolve("model-00002-of-00002.safetensors"));
    try (ModelAnnotator annotator = load(new Settings().variants(CONTRIBUTION).maxNewTokens(1))) {
      Path file = folder.resolve("trace.safetensors");
      Asked asked = annotator.ask(bytes("wide.png"), QUESTION, file);
      TensorFile trace = TensorFile.read(file);
      AttentionRecord attention = Objects.requireNonNull(asked.outcome().attention());
      int withSinks = 0;
      for (int i = 0; i < attention.sinks().size(); i++) {
        List<Integer> sinks = attention.sinks().get(i).imagePositions();
        AttentionRecord.HeadStatistics layer = attention.headStatistics().get(i);
        List<Float> ofNonsinks = Objects.requireNonNull(layer.nonsinkContribution());
        assertThat(layer.sinkContribution() == null).isEqualTo(sinks.isEmpty());
        withSinks += sinks.isEmpty() ? 0 : 1;
        for (int h = 0; h < 4; h++) {
          double[] ofTokens = contributions(trace, weights, layer.layer(), h, asked);
          double ofSinks = sinks.stream().mapToDouble(token -> ofTokens[token]).sum();
          double ofOthers = Arrays.stream(ofTokens).sum() - ofSinks;
          assertThat(ofNonsinks.get(h).doubleValue())
              .isCloseTo(ofOthers / (ofTokens.length - sinks.size()), withinPercentage(0.01));
          if (layer.sinkContribution() != null) {
            assertThat(layer.sinkContribution().get(h).doubleValue())
                .isCloseTo(ofSinks / sinks.size(), withinPercentage(0.01));
          }
        }
      }
      assertThat(withSinks).isPositive();
    }
  }

  /** The length of attention · normed input · W_V · W_O of every image token at the last query. */
  private static double[] contributions(
      TensorFile trace, TensorFile weights, int layer, int head, Asked asked) {
    int hidden = 64;
    int heads = 4;
    int headSize = 16;
    int tokens = asked.promptTokenIds().size();
    String name = "model.language_model.layers." + layer;
    float[] input = trace.values("decoder." + layer + ".input");
    float[] attention = trace.values("decoder." + layer + ".attention");
    float[] norm = weights.values(name + ".input_layernorm.weight");
    float[] value = weights.values(name + ".self_attn.v_proj.weight");
    float[] output = weights.values(name + ".self_attn.o_proj.weight");
    double[] contributions = new double[asked.imageEnd() - asked.imageStart()];
    for (int j = 0; j < contributions.length; j++) {
      int row = (asked.imageStart() + j) * hidden;
      double squares = 0;
      for (int k = 0; k < hidden; k++) {
        squares += (double) input[row + k] * input[row + k];
      }
      double scale = 1 / Math.sqrt(squares / hidden + 1e-6);
      double[] values = new double[headSize];
      for (int d = 0; d < headSize; d++) {
        for (int k = 0; k < hidden; k++) {
          values[d] +=
              input[row + k] * scale * norm[k] * value[(head / 2 * headSize + d) * hidden + k];
        }
      }
      double length = 0;
      for (int k = 0; k < hidden; k++) {
        double sum = 0;
        for (int d = 0; d < headSize; d++) {
          sum += values[d] * output[k * heads * headSize + head * headSize + d];
        }
        length += sum * sum;
      }
      float weight = attention[((head + 1) * tokens - 1) * tokens + asked.imageStart() + j];
      contributions[j] = weight * Math.sqrt(length);
    }
    return contributions;
  }

  /** Every query after the image, against the softmax without the masked keys, in double. */
  @Test
  void hidesSinksOrAsManyOtherTokensFromAllThatFollowsTheImage(@TempDir Path folder)
      throws RowFailedException {
    Map<String, List<Set<Integer>>> masked = new LinkedHashMap<>();
    for (Variant variant : List.of(KNOCKOUT, RANDOM, OTHER_RANDOM)) {
      try (ModelAnnotator annotator = load(new Settings().variants(variant))) {
        Path file = folder.resolve("trace.safetensors");
        Asked asked = annotator.ask(bytes("wide.png"), QUESTION, file);
        TensorFile trace = TensorFile.read(file);
        AttentionRecord attention = Objects.requireNonNull(asked.outcome().attention());
        List<Set<Integer>> ofLayers = new ArrayList<>();
        for (int layer = 0; layer < 5; layer++) {
          ofLayers.add(
              requireMasked(
                  trace.values("decoder." + layer + ".attention"),
                  trace.values("decoder." + layer + ".attention_used"),
                  asked));
        }
        assertThat(ofLayers.subList(0, 2)).containsOnly(Set.of());
        int sinks = 0;
        for (AttentionRecord.LayerSinks layer : attention.sinks()) {
          Set<Integer> positions = new TreeSet<>(layer.imagePositions());
          Set<Integer> hidden = ofLayers.get(layer.layer());
          if (variant.equals(KNOCKOUT)) {
            assertThat(hidden).isEqualTo(positions);
          } else {
            assertThat(hidden).hasSameSizeAs(positions).doesNotContainAnyElementsOf(positions);
          }
          sinks += positions.size();
        }
        assertThat(sinks).isPositive();
        masked.put(variant.name(), ofLayers);
      }
    }
    assertThat(masked.get("random")).isNotEqualTo(masked.get("other-random"));
  }

  /** Image tokens that no later query sees any more. */
  private static Set<Integer> requireMasked(float[] before, float[] after, Asked asked) {
    int heads = 4;
    int tokens = asked.promptTokenIds().size();
    Set<Integer> masked = new TreeSet<>();
    for (int key = asked.imageStart(); key < asked.imageEnd(); key++) {
      boolean seen = false;
      for (int h = 0; h < heads; h++) {
        seen |= after[((h + 1) * tokens - 1) * tokens + key] != 0;
      }
      if (!seen) {
        masked.add(key - asked.imageStart());
      }
    }
    for (int h = 0; h < heads; h++) {
      for (int query = asked.imageEnd(); query < tokens; query++) {
        int row = (h * tokens + query) * tokens;
        double left = 0;
        for (int key = 0; key < tokens; key++) {
          left += masked.contains(key - asked.imageStart()) ? 0 : before[row + key];
        }
        for (int key = 0; key < tokens; key++) {
          double expected =
              masked.contains(key - asked.imageStart())
                  ? 0
                  : before[row + key] / (masked.isEmpty() ? 1 : left);
          assertThat((double) after[row + key])
              .isCloseTo(expected, within(masked.isEmpty() ? 0 : 1e-6));
        }
      }
    }
    return masked;
  }

  /**
   * The mean over heads of the last query in attention {@code [head, query, key]} of a prompt whose
   * answer is one token.
   */
  private static void requireMap(List<Float> map, float[] attention, Asked asked) {
    int heads = 4;
    int tokens = asked.promptTokenIds().size();
    assertThat(map).hasSize(asked.imageEnd() - asked.imageStart());
    for (int i = 0; i < map.size(); i++) {
      double mean = 0;
      for (int h = 0; h < heads; h++) {
        mean +=
            attention[((h + 1) * tokens - 1) * tokens + asked.imageStart() + i] / (double) heads;
      }
      assertThat(map.get(i).doubleValue()).isCloseTo(mean, within(1e-6));
    }
  }

  @Test
  void refusesAVariantThatNeedsSinkDimensionsNobodyKnows() {
    Variant unknown =
        new Variant(
            "mine",
            Hook.VAR,
            "paper",
            List.of(),
            null,
            "prompt",
            0.5,
            0.2,
            0.6,
            true,
            Knockout.SINKS);
    assertThatThrownBy(() -> load(new Settings().variants(NONE, unknown)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot run variant mine: no sink dimensions are known for this model; give them with"
                + " sink-dimensions (--sink-dimensions of ask), or find them with discover-sinks, which a later"
                + " version brings");
  }

  @Test
  void refusesSinkDimensionsTheModelDoesNotHaveBeforeAnyWork() {
    Variant beyond =
        new Variant(
            "mine",
            Hook.VAR,
            "paper",
            List.of(64),
            null,
            "prompt",
            0.5,
            0.2,
            0.6,
            true,
            Knockout.SINKS);
    assertThatThrownBy(() -> load(new Settings().variants(beyond)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Sink dimensions must be from 0 to 63, not 64");
  }

  @Test
  void appendsTheSuffixToEveryQuestion() throws RowFailedException {
    String suffix = "\nAnswer in one word.";
    try (ModelAnnotator plain = load(new Settings());
        ModelAnnotator suffixed = load(new Settings().promptSuffix(suffix))) {
      Asked written = plain.ask(bytes("wide.png"), QUESTION + suffix, null);
      Asked appended = suffixed.ask(bytes("wide.png"), QUESTION, null);
      assertThat(appended).isEqualTo(written);
      assertThat(run(suffixed, List.of(question("a", "wide.png", QUESTION))).get(0).question())
          .isEqualTo(QUESTION);
    }
  }

  @Test
  void putsTheQuestionIntoTheTemplateOfTheSettings() throws RowFailedException {
    try (ModelAnnotator vicuna = load(new Settings().template("vicuna-v1"));
        ModelAnnotator auto = load(new Settings().template("auto"));
        ModelAnnotator plain = load(new Settings().template("plain"))) {
      Asked long1 = vicuna.ask(bytes("wide.png"), QUESTION, null);
      Asked short1 = plain.ask(bytes("wide.png"), QUESTION, null);
      assertThat(auto.ask(bytes("wide.png"), QUESTION, null)).isEqualTo(long1);
      assertThat(long1.imageEnd() - long1.imageStart()).isEqualTo(16);
      assertThat(short1.imageEnd() - short1.imageStart()).isEqualTo(16);
      assertThat(short1.imageStart()).isLessThan(long1.imageStart());
      // After the image both say the same.
      assertThat(short1.promptTokenIds().subList(short1.imageEnd(), short1.promptTokenIds().size()))
          .isEqualTo(
              long1.promptTokenIds().subList(long1.imageEnd(), long1.promptTokenIds().size()));
      assertThat(vicuna.facts().template()).isEqualTo("vicuna-v1");
      assertThat(plain.facts().template()).isEqualTo("plain");
    }
  }

  @Test
  void cutsOrPadsTheImageAsTheSettingsSay() throws RowFailedException {
    // 64 x 48 pixels become 74 x 56 and lose 9 columns on each side, or get 8 rows above and below.
    try (ModelAnnotator crop = load(new Settings().imageRule("crop"));
        ModelAnnotator pad = load(new Settings().imageRule("pad"))) {
      PromptFacts cut = crop.ask(bytes("shapes.png"), QUESTION, null).outcome().prompt();
      PromptFacts padded = pad.ask(bytes("shapes.png"), QUESTION, null).outcome().prompt();
      assertThat(cut.views()).hasSize(1);
      PromptFacts.View view = cut.views().get(0);
      assertThat(List.of(view.rows(), view.columns())).containsExactly(4, 4);
      assertThat(view.x()).isCloseTo(9 * 64 / 74.0, within(1e-9));
      assertThat(view.width()).isCloseTo(56 * 64 / 74.0, within(1e-9));
      assertThat(view.height()).isCloseTo(48, within(1e-9));
      assertThat(padded.views()).containsExactly(new PromptFacts.View(0, 0, 4, 4, 0, -8, 64, 64));
      assertThat(List.of(cut.imageWidth(), cut.imageHeight())).containsExactly(64, 48);
      assertThat(crop.facts().imageRule()).isEqualTo("crop");
      assertThat(pad.facts().imageRule()).isEqualTo("pad");
    }
  }

  @Test
  void turnsAnImageUprightWhereTheSettingsSaySo() throws RowFailedException {
    try (ModelAnnotator apply = load(new Settings().exif("apply").variants(OBSERVE));
        ModelAnnotator ignore = load(new Settings().exif("ignore").variants(OBSERVE))) {
      Outcome.Answered upright = apply.ask(bytes("jpeg-exif6.jpg"), QUESTION, null).outcome();
      Outcome.Answered lying = ignore.ask(bytes("jpeg-exif6.jpg"), QUESTION, null).outcome();
      Outcome.Answered turned =
          ignore.ask(bytes("jpeg-exif6.jpg.upright.png"), QUESTION, null).outcome();
      assertThat(List.of(upright.prompt().imageWidth(), upright.prompt().imageHeight()))
          .containsExactly(53, 75);
      assertThat(List.of(lying.prompt().imageWidth(), lying.prompt().imageHeight()))
          .containsExactly(75, 53);
      assertThat(upright.prompt().views()).isEqualTo(turned.prompt().views());
      assertThat(maxSinkValue(upright)).isCloseTo(maxSinkValue(turned), within(0.001f));
      assertThat(maxSinkValue(lying)).isNotCloseTo(maxSinkValue(turned), within(0.004f));
    }
  }

  @Test
  void storesTheMostProbableTokensOfEveryAnswerToken() throws RowFailedException {
    try (ModelAnnotator annotator = load(new Settings().topLogprobs(5).variants(VAR))) {
      Answer answer = annotator.ask(bytes("wide.png"), QUESTION, null).outcome().answer();
      assertThat(answer.topLogprobs()).hasSameSizeAs(answer.tokenIds());
      double sum = 0;
      for (int t = 0; t < answer.tokenIds().size(); t++) {
        List<TokenLogprob> top = answer.topLogprobs().get(t);
        assertThat(top).hasSize(5);
        assertThat(top.get(0).tokenId()).isEqualTo(answer.tokenIds().get(t));
        assertThat(top).isSortedAccordingTo((a, b) -> Double.compare(b.logprob(), a.logprob()));
        assertThat(top.get(0).logprob()).isNegative();
        sum += top.get(0).logprob();
      }
      assertThat(answer.logprob()).isCloseTo(sum, within(1e-5));
    }
    try (ModelAnnotator annotator = load(new Settings())) {
      Answer answer = annotator.ask(bytes("wide.png"), QUESTION, null).outcome().answer();
      assertThat(answer.topLogprobs()).isEmpty();
      assertThat(answer.choiceProbabilities()).isEmpty();
    }
  }

  @Test
  void storesForEveryChoiceTheProbabilityOfItsFirstToken() throws RowFailedException {
    List<String> choices = List.of("Yes", "No", "the circle", "a", "to", "image", "answer");
    Settings settings = new Settings().choices(choices).topLogprobs(20).variants(NONE, VAR);
    int compared = 0;
    try (ModelAnnotator annotator = load(settings);
        LoadedModel model = LoadedModel.load(settings.build().model())) {
      for (Annotation annotation : run(annotator, questions())) {
        Answer answer = answer(annotation);
        assertThat(answer.choiceProbabilities()).containsOnlyKeys(choices);
        List<TokenLogprob> first = answer.topLogprobs().get(0);
        double least = Math.exp(first.get(first.size() - 1).logprob());
        for (String choice : choices) {
          int token = model.firstToken(choice);
          double probability = Objects.requireNonNull(answer.choiceProbabilities().get(choice));
          double expected =
              first.stream()
                  .filter(top -> top.tokenId() == token)
                  .mapToDouble(top -> Math.exp(top.logprob()))
                  .findFirst()
                  .orElse(-1);
          if (expected >= 0) {
            assertThat(probability).isCloseTo(expected, within(1e-6));
            compared++;
          } else {
            assertThat(probability).isBetween(0.0, least);
          }
        }
      }
    }
    assertThat(compared).isPositive();
  }

  @Test
  void failsRowsWhoseLogitsAreNotFinite(@TempDir Path folder) {
    TinyCheckpoint.copyTo(folder).filled("language_model.lm_head.weight", Float.NaN);
    try (ModelAnnotator annotator = load(new Settings().path(folder).variants(NONE, VAR))) {
      List<Annotation> annotations = run(annotator, List.of(question("a", "wide.png", QUESTION)));
      assertThat(kinds(annotations)).containsExactly("a NUMERIC_FAILURE", "a NUMERIC_FAILURE");
      assertThat(((Outcome.Failed) annotations.get(0).outcome()).failure().message())
          .isEqualTo("Model gave logits that are not finite for answer token 0");
    }
  }

  @Test
  void letsNumbersThatAreNotFiniteHarmNoOtherRow(@TempDir Path folder) throws RowFailedException {
    TinyCheckpoint copy = TinyCheckpoint.copyTo(folder);
    List<Question> rows =
        List.of(question("good", "wide.png", "How many?"), question("bad", "wide.png", "Quiz!"));
    List<Annotation> sound;
    TreeSet<Integer> onlyInBad;
    try (ModelAnnotator annotator = load(new Settings().path(folder).variants(NONE, VAR))) {
      sound = run(annotator, rows);
      onlyInBad = new TreeSet<>(annotator.ask(bytes("wide.png"), "Quiz!", null).promptTokenIds());
      onlyInBad.removeAll(annotator.ask(bytes("wide.png"), "How many?", null).promptTokenIds());
      onlyInBad.removeAll(answer(sound.get(0)).tokenIds());
      onlyInBad.removeAll(answer(sound.get(1)).tokenIds());
    }
    copy.rowFilled("language_model.model.embed_tokens.weight", onlyInBad.first(), Float.NaN);
    try (ModelAnnotator annotator = load(new Settings().path(folder).variants(NONE, VAR))) {
      List<Annotation> harmed = run(annotator, rows);
      assertThat(kinds(harmed))
          .containsExactly(
              "good answered", "good answered", "bad NUMERIC_FAILURE", "bad NUMERIC_FAILURE");
      compare(harmed.subList(0, 2), sound.subList(0, 2));
    }
  }

  @Test
  void measuresTheBackgroundUnderEveryImageToken() {
    // The left half of the image, and of the part the model sees, is foreground.
    byte[] mask = mask(64, 48, 32);
    byte[] image = bytes("shapes.png");
    List<Question> rows =
        List.of(
            withMask("masked", image, mask),
            withMask("none", image, null),
            withMask("wrong size", image, mask(10, 10, 5)),
            withMask("no image", image, new byte[] {1, 2, 3}));
    try (ModelAnnotator annotator = load(new Settings().imageRule("crop"))) {
      List<Annotation> annotations = run(annotator, rows);
      List<Float> background = answered(annotations.get(0)).prompt().maskBackground();
      assertThat(background).hasSize(16);
      for (int i = 0; i < 16; i++) {
        assertThat(background.get(i)).isCloseTo(i % 4 < 2 ? 0f : 1f, within(1e-6f));
      }
      for (int i = 1; i < rows.size(); i++) {
        assertThat(answered(annotations.get(i)).prompt().maskBackground()).isEmpty();
      }
    }
  }

  @Test
  void tracesThePromptUnderTheNamesOfTheContract(@TempDir Path folder) throws RowFailedException {
    Path file = folder.resolve("trace.safetensors");
    try (ModelAnnotator annotator = load(new Settings().variants(VAR_ALL))) {
      Asked traced = annotator.ask(bytes("wide.png"), QUESTION, file);
      Asked plain = annotator.ask(bytes("wide.png"), QUESTION, null);
      assertThat(traced.outcome().answer().tokenIds())
          .isEqualTo(plain.outcome().answer().tokenIds());
      assertThat(traced.promptTokenIds()).isEqualTo(plain.promptTokenIds());
      TensorFile trace = TensorFile.read(file);
      List<String> names = new ArrayList<>(List.of("vision.output", "projector.output", "logits"));
      for (int layer = 0; layer < 5; layer++) {
        names.add("decoder." + layer + ".input");
        names.add("decoder." + layer + ".attention");
        names.add("decoder." + layer + ".attention_used");
      }
      assertThat(trace.names()).containsExactlyInAnyOrderElementsOf(names);
      int tokens = traced.promptTokenIds().size();
      assertThat(trace.values("vision.output")).hasSize(16 * 32);
      assertThat(trace.values("projector.output")).hasSize(16 * 64);
      assertThat(trace.values("logits")).hasSize(tokens * 512);
      assertThat(trace.values("projector.output"))
          .isEqualTo(
              Arrays.copyOfRange(
                  trace.values("decoder.0.input"),
                  traced.imageStart() * 64,
                  traced.imageEnd() * 64));
      assertThat(changedQueries(trace, tokens, 5))
          .isNotEmpty()
          .allSatisfy(query -> assertThat(query).isGreaterThanOrEqualTo(traced.imageEnd()));
      assertThat(argmaxOfLastRow(trace.values("logits"), 512))
          .isEqualTo(traced.outcome().answer().tokenIds().get(0));
    }
  }

  /** Queries whose attention was changed in any layer; all rows must sum to 1 either way. */
  private static Set<Integer> changedQueries(TensorFile trace, int tokens, int layers) {
    Set<Integer> changed = new TreeSet<>();
    for (int layer = 0; layer < layers; layer++) {
      float[] before = trace.values("decoder." + layer + ".attention");
      float[] used = trace.values("decoder." + layer + ".attention_used");
      assertThat(used).hasSameSizeAs(before);
      for (int row = 0; row < before.length / tokens; row++) {
        double sum = 0;
        for (int k = row * tokens; k < (row + 1) * tokens; k++) {
          sum += used[k];
          if (used[k] != before[k]) {
            changed.add(row % tokens);
          }
        }
        assertThat(sum).isCloseTo(1, within(1e-5));
      }
    }
    return changed;
  }

  @Test
  void answersARawPromptAsTheTemplatesOwn() throws RowFailedException {
    Asked templated;
    try (ModelAnnotator annotator = load(new Settings().template("plain"))) {
      templated = annotator.ask(bytes("wide.png"), QUESTION, null);
    }
    try (ModelAnnotator annotator = load(new Settings().template("plain"))) {
      Asked raw =
          annotator.askRaw(bytes("wide.png"), "USER: <image>\n" + QUESTION + " ASSISTANT:", null);
      assertThat(raw).isEqualTo(templated);
      assertThatThrownBy(() -> annotator.askRaw(bytes("wide.png"), "USER: hello", null))
          .isInstanceOf(RowFailedException.class)
          .hasMessage("Prompt must have <image> exactly once, not 0 times");
      assertThatThrownBy(() -> annotator.askRaw(bytes("wide.png"), "Look: <image>", null))
          .isInstanceOf(RowFailedException.class)
          .hasMessage("Prompt must have text after its image");
    }
  }

  @Test
  void saysWhatItLoaded() {
    try (ModelAnnotator annotator = load(new Settings())) {
      ModelFacts facts = annotator.facts();
      assertThat(facts.family()).isEqualTo("llava");
      assertThat(facts.dtype()).isEqualTo("float32");
      assertThat(facts.device()).isEqualTo(Devices.name(TestDevice.get()));
      assertThat(facts.preset()).isNull();
      assertThat(facts.sinkDimensions()).isEmpty();
      assertThat(facts.layers()).isEqualTo(5);
      assertThat(facts.heads()).isEqualTo(4);
      assertThat(facts.fingerprint()).matches("[0-9a-f]{64}");
    }
  }

  private static Variant variant(String name, Hook hook, double movedShare) {
    return variant(name, hook, movedShare, Knockout.SINKS);
  }

  private static Variant variant(String name, Hook hook, double movedShare, Knockout knockout) {
    return new Variant(
        name, hook, "paper", List.of(7, 50), 3.0, "prompt", 0.45, 0.1, movedShare, true, knockout);
  }

  /** Some on one image, some alone, in two lengths. */
  private static List<Question> questions() {
    return List.of(
        question("1", "wide.png", QUESTION),
        question("2", "wide.png", "How many?"),
        question("3", "wide.png", "What is on the left? Answer the question using a single word."),
        question("4", "tall.png", "What is in the image?"),
        question("5", "noise.png", "Is this a fox or a café?"),
        question("6", "noise.png", "Why?"),
        question("7", "transparent.png", "How many shapes are there?"));
  }

  private static Question question(String id, String image, @Nullable String text) {
    return row(id, null, new ImageSource.Bytes(bytes(image)), text, List.of(), null);
  }

  private static Question withMask(String id, byte[] image, byte @Nullable [] mask) {
    return row(id, null, new ImageSource.Bytes(image), QUESTION, List.of(), mask);
  }

  private static Question row(
      String id,
      @Nullable String imageId,
      ImageSource image,
      @Nullable String text,
      List<String> answers,
      byte @Nullable [] mask) {
    ImageSource.Bytes maskImage = mask == null ? null : new ImageSource.Bytes(mask);
    return new Question(id, imageId, image, text, answers, maskImage, false);
  }

  private static Question sampled(Question question) {
    return new Question(
        question.sampleId(),
        question.imageId(),
        question.image(),
        question.text(),
        question.answers(),
        question.mask(),
        true);
  }

  /** White left of a column, black from it on. */
  private static byte[] mask(int width, int height, int whiteColumns) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY);
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < whiteColumns; x++) {
        image.setRGB(x, y, 0xFFFFFFFF);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    try {
      assertThat(ImageIO.write(image, "png", png)).isTrue();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return png.toByteArray();
  }

  private static byte[] bytes(String image) {
    try {
      return Files.readAllBytes(IMAGES.resolve(image));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ModelAnnotator load(Settings settings) {
    return ModelAnnotator.load(settings.build());
  }

  private static List<Annotation> run(ModelAnnotator annotator, List<Question> questions) {
    List<Annotation> annotations = new ArrayList<>();
    annotator.annotate(questions.iterator()).forEachRemaining(annotations::add);
    return annotations;
  }

  private static Outcome.Answered answered(Annotation annotation) {
    assertThat(annotation.outcome()).isInstanceOf(Outcome.Answered.class);
    return (Outcome.Answered) annotation.outcome();
  }

  private static Answer answer(Annotation annotation) {
    return answered(annotation).answer();
  }

  private static List<List<Integer>> tokenIds(List<Annotation> annotations) {
    return annotations.stream().map(annotation -> answer(annotation).tokenIds()).toList();
  }

  private static List<String> kinds(List<Annotation> annotations) {
    return annotations.stream()
        .map(
            annotation ->
                annotation.sampleId()
                    + " "
                    + (annotation.outcome() instanceof Outcome.Failed failed
                        ? failed.failure().kind().name()
                        : "answered"))
        .toList();
  }

  private static float maxSinkValue(Outcome.Answered answered) {
    return Objects.requireNonNull(answered.attention()).sinks().get(0).maxValue();
  }

  private static int argmaxOfLastRow(float[] values, int width) {
    int best = 0;
    int start = values.length - width;
    for (int i = 1; i < width; i++) {
      best = values[start + i] > values[start + best] ? i : best;
    }
    return best;
  }

  /** The same but for float32 rounding. */
  private static void compare(List<Annotation> actual, List<Annotation> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < actual.size(); i++) {
      String name = expected.get(i).sampleId() + " " + expected.get(i).variant();
      assertThat(actual.get(i).sampleId()).isEqualTo(expected.get(i).sampleId());
      assertThat(actual.get(i).imageId()).isEqualTo(expected.get(i).imageId());
      Outcome.Answered a = answered(actual.get(i));
      Outcome.Answered e = answered(expected.get(i));
      assertThat(a.answer().tokenIds()).as(name).isEqualTo(e.answer().tokenIds());
      assertThat(a.answer().text()).as(name).isEqualTo(e.answer().text());
      assertThat(a.answer().finishReason()).as(name).isEqualTo(e.answer().finishReason());
      assertThat(a.answer().logprob()).as(name).isCloseTo(e.answer().logprob(), within(1e-4));
      assertThat(a.prompt()).as(name).isEqualTo(e.prompt());
      AttentionRecord ofActual = a.attention();
      AttentionRecord ofExpected = e.attention();
      assertThat(ofActual == null).as(name).isEqualTo(ofExpected == null);
      if (ofActual != null && ofExpected != null) {
        compare(ofActual, ofExpected, name);
      }
    }
  }

  private static void compare(AttentionRecord actual, AttentionRecord expected, String name) {
    assertThat(actual.headSelection()).as(name).isEqualTo(expected.headSelection());
    assertThat(actual.sinks()).hasSameSizeAs(expected.sinks());
    for (int i = 0; i < actual.sinks().size(); i++) {
      AttentionRecord.LayerSinks a = actual.sinks().get(i);
      AttentionRecord.LayerSinks e = expected.sinks().get(i);
      assertThat(a.layer()).isEqualTo(e.layer());
      assertThat(a.imagePositions()).as(name).isEqualTo(e.imagePositions());
      assertThat(a.textPositions()).as(name).isEqualTo(e.textPositions());
      assertThat(a.maxValue()).as(name).isCloseTo(e.maxValue(), within(1e-4f));
      AttentionRecord.HeadStatistics b = actual.headStatistics().get(i);
      AttentionRecord.HeadStatistics f = expected.headStatistics().get(i);
      close(b.imageAttention(), f.imageAttention(), name);
      close(b.nonsinkRatio(), f.nonsinkRatio(), name);
      close(b.sinkAttention(), f.sinkAttention(), name);
      assertThat(b.sinkContribution() == null).isEqualTo(f.sinkContribution() == null);
      if (b.sinkContribution() != null && f.sinkContribution() != null) {
        close(b.sinkContribution(), f.sinkContribution(), name);
      }
      assertThat(b.nonsinkContribution() == null).isEqualTo(f.nonsinkContribution() == null);
      if (b.nonsinkContribution() != null && f.nonsinkContribution() != null) {
        close(b.nonsinkContribution(), f.nonsinkContribution(), name);
      }
    }
  }

  private static void close(List<Float> actual, List<Float> expected, String name) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < actual.size(); i++) {
      assertThat(actual.get(i)).as(name).isCloseTo(expected.get(i), within(1e-4f));
    }
  }

  /** The golden checkpoint in float32, with what a test changes. */
  private static final class Settings {
    private Path path = TinyCheckpoint.golden("llava-gqa");
    private String template = "plain";
    private String imageRule = "auto";
    private String exif = "auto";
    private String promptSuffix = "";
    private int maxNewTokens = 8;
    private int batchTokens = 16384;
    private List<String> choices = List.of();
    private int topLogprobs;
    private List<Variant> variants = List.of(NONE);
    private Level level = Level.SUMMARY;
    private long maxImagePixels = 1_000_000;

    Settings path(Path value) {
      path = value;
      return this;
    }

    Settings template(String value) {
      template = value;
      return this;
    }

    Settings imageRule(String value) {
      imageRule = value;
      return this;
    }

    Settings exif(String value) {
      exif = value;
      return this;
    }

    Settings promptSuffix(String value) {
      promptSuffix = value;
      return this;
    }

    Settings maxNewTokens(int value) {
      maxNewTokens = value;
      return this;
    }

    Settings batchTokens(int value) {
      batchTokens = value;
      return this;
    }

    Settings choices(List<String> value) {
      choices = value;
      return this;
    }

    Settings topLogprobs(int value) {
      topLogprobs = value;
      return this;
    }

    Settings variants(Variant... value) {
      variants = List.of(value);
      return this;
    }

    Settings level(Level value) {
      level = value;
      return this;
    }

    Settings maxImagePixels(long value) {
      maxImagePixels = value;
      return this;
    }

    AnnotatorSettings build() {
      return new AnnotatorSettings(
          new RunSettings.Model(
              path.toString(),
              "auto",
              template,
              imageRule,
              exif,
              null,
              TestDevice.setting(),
              "float32",
              promptSuffix),
          new RunSettings.Generation(maxNewTokens, 0, batchTokens, choices, topLogprobs),
          variants,
          new RunSettings.Statistics(level, level == Level.FULL ? 1 : 0),
          maxImagePixels);
    }
  }
}
