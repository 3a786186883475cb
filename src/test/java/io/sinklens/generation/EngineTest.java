package io.sinklens.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.generation.Generated.Finish;
import io.sinklens.generation.Generated.TokenLogprob;
import io.sinklens.generation.PhaseTimes.PassSize;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Segment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class EngineTest {
  private static final int IMAGE_TOKENS = 16;
  private static final int PREFIX_TOKENS = 2 + IMAGE_TOKENS;
  private static final int IMAGE_ID = 459;
  private static final int SIDE = 56;
  private static final int UNLIMITED = Integer.MAX_VALUE;
  private static final GenerationRules RULES = rules(8, Set.of(2));
  private static final String MEMORY = "[enforce fail] DefaultCPUAllocator: not enough memory";

  private static VisionLanguageModel model;
  private int tensors;

  @BeforeAll
  static void load() {
    model = TinyCheckpoint.load("llava-gqa");
  }

  @AfterAll
  static void unload() {
    model.close();
  }

  @BeforeEach
  void countTensors() {
    tensors = tensors();
  }

  @AfterEach
  void leavesNoTensors() {
    assertThat(tensors()).isEqualTo(tensors);
  }

  private static int tensors() {
    return model.operators().manager().getManagedArrays().size();
  }

  @RepeatedTest(5)
  void answersARowAsItWouldAloneWhateverItsNeighboursAndTheirOrder(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 6, 9);
    List<Integer> order = order(random, 6);
    List<int[]> inOrder = order.stream().map(rows::get).toList();

    List<Generated> together = answer(RULES, request(image, rows));
    List<Generated> shuffled = answer(RULES, request(image, inOrder));
    List<Generated> grouped = // Each group under a hook of its own.
        answer(
            RULES,
            request(
                image, 2, List.of(inOrder.subList(0, 2), inOrder.subList(2, 6)), () -> Watch.NONE));
    for (int r = 0; r < rows.size(); r++) {
      Generated alone = answer(RULES, request(image, rows.subList(r, r + 1))).get(0);
      assertSame(together.get(r), alone);
      assertSame(shuffled.get(order.indexOf(r)), alone);
      assertSame(grouped.get(order.indexOf(r)), alone);
    }
    assertThat(together).extracting(Generated::tokenIds).doesNotHaveDuplicates();
  }

  /** A budget for one row at a time, for a few rows, for two images, for everything. */
  @ParameterizedTest
  @ValueSource(ints = {1, 40, 90, UNLIMITED})
  void answersImagesOfManyThreadsAsItWouldAlone(int batchTokens) throws InterruptedException {
    GenerationRules rules = new GenerationRules(6, 2, Set.of(2, 17), 2, List.of(5, 300));
    List<Request> requests = new ArrayList<>();
    List<List<Generated>> expected = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      Random random = new Random(100 + i);
      ImageInput image = image(random);
      List<int[]> rows = rows(random, 1 + random.nextInt(6), 9);
      requests.add(request(image, rows));
      expected.add(
          rows.stream()
              .flatMap(row -> answer(rules, request(image, List.of(row))).stream())
              .toList());
    }
    List<List<Generated>> answers =
        Collections.synchronizedList(new ArrayList<>(Collections.nCopies(12, List.of())));
    try (Engine engine = new Engine(model, rules, batchTokens, new PhaseTimes())) {
      List<Thread> callers = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        int first = 3 * t;
        Thread caller =
            new Thread(
                () -> {
                  List<CompletableFuture<Answers>> ofCaller = new ArrayList<>();
                  for (int i = first; i < first + 3; i++) {
                    ofCaller.add(engine.submit(requests.get(i)));
                  }
                  for (int i = first; i < first + 3; i++) {
                    answers.set(i, take(ofCaller.get(i - first)));
                  }
                });
        callers.add(caller);
        caller.start();
      }
      for (Thread caller : callers) {
        caller.join();
      }
    }
    for (int i = 0; i < 12; i++) {
      assertSameRows(answers.get(i), expected.get(i));
      for (int r = 0; r < expected.get(i).size(); r++) {
        Generated answer = answers.get(i).get(r);
        Generated alone = expected.get(i).get(r);
        assertThat(answer.topLogprobs()).hasSameSizeAs(answer.tokenIds());
        for (int choice = 0; choice < 2; choice++) {
          assertThat(answer.choiceProbabilities().get(choice))
              .isCloseTo(alone.choiceProbabilities().get(choice), within(1e-5));
        }
      }
    }
  }

  @Test
  void letsWaitingRowsInAsOthersLeave() {
    Random random = new Random(11);
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 30, 6);
    // A token of half the answers ends them, so that rows leave at different times.
    List<Generated> free = answer(rules(8, Set.of()), request(image, rows));
    ToLongFunction<Integer> uses =
        token -> free.stream().filter(answer -> answer.tokenIds().contains(token)).count();
    int stop =
        IntStream.range(0, 512)
            .boxed()
            .min(Comparator.comparingLong(token -> Math.abs(15 - uses.applyAsLong(token))))
            .orElseThrow();
    GenerationRules rules = rules(8, Set.of(stop));
    List<Generated> expected = alone(rules, image, rows);
    assertThat(expected).extracting(Generated::finish).contains(Finish.STOP, Finish.LENGTH);

    Entering entering = new Entering();
    List<Generated> answers =
        answer(
            PREFIX_TOKENS + 60,
            rules,
            request(image, 2, List.of(rows.subList(0, 13), rows.subList(13, 30)), entering));
    assertSameRows(answers, expected);
    assertThat(entering.mostAtOnce).isBetween(3, 6);
    assertThat(entering.besideOthers).isPositive(); // Without waiting for all to end.
    assertThat(entering.fromTheStart).isGreaterThan(1); // When all had ended.
  }

  /** Notes when rows begin: those of both groups share a cache. */
  private static final class Entering implements Supplier<Watch> {
    int mostAtOnce;
    int besideOthers;
    int fromTheStart;

    @Override
    public Watch get() {
      return new Seeing(
          AttentionHook.NONE,
          Collections.nCopies(
              2,
              new AttentionHook() {
                @Override
                public void onSegment(Segment segment) {
                  Set<Integer> begun = new HashSet<>();
                  Set<Integer> running = new HashSet<>();
                  for (int q = 0; q < segment.queries(); q++) {
                    Segment.Token token = segment.token(q);
                    running.add(token.row());
                    if (token.ownIndex() == 0) {
                      begun.add(token.row());
                    }
                  }
                  mostAtOnce = Math.max(mostAtOnce, running.size());
                  besideOthers += !begun.isEmpty() && begun.size() < running.size() ? 1 : 0;
                  fromTheStart += segment.firstSlot() == segment.prefixLength() ? 1 : 0;
                }
              }));
    }
  }

  @Test
  void runsTheTextBeforeImagesOnlyOnce() {
    Random random = new Random(31);
    PhaseTimes times = new PhaseTimes();
    try (Engine engine = new Engine(model, RULES, UNLIMITED, times)) {
      for (int i = 0; i < 3; i++) {
        Prefix alone = new Prefix();
        Prefix after = new Prefix();
        ImageInput image = image(random);
        List<List<int[]>> rows = List.of(rows(random, 2, 5));

        List<Generated> expected = answer(RULES, request(image, 7, rows, alone));
        assertSameRows(take(engine.submit(request(image, 7, rows, after))), expected);

        assertThat(after.firstSlot).isEqualTo(i == 0 ? 0 : 7);
        assertThat(after.seen).hasSameSizeAs(alone.seen); // Hooks see all of it.
        for (int call = 0; call < alone.seen.size(); call++) {
          float[] numbers = after.seen.get(call);
          assertThat(numbers).hasSameSizeAs(alone.seen.get(call));
          for (int n = 0; n < numbers.length; n++) {
            assertThat(numbers[n]).isCloseTo(alone.seen.get(call)[n], within(1e-4f));
          }
        }
      }
    }
    assertThat(promptPassTokens(times)).isEqualTo(times.promptTokens());
  }

  private static long promptPassTokens(PhaseTimes times) {
    return times.passes().entrySet().stream()
        .filter(pass -> pass.getKey().phase() == Phase.PROMPT_PASS)
        .mapToLong(pass -> pass.getKey().tokens() * pass.getValue().count())
        .sum();
  }

  /** Sees hidden states and normed inputs of a prefix. */
  private static final class Prefix implements Supplier<Watch> {
    final List<float[]> seen = new ArrayList<>(); // In the order of the calls.
    int firstSlot = -1;

    @Override
    public Watch get() {
      return new Seeing(
          new AttentionHook() {
            @Override
            public boolean asks(Point point, int layer) {
              return layer < model.decoder().config().numHiddenLayers()
                  && (point == Point.HIDDEN_STATES || point == Point.NORMED_INPUT);
            }

            @Override
            public void onSegment(Segment segment) {
              firstSlot = segment.firstSlot();
            }

            @Override
            public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
              seen.add(hiddenStates.toFloatArray());
            }

            @Override
            public void onNormedInput(
                int layer, NDArray normed, LlamaDecoder.Projections projections) {
              seen.add(normed.toFloatArray());
            }
          },
          List.of(AttentionHook.NONE));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"SCORES", "WEIGHTS", "HEAD_OUTPUTS"})
  void runsTheTextAgainForAHookThatAsksWhereItLooks(AttentionHook.Point asked) {
    Random random = new Random(32);
    List<Integer> firstSlots = new ArrayList<>();
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public boolean asks(Point point, int layer) {
            return point == asked && layer == 1;
          }

          @Override
          public void onSegment(Segment segment) {
            firstSlots.add(segment.firstSlot());
          }
        };
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      for (int i = 0; i < 2; i++) {
        take(
            engine.submit(
                request(
                    image(random),
                    7,
                    List.of(rows(random, 1, 5)),
                    () -> new Seeing(hook, List.of(AttentionHook.NONE)))));
      }
    }
    assertThat(firstSlots).containsExactly(0, 0);
  }

  @Test
  void keepsNoTextOfAPrefixThatIsNotFinite() {
    Random random = new Random(34);
    Prefix after = new Prefix();
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 1, 5);
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      Supplier<Watch> spoiling =
          () -> new Seeing(spoiling(token -> true), List.of(AttentionHook.NONE));
      List<Generated> spoilt =
          take(engine.submit(request(image(random), 7, List.of(rows), spoiling)));
      assertThat(spoilt.get(0).finish()).isEqualTo(Finish.NUMERIC_FAILURE);

      List<Generated> answers = take(engine.submit(request(image, 7, List.of(rows), after)));
      assertSameRows(answers, answer(RULES, request(image, 7, List.of(rows), () -> Watch.NONE)));
    }
    assertThat(after.firstSlot).isZero();
  }

  @Test
  void keepsTheTextsThatWereUsedLast() {
    Random random = new Random(33);
    List<Integer> firstSlots = new ArrayList<>();
    try (Engine engine = new Engine(model, rules(1, Set.of()), UNLIMITED, new PhaseTimes())) {
      // Together more than are kept; the last alone is too long.
      for (int text : List.of(300, 400, 300, 500, 300, 400, 1100, 1100, 300)) {
        Prefix prefix = new Prefix();
        take(engine.submit(request(image(random), text, List.of(rows(random, 1, 2)), prefix)));
        firstSlots.add(prefix.firstSlot);
      }
    }
    assertThat(firstSlots).containsExactly(0, 0, 300, 0, 300, 0, 0, 0, 300);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 60})
  void hasRoomForTheLongestRowWhateverTheBudget(int batchTokens) {
    Random random = new Random(12);
    ImageInput image = image(random);
    List<int[]> rows = new ArrayList<>(rows(random, 5, 3));
    rows.add(2, random.ints(90, 3, 450).toArray());
    assertSameRows(answer(batchTokens, RULES, request(image, rows)), alone(RULES, image, rows));
  }

  @Test
  void beginsALongPromptBesideRowsThatAreBeingAnswered() {
    Random random = new Random(13);
    List<Request> requests = new ArrayList<>();
    Passes passes = new Passes(names -> {});
    for (String name : List.of("first", "second", "third")) {
      // Longer than what several requests that begin in one pass may have together.
      requests.add(request(image(random), 1100, List.of(rows(random, 1, 5)), passes.watch(name)));
    }
    List<List<Generated>> expected = each(rules(8, Set.of()), requests);
    passes.reset();
    assertSameImages(together(UNLIMITED, rules(8, Set.of()), passes, requests), expected);
    assertThat(passes.names.get(0)).containsExactly("first");
    assertThat(passes.names.get(1)).containsExactly("first", "second");
    assertThat(passes.names.get(2)).containsExactly("first", "second", "third");
  }

  @Test
  void keepsToTheBudget() {
    Passes passes = new Passes(names -> {});
    List<Request> requests = fourRequests(passes);
    long ofOne = PREFIX_TOKENS + 2 * (5 + 8);
    together((int) (2 * ofOne + 5), rules(8, Set.of()), passes, requests);
    assertThat(passes.names.get(0)).containsExactly("0");
    assertThat(passes.names.get(1)).containsExactly("0", "1");
    assertThat(passes.names).allSatisfy(names -> assertThat(names).hasSizeLessThan(3));
    assertThat(passes.names).anySatisfy(names -> assertThat(names).containsExactly("2", "3"));
  }

  @Test
  void stopsAtAStopTokenAndKeepsIt() {
    ImageInput image = image(new Random(7));
    int[] own = {300, 301};
    Generated long8 = one(image, own, rules(8, Set.of()));
    assertThat(long8.finish()).isEqualTo(Finish.LENGTH);
    assertThat(long8.tokenIds()).hasSize(8);
    int stop = long8.tokenIds().get(3);
    int first = long8.tokenIds().indexOf(stop);
    Generated stopped = one(image, own, rules(8, Set.of(stop)));
    assertThat(stopped.finish()).isEqualTo(Finish.STOP);
    assertThat(stopped.tokenIds()).isEqualTo(long8.tokenIds().subList(0, first + 1));
    Generated shorter = one(image, own, rules(3, Set.of()));
    assertThat(shorter.finish()).isEqualTo(Finish.LENGTH);
    assertThat(shorter.tokenIds()).isEqualTo(long8.tokenIds().subList(0, 3));
  }

  @Test
  void countsAStopTokenAtTheLastPlaceAsAStop() {
    ImageInput image = image(new Random(7));
    int[] own = {300, 301};
    Generated first = one(image, own, rules(1, Set.of()));
    int token = first.tokenIds().get(0);
    Generated stopped = one(image, own, rules(1, Set.of(token)));
    assertThat(first.finish()).isEqualTo(Finish.LENGTH);
    assertThat(stopped.finish()).isEqualTo(Finish.STOP);
    assertThat(stopped.tokenIds()).containsExactly(token);
  }

  @RepeatedTest(5)
  void givesTheNextBestTokenInPlaceOfAStopThatComesTooEarly(RepetitionInfo repetition) {
    Random random = new Random(300 + repetition.getCurrentRepetition());
    ImageInput image = image(random);
    int[] own = rows(random, 1, 6).get(0);
    Generated free = one(image, own, new GenerationRules(8, 0, Set.of(), 2, List.of()));
    int place = 1 + random.nextInt(3);
    int stop = free.tokenIds().get(place);
    int first = free.tokenIds().indexOf(stop);

    GenerationRules inTime = new GenerationRules(8, first, Set.of(stop), 0, List.of());
    Generated stopped = one(image, own, inTime);
    assertThat(stopped.finish()).isEqualTo(Finish.STOP);
    assertThat(stopped.tokenIds()).isEqualTo(free.tokenIds().subList(0, first + 1));

    GenerationRules early = new GenerationRules(8, first + 1, Set.of(stop), 2, List.of(stop));
    Generated delayed = one(image, own, early);
    TokenLogprob best = free.topLogprobs().get(first).get(0);
    TokenLogprob second = free.topLogprobs().get(first).get(1);
    assertThat(delayed.tokenIds().subList(0, first)).isEqualTo(free.tokenIds().subList(0, first));
    assertThat(delayed.tokenIds().get(first)).isEqualTo(second.tokenId());
    assertThat(delayed.topLogprobs().get(first).get(0).tokenId()).isEqualTo(second.tokenId());
    // Its probability is that among the tokens that are permitted.
    assertThat(delayed.topLogprobs().get(first).get(0).logprob())
        .isCloseTo(second.logprob() - Math.log1p(-Math.exp(best.logprob())), within(1e-4));
    assertThat(delayed.choiceProbabilities().get(0)).isZero();
  }

  @Test
  void choosesAStopTokenOnceARowIsLongEnoughThoughItsNeighboursAreNot() {
    Random random = new Random(21);
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 12, 6);
    Set<Integer> stops = new HashSet<>();
    for (Generated free : answer(rules(8, Set.of()), request(image, rows))) {
      stops.addAll(free.tokenIds().subList(0, 3));
    }
    GenerationRules rules = new GenerationRules(8, 3, stops, 0, List.of());
    // So few fit at once that rows begin at different times.
    List<Generated> answers = answer(PREFIX_TOKENS + 50, rules, request(image, rows));
    assertSameRows(answers, alone(rules, image, rows));
    assertThat(answers).extracting(Generated::finish).contains(Finish.STOP);
    for (Generated answer : answers) {
      assertThat(answer.tokenIds()).hasSizeGreaterThan(3);
      assertThat(answer.tokenIds().subList(0, 3)).doesNotContainAnyElementsOf(stops);
      int last = answer.tokenIds().size() - 1;
      assertThat(answer.tokenIds().subList(3, last)).doesNotContainAnyElementsOf(stops);
    }
  }

  @Test
  void reportsTheMostProbableTokensInFallingOrderChosenFirst() {
    GenerationRules rules = new GenerationRules(5, 0, Set.of(2), 4, List.of());
    List<int[]> rows = List.of(new int[] {300}, new int[] {301, 302, 303}, new int[] {310, 44});
    for (Generated answer : answer(rules, request(image(new Random(3)), rows))) {
      assertThat(answer.topLogprobs()).hasSameSizeAs(answer.tokenIds());
      double sum = 0;
      for (int t = 0; t < answer.tokenIds().size(); t++) {
        List<TokenLogprob> top = answer.topLogprobs().get(t);
        assertThat(top).hasSize(4);
        assertThat(top.get(0).tokenId()).isEqualTo(answer.tokenIds().get(t));
        assertThat(top).isSortedAccordingTo((a, b) -> Double.compare(b.logprob(), a.logprob()));
        assertThat(top).extracting(TokenLogprob::tokenId).doesNotHaveDuplicates();
        sum += top.get(0).logprob();
      }
      assertThat(answer.logprob()).isCloseTo(sum, within(1e-5));
    }
  }

  @Test
  void reportsProbabilitiesOfChoicesAsFirstAnswerToken() {
    ImageInput image = image(new Random(4));
    int[] own = {300, 17};
    Generated top = one(image, own, new GenerationRules(3, 0, Set.of(2), 2, List.of()));
    List<TokenLogprob> best = top.topLogprobs().get(0);
    List<Integer> choices = List.of(best.get(1).tokenId(), best.get(0).tokenId(), 5);
    Generated answer = one(image, own, new GenerationRules(3, 0, Set.of(2), 0, choices));
    assertThat(answer.choiceProbabilities()).hasSize(3);
    assertThat(answer.choiceProbabilities().get(0))
        .isCloseTo(Math.exp(best.get(1).logprob()), within(1e-6));
    assertThat(answer.choiceProbabilities().get(1))
        .isCloseTo(Math.exp(best.get(0).logprob()), within(1e-6));
    assertThat(answer.choiceProbabilities().get(2)).isBetween(0.0, 1.0);
  }

  @Test
  void announcesForEveryRowTheQueryThatGaveEachAnswerToken() {
    ImageInput image = image(new Random(7));
    List<int[]> rows = List.of(new int[] {300, 301}, new int[] {20, 21, 22});
    List<Generated> plain = answer(RULES, request(image, rows));
    int stop = plain.get(0).tokenIds().get(0);
    assertThat(plain.get(1).tokenIds().subList(0, 3)).doesNotContain(stop);

    List<List<Segment.Token>> answering = new ArrayList<>();
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            answering.add(IntStream.of(segment.answerQueries()).mapToObj(segment::token).toList());
          }
        };
    List<Generated> answers =
        answer(rules(3, Set.of(stop)), request(image, 2, List.of(rows), watching(hook)));
    assertThat(answers.get(0).tokenIds()).hasSize(1);
    assertThat(answers.get(1).tokenIds()).hasSize(3);
    assertThat(answering)
        .containsExactly(
            List.of(new Segment.Token(0, 1, true), new Segment.Token(1, 2, true)),
            List.of(new Segment.Token(1, 3, true)),
            List.of(new Segment.Token(1, 4, true)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 60, UNLIMITED})
  void showsEachAnsweringQueryOnceForEachAnswerToken(int batchTokens) {
    Random random = new Random(31);
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 9, 5);
    List<List<int[]>> groups = List.of(rows.subList(0, 4), rows.subList(4, 9));
    Map<String, List<Integer>> announced = new TreeMap<>(); // By group and row, own indices.
    Map<String, List<Integer>> weighed = new TreeMap<>(); // The same at the last layer.
    List<Boolean> prefixes = new ArrayList<>();
    Supplier<Watch> watch =
        () ->
            new Seeing(
                new AttentionHook() {
                  @Override
                  public void onSegment(Segment segment) {
                    prefixes.add(segment.isPrefix() && segment.queries() == PREFIX_TOKENS);
                  }
                },
                IntStream.range(0, 2)
                    .mapToObj(g -> noting("group %d row ".formatted(g), announced, weighed))
                    .toList());
    List<Generated> answers = answer(batchTokens, RULES, request(image, 2, groups, watch));

    Map<String, List<Integer>> expected = new TreeMap<>();
    for (int r = 0; r < rows.size(); r++) {
      int prompt = rows.get(r).length;
      expected.put(
          "group %d row %d".formatted(r < 4 ? 0 : 1, r < 4 ? r : r - 4),
          IntStream.range(0, answers.get(r).tokenIds().size())
              .mapToObj(t -> prompt - 1 + t)
              .toList());
    }
    assertThat(announced).isEqualTo(expected);
    assertThat(weighed).isEqualTo(expected);
    assertThat(prefixes).containsExactly(true);
  }

  private static AttentionHook noting(
      String name, Map<String, List<Integer>> announced, Map<String, List<Integer>> weighed) {
    int last = model.decoder().config().numHiddenLayers() - 1;
    return new AttentionHook() {
      @Override
      public boolean asks(Point point, int layer) {
        return point == Point.WEIGHTS && layer == last;
      }

      @Override
      public void onSegment(Segment segment) {
        note(segment, announced);
      }

      @Override
      public NDArray onWeights(int layer, Segment segment, NDArray weights) {
        assertThat(weights.getShape().get(1)).isEqualTo(segment.queries());
        assertThat(segment.answerQueries()).hasSize(segment.queries()); // No others are computed.
        note(segment, weighed);
        return weights;
      }

      private void note(Segment segment, Map<String, List<Integer>> notes) {
        for (int query : segment.answerQueries()) {
          Segment.Token token = segment.token(query);
          notes.computeIfAbsent(name + token.row(), key -> new ArrayList<>()).add(token.ownIndex());
        }
      }
    };
  }

  /** In a prompt's first token, in the one that answers, in a generated one. */
  @ParameterizedTest
  @ValueSource(ints = {0, 2, 3})
  void failsARowWithoutFiniteNumbersButNotItsNeighbours(int ownIndex) {
    Random random = new Random(41);
    ImageInput image = image(random);
    List<int[]> rows = new ArrayList<>(rows(random, 3, 6));
    rows.add(1, new int[] {300, 301, 302});
    AttentionHook spoiling = spoiling(token -> token.row() == 1 && token.ownIndex() == ownIndex);
    Request request = request(image, 2, List.of(rows), watching(spoiling));
    List<Generated> expected = alone(rules(8, Set.of()), image, rows);
    for (int batchTokens : List.of(UNLIMITED, 1)) { // Others beside it, or in its slots after it.
      List<Generated> answers = answer(batchTokens, rules(8, Set.of()), request);
      for (int r : List.of(0, 2, 3)) {
        assertSame(answers.get(r), expected.get(r));
      }
      assertThat(answers.get(1).finish()).isEqualTo(Finish.NUMERIC_FAILURE);
      assertThat(answers.get(1).tokenIds())
          .isEqualTo(expected.get(1).tokenIds().subList(0, ownIndex == 3 ? 1 : 0));
    }
  }

  @Test
  void failsAllRowsOfAPrefixWithoutFiniteNumbersButNoOthers() {
    Random random = new Random(42);
    Passes passes = new Passes(names -> {});
    Request first = request(image(random), 2, List.of(rows(random, 3, 6)), passes.watch("first"));
    AttentionHook spoiling = spoiling(token -> token.ownIndex() == 5);
    Request spoilt =
        request(
            image(random),
            2,
            List.of(rows(random, 2, 6)),
            () -> new Seeing(spoiling, List.of(AttentionHook.NONE)));
    List<Generated> expected = answer(RULES, first);
    List<List<Generated>> answers = together(UNLIMITED, RULES, passes, List.of(first, spoilt));
    assertSameRows(answers.get(0), expected);
    assertThat(answers.get(1))
        .hasSize(2)
        .allSatisfy(answer -> assertThat(answer.finish()).isEqualTo(Finish.NUMERIC_FAILURE));
  }

  private static AttentionHook spoiling(Predicate<Segment.Token> which) {
    return new AttentionHook() {
      @Override
      public boolean asks(Point point, int layer) {
        return point == Point.HEAD_OUTPUTS && layer == 1;
      }

      @Override
      public NDArray onHeadOutputs(int layer, Segment segment, NDArray outputs) {
        int width = (int) outputs.getShape().get(1);
        float[] spoilt = outputs.toFloatArray();
        for (int q = 0; q < segment.queries(); q++) {
          if (which.test(segment.token(q))) {
            Arrays.fill(spoilt, q * width, (q + 1) * width, Float.NaN);
          }
        }
        return outputs.getManager().create(spoilt, outputs.getShape());
      }
    };
  }

  @Test
  void countsAPrefixOnceAndEveryRowsOwnTokens() {
    PhaseTimes times = new PhaseTimes();
    List<int[]> rows = List.of(new int[] {300}, new int[] {301, 302});
    List<Generated> answers;
    try (Engine engine = new Engine(model, RULES, 1, times)) { // One row after the other.
      answers = take(engine.submit(request(image(new Random(5)), rows)));
      assertThat(times.promptTokens()).isEqualTo(PREFIX_TOKENS + 3L);
      assertThat(times.generatedTokens()).isEqualTo(generated(answers));
      answers.addAll(take(engine.submit(request(image(new Random(6)), rows))));
    }
    // The two tokens before the image ran once.
    assertThat(times.promptTokens()).isEqualTo(2 * (PREFIX_TOKENS + 3L) - 2);
    assertThat(times.answeredRows()).isEqualTo(4);
    assertThat(times.generatedTokens()).isEqualTo(generated(answers));
    assertThat(times.seconds(Phase.VISION)).isPositive();
    assertThat(times.seconds(Phase.PROMPT_PASS)).isPositive();
    assertThat(times.seconds(Phase.GENERATION)).isPositive();
    assertThat(times.seconds(Phase.DECODE_IMAGE)).isZero(); // Happens elsewhere.
    assertThat(times.seconds(Phase.HOOK)).isZero();
  }

  @Test
  void countsOnceWhatHadToBeginAgain() {
    List<int[]> rows = List.of(new int[] {300}, new int[] {301, 302});
    int[] passes = new int[1];
    AttentionHook failing =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            if (++passes[0] == 3) {
              throw new EngineException(MEMORY);
            }
          }
        };
    PhaseTimes times = new PhaseTimes();
    List<Generated> answers;
    try (Engine engine = new Engine(model, RULES, UNLIMITED, times)) {
      answers =
          take(engine.submit(request(image(new Random(5)), 2, List.of(rows), watching(failing))));
    }
    assertThat(passes[0]).isGreaterThan(3);
    assertThat(times.promptTokens()).isEqualTo(PREFIX_TOKENS + 3L);
    assertThat(times.answeredRows()).isEqualTo(2);
    assertThat(times.generatedTokens()).isEqualTo(generated(answers));
  }

  @Test
  void notesPassesBySize() {
    PhaseTimes times = new PhaseTimes();
    List<int[]> rows = List.of(new int[] {300}, new int[] {301, 302});
    try (Engine engine = new Engine(model, rules(3, Set.of()), UNLIMITED, times)) {
      take(engine.submit(request(image(new Random(5)), rows)));
    }
    PassSize prompts = new PassSize(Phase.PROMPT_PASS, PREFIX_TOKENS + 3, 2);
    PassSize generated = new PassSize(Phase.GENERATION, 2, 2);
    assertThat(times.passes()).containsOnlyKeys(prompts, generated);
    times
        .passes()
        .forEach(
            (size, sum) -> {
              assertThat(sum.count()).isEqualTo(size.equals(prompts) ? 1 : 2);
              assertThat(sum.nanos() / 1e9).isGreaterThanOrEqualTo(times.seconds(size.phase()));
            });
  }

  private static long generated(List<Generated> answers) {
    return answers.stream().mapToLong(answer -> answer.tokenIds().size()).sum();
  }

  @Test
  void leavesTheTimeOfHooksOutOfTheOtherPhases() {
    PhaseTimes times = new PhaseTimes();
    long inHook = 3_000_000_000L; // More than the passes take, though nobody waits for it.
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            times.add(Phase.HOOK, inHook);
          }
        };
    Request request =
        request(image(new Random(5)), 2, List.of(List.of(new int[] {300})), watching(hook));
    try (Engine engine = new Engine(model, rules(3, Set.of()), UNLIMITED, times)) {
      take(engine.submit(request));
    }
    assertThat(times.seconds(Phase.HOOK)).isCloseTo(9, within(1e-9));
    assertThat(times.seconds(Phase.PROMPT_PASS)).isNegative();
    assertThat(times.seconds(Phase.GENERATION)).isBetween(-6.0, -3.0);
    assertThat(times.seconds(Phase.VISION)).isPositive();
  }

  @Test
  void beginsEverythingAgainWithHalfAsMuchWhereMemoryDoesNotSuffice() {
    int[] failures = new int[1];
    Passes passes =
        new Passes(
            names -> {
              // While four run together, then two; nothing that runs alone fails.
              if ((failures[0] == 0 && names.size() == 4)
                  || (failures[0] == 1 && names.size() == 2)) {
                failures[0]++;
                throw new EngineException(MEMORY + ": you tried to allocate 4 bytes");
              }
            });
    List<Request> requests = fourRequests(passes);
    List<List<Generated>> expected = each(RULES, requests);
    passes.reset();

    assertSameImages(together(UNLIMITED, RULES, passes, requests), expected);

    assertThat(failures[0]).isEqualTo(2);
    int failed = passes.names.indexOf(List.of("0", "1", "2", "3"));
    List<List<String>> later = passes.names.subList(failed + 1, passes.names.size());
    assertThat(later.get(0)).containsExactly("0", "1");
    assertThat(later.subList(1, later.size()))
        .allSatisfy(names -> assertThat(names).hasSize(1))
        .startsWith(List.of("0"))
        .endsWith(List.of("3"));
    // The two that had not run again were not opened again.
    assertThat(passes.opened.get("0")).isEqualTo(3);
    assertThat(passes.opened.get("1")).isEqualTo(3);
    assertThat(passes.opened.get("2")).isEqualTo(2);
    assertThat(passes.opened.get("3")).isEqualTo(2);
    assertThat(passes.closed).isEqualTo(passes.opened);
  }

  @Test
  void runsFewerRowsOfARequestAtOnceWhereMemoryDoesNotSuffice() {
    Random random = new Random(51);
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 16, 6);
    List<Integer> sizes = new ArrayList<>();
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            sizes.add(segment.answerQueries().length);
            if (segment.answerQueries().length > 3) {
              throw new EngineException("CUDA out of memory. Tried to allocate 2.00 GiB");
            }
          }
        };
    Request request = request(image, 2, List.of(rows), watching(hook));
    assertSameRows(answer(RULES, request), alone(RULES, image, rows));
    assertThat(sizes).startsWith(16).endsWith(1);
    int last = IntStream.range(0, sizes.size()).filter(i -> sizes.get(i) > 3).max().orElse(0);
    assertThat(sizes.subList(last + 1, sizes.size())).contains(2);
  }

  /** CUDA repeats such an error at every call, so nothing can be answered in this process. */
  @Test
  void isLostOnceTheDeviceIs() {
    Random random = new Random(57);
    ImageInput image = image(random);
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            throw new EngineException("CUDA error: an illegal memory access\nand a stack trace");
          }
        };
    Request broken = request(image, 2, List.of(rows(random, 2, 3)), watching(hook));
    Request sound = request(image, 2, List.of(rows(random, 2, 3)), watching(AttentionHook.NONE));
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      for (Request request : List.of(broken, sound)) {
        assertThatThrownBy(engine.submit(request)::join)
            .isInstanceOf(CompletionException.class)
            .cause()
            .isInstanceOf(DeviceLostException.class)
            .hasMessage("The device is lost to this process: CUDA error: an illegal memory access");
      }
    }
  }

  @Test
  void refusesWhatNeverFitsAndAnswersTheOthers() {
    Passes passes =
        new Passes(
            names -> {
              if (names.contains("2")) {
                throw new EngineException("\n" + MEMORY + "\nand a stack trace");
              }
            });
    List<Request> requests = fourRequests(passes);
    List<Request> others = List.of(requests.get(0), requests.get(1), requests.get(3));
    List<List<Generated>> expected = each(RULES, others);
    passes.reset();

    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      List<CompletableFuture<Answers>> ended = submitTogether(engine, passes, requests);
      assertSameImages(
          List.of(take(ended.get(0)), take(ended.get(1)), take(ended.get(3))), expected);
      assertThatThrownBy(ended.get(2)::join)
          .isInstanceOf(CompletionException.class)
          .cause()
          .isInstanceOf(OutOfDeviceMemoryException.class)
          .hasMessage(MEMORY)
          .hasCauseInstanceOf(EngineException.class);
    }
    // Beside three, beside one, alone, and then one of its two rows at a time.
    assertThat(passes.names.stream().filter(names -> names.contains("2")).map(List::size))
        .containsExactly(4, 2, 1, 1);
    assertThat(passes.opened.get("2")).isEqualTo(4);
    assertThat(passes.closed).isEqualTo(passes.opened);
  }

  @Test
  void refusesWhatNeverFitsBeforeAnybodyAsksForMore() {
    Random random = new Random(58);
    AttentionHook failing =
        new AttentionHook() {
          @Override
          public void onSegment(Segment segment) {
            throw new EngineException(MEMORY);
          }
        };
    Request never = request(image(random), 2, List.of(rows(random, 2, 3)), watching(failing));
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      assertThatThrownBy(engine.submit(never).orTimeout(1, TimeUnit.MINUTES)::join)
          .hasCauseInstanceOf(OutOfDeviceMemoryException.class);
    }
  }

  @Test
  void runsFewerRowsOfARequestWhereMemoryDoesNotSufficeToBeginIt() {
    Random random = new Random(52);
    ImageInput image = image(random);
    List<int[]> rows = rows(random, 16, 6);
    int[] tries = new int[1];
    Request request =
        request(
            image,
            2,
            List.of(rows),
            () -> {
              if (++tries[0] < 3) {
                throw new EngineException(MEMORY);
              }
              return Watch.NONE;
            });
    assertSameRows(answer(RULES, request), alone(RULES, image, rows));
    assertThat(tries[0]).isEqualTo(3);
  }

  @Test
  void refusesWhatCannotEvenBeginAlone() {
    Random random = new Random(53);
    Request never =
        request(
            image(random),
            2,
            List.of(rows(random, 5, 6)),
            () -> {
              throw new EngineException(MEMORY);
            });
    Request other = request(image(random), rows(random, 2, 6));
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      CompletableFuture<Answers> refused = engine.submit(never);
      assertThatThrownBy(refused::join)
          .hasCauseInstanceOf(OutOfDeviceMemoryException.class)
          .cause()
          .hasMessage(MEMORY);
      assertSameRows(take(engine.submit(other)), answer(RULES, other));
    }
  }

  @Test
  void waitsUntilOthersHaveEndedWhereMemoryDoesNotSufficeToBeginBesideThem() {
    int[] tries = new int[1];
    Passes passes = new Passes(names -> {});
    List<Request> requests = new ArrayList<>(fourRequests(passes));
    GenerationRules rules = rules(8, Set.of());
    List<List<Generated>> expected = each(rules, requests);
    passes.reset();
    Request third = requests.get(2);
    requests.set(
        2,
        request(
            third.image(),
            2,
            third.groups(),
            () -> {
              if (++tries[0] == 1) {
                throw new EngineException(MEMORY);
              }
              return third.watch().get();
            }));
    assertSameImages(together(UNLIMITED, rules, passes, requests), expected);
    assertThat(tries[0]).isEqualTo(2);
    assertThat(passes.names).contains(List.of("0", "1"));
    assertThat(passes.names).noneMatch(names -> names.contains("0") && names.contains("2"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"exception", "error", "engine"})
  void failsWhatIsUnderWayWhereAHookFailsAndGoesOn(String kind) {
    Passes passes =
        new Passes(
            names -> {
              if (names.size() == 4) {
                switch (kind) {
                  case "exception" -> throw new IllegalStateException("No more");
                  case "error" -> throw new StackOverflowError("No more");
                  default -> throw new EngineException("No more");
                }
              }
            });
    List<Request> requests = fourRequests(passes);
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      for (CompletableFuture<Answers> failed : submitTogether(engine, passes, requests)) {
        assertThatThrownBy(failed::join).cause().hasMessage("No more");
      }
      assertThat(passes.closed).isEqualTo(passes.opened);
      assertSameRows(take(engine.submit(requests.get(1))), answer(RULES, requests.get(1)));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"exception", "error"})
  void failsARequestThatCannotBeginAndGoesOn(String kind) {
    Random random = new Random(61);
    Supplier<Watch> unwilling =
        () -> {
          if (kind.equals("error")) {
            throw new StackOverflowError("Not today");
          }
          throw new IllegalStateException("Not today");
        };
    Request first = request(image(random), 2, List.of(rows(random, 2, 6)), unwilling);
    List<int[]> rows = rows(random, 2, 6);
    Request other = request(image(random), rows);
    long ofOther = PREFIX_TOKENS + rows.stream().mapToLong(row -> row.length).sum();
    PhaseTimes times = new PhaseTimes();
    try (Engine engine = new Engine(model, rules(1, Set.of()), UNLIMITED, times)) {
      CompletableFuture<Answers> failed = engine.submit(first);
      assertThatThrownBy(failed::join).cause().hasMessage("Not today");
      assertSameRows(take(engine.submit(other)), answer(rules(1, Set.of()), other));
    }
    assertThat(times.promptTokens()).isEqualTo(ofOther);
    assertThat(times.seconds(Phase.GENERATION)).isZero(); // No pass over nothing.
  }

  @Test
  void closesTheWatchOfARequestThatCannotBegin() {
    Random random = new Random(62);
    int[] closed = new int[1];
    Watch watch = new Seeing(AttentionHook.NONE, List.of()) { // It has no hook for the group.
          @Override
          public void close() {
            closed[0]++;
          }
        };
    Request request = request(image(random), 2, List.of(rows(random, 2, 6)), () -> watch);
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      CompletableFuture<Answers> failed = engine.submit(request);
      assertThatThrownBy(failed::join).hasCauseInstanceOf(IndexOutOfBoundsException.class);
    }
    assertThat(closed[0]).isEqualTo(1);
  }

  @Test
  void endsWhatWaitsWhenItIsClosed() throws InterruptedException {
    Random random = new Random(71);
    Passes passes = new Passes(names -> {});
    CountDownLatch gate = passes.gate();
    List<CompletableFuture<Answers>> waiting = Collections.synchronizedList(new ArrayList<>());
    Engine engine = new Engine(model, RULES, 1, new PhaseTimes());
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      requests.add(
          request(image(random), 2, List.of(rows(random, 2, 6)), passes.watch(String.valueOf(i))));
    }
    Thread caller =
        new Thread(() -> requests.forEach(request -> waiting.add(engine.submit(request))));
    caller.start();
    // One is under way, eight wait, and one more is at the door.
    while (waiting.size() < 9 || caller.getState() != Thread.State.WAITING) {
      Thread.sleep(5);
    }
    assertThat(waiting).hasSize(9);
    Thread closing = new Thread(engine::close);
    closing.start();
    while (closing.getState() != Thread.State.WAITING) {
      Thread.sleep(5);
    }
    caller.join(); // Nobody is kept waiting at the door.
    gate.countDown();
    closing.join();
    waiting.add(engine.submit(requests.get(0)));

    assertThat(waiting).hasSize(13);
    for (CompletableFuture<Answers> ended : waiting) {
      assertThatThrownBy(ended::join)
          .isInstanceOf(CancellationException.class)
          .hasMessage("The engine is closed");
    }
    assertThat(passes.opened).containsOnlyKeys("0");
    assertThat(passes.closed).isEqualTo(passes.opened);
    engine.close(); // Once more does nothing.
  }

  @Test
  void closesTheWatchOfAnswersThatNobodyTakes() {
    Passes passes = new Passes(names -> {});
    List<Request> requests = fourRequests(passes);
    List<List<Generated>> expected = each(RULES, requests);
    passes.reset();
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      CountDownLatch gate = passes.gate();
      List<CompletableFuture<Answers>> answers = requests.stream().map(engine::submit).toList();
      assertThat(answers.get(0).cancel(false)).isTrue();
      assertThat(answers.get(2).cancel(false)).isTrue();
      gate.countDown();
      assertSameImages(
          List.of(take(answers.get(1)), take(answers.get(3))),
          List.of(expected.get(1), expected.get(3)));
    }
    assertThat(passes.closed).isEqualTo(passes.opened);
  }

  @Test
  void refusesAPromptThatEndsWithItsImage() {
    ImageInput image = image(new Random(5));
    assertThatThrownBy(() -> request(image, List.of(new int[] {300}, new int[0])))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("A prompt must have a token after its image");
  }

  @Test
  void refusesARequestWithoutRows() {
    ImageInput image = image(new Random(5));
    assertThatThrownBy(() -> request(image, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("A request must have a row");
  }

  @Test
  void refusesMoreImageTokensThanTheEncoderMakes() {
    int[] ids = new int[2 + IMAGE_TOKENS + 1];
    Arrays.fill(ids, IMAGE_ID);
    Request tooMany =
        new Request(
            image(new Random(5)), ids, 2, List.of(List.of(new int[] {300})), () -> Watch.NONE);
    try (Engine engine = new Engine(model, RULES, UNLIMITED, new PhaseTimes())) {
      CompletableFuture<Answers> refused = engine.submit(tooMany);
      assertThatThrownBy(refused::join)
          .hasCauseInstanceOf(IllegalStateException.class)
          .cause()
          .hasMessage(
              "Cannot place the image: the prompt holds 17 image tokens but the encoder made 16");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1})
  void refusesRulesThatCannotBeFollowed(int number) {
    assertThatThrownBy(() -> rules(number, Set.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Max new tokens must be above 0, not " + number);
    assertThatThrownBy(() -> new GenerationRules(1, 0, Set.of(), number - 1, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Top logprobs must not be below 0, not " + (number - 1));
    assertThatThrownBy(() -> new GenerationRules(3, number - 1, Set.of(), 0, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Min new tokens must be from 0 to max new tokens 3, not " + (number - 1));
    assertThatThrownBy(() -> new GenerationRules(3, 4 - number, Set.of(), 0, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Min new tokens must be from 0 to max new tokens 3, not " + (4 - number));
  }

  private static GenerationRules rules(int maxNewTokens, Set<Integer> stopTokens) {
    return new GenerationRules(maxNewTokens, 0, stopTokens, 0, List.of());
  }

  private static void assertSame(Generated actual, Generated expected) {
    assertThat(actual.tokenIds()).isEqualTo(expected.tokenIds());
    assertThat(actual.finish()).isEqualTo(expected.finish());
    assertThat(actual.logprob()).isCloseTo(expected.logprob(), within(1e-4));
  }

  private static void assertSameRows(List<Generated> actual, List<Generated> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int r = 0; r < expected.size(); r++) {
      assertSame(actual.get(r), expected.get(r));
    }
  }

  private static void assertSameImages(
      List<List<Generated>> actual, List<List<Generated>> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < expected.size(); i++) {
      assertSameRows(actual.get(i), expected.get(i));
    }
  }

  /** Answers of the rows of all groups, in order. */
  private static List<Generated> take(CompletableFuture<Answers> answers) {
    Answers taken = answers.join();
    taken.watch().close();
    return new ArrayList<>(taken.byGroup().stream().flatMap(List::stream).toList());
  }

  private static List<Generated> answer(GenerationRules rules, Request request) {
    return answer(UNLIMITED, rules, request);
  }

  private static List<Generated> answer(int batchTokens, GenerationRules rules, Request request) {
    try (Engine engine = new Engine(model, rules, batchTokens, new PhaseTimes())) {
      return take(engine.submit(request));
    }
  }

  private static Generated one(ImageInput image, int[] own, GenerationRules rules) {
    return answer(rules, request(image, List.of(own))).get(0);
  }

  /** Each row by an engine of its own. */
  private static List<Generated> alone(GenerationRules rules, ImageInput image, List<int[]> rows) {
    return rows.stream().map(row -> one(image, row, rules)).toList();
  }

  /** Each request by an engine of its own. */
  private static List<List<Generated>> each(GenerationRules rules, List<Request> requests) {
    return requests.stream().map(request -> answer(rules, request)).toList();
  }

  private static List<List<Generated>> together(
      int batchTokens, GenerationRules rules, Passes passes, List<Request> requests) {
    try (Engine engine = new Engine(model, rules, batchTokens, new PhaseTimes())) {
      return submitTogether(engine, passes, requests).stream().map(EngineTest::take).toList();
    }
  }

  /** Submits all others during the first pass of the first. */
  private static List<CompletableFuture<Answers>> submitTogether(
      Engine engine, Passes passes, List<Request> requests) {
    CountDownLatch gate = passes.gate();
    List<CompletableFuture<Answers>> answers = new ArrayList<>();
    for (Request request : requests) {
      answers.add(engine.submit(request));
      passes.awaitGate();
    }
    gate.countDown();
    return answers;
  }

  /** Requests of one size, named 0 to 3. */
  private static List<Request> fourRequests(Passes passes) {
    Random random = new Random(17);
    return IntStream.range(0, 4)
        .mapToObj(
            i ->
                request(
                    image(random),
                    2,
                    List.of(
                        List.of(
                            random.ints(5, 3, 450).toArray(), random.ints(5, 3, 450).toArray())),
                    passes.watch(String.valueOf(i))))
        .toList();
  }

  /** Notes which requests run together in each pass, and does something in the midst of it. */
  private static final class Passes {
    final List<List<String>> names = Collections.synchronizedList(new ArrayList<>());
    final Map<String, Integer> opened = new ConcurrentSkipListMap<>();
    final Map<String, Integer> closed = new ConcurrentSkipListMap<>();
    private final Consumer<List<String>> midst;
    private volatile CountDownLatch arrived = new CountDownLatch(0);
    private volatile CountDownLatch gate = new CountDownLatch(0);
    private boolean announcing;

    Passes(Consumer<List<String>> midst) {
      this.midst = midst;
    }

    void reset() {
      names.clear();
      opened.clear();
      closed.clear();
    }

    /** Holds up the next pass in its midst. */
    CountDownLatch gate() {
      arrived = new CountDownLatch(1);
      gate = new CountDownLatch(1);
      return gate;
    }

    /** Waits until a pass is held up. */
    void awaitGate() {
      await(arrived);
    }

    Supplier<Watch> watch(String name) {
      return () -> {
        opened.merge(name, 1, Integer::sum);
        return new Seeing(AttentionHook.NONE, List.of(hook(name))) {
          @Override
          public void close() {
            closed.merge(name, 1, Integer::sum);
          }
        };
      };
    }

    private AttentionHook hook(String name) {
      return new AttentionHook() {
        @Override
        public boolean asks(Point point, int layer) {
          return point == Point.HIDDEN_STATES && layer == 0;
        }

        @Override
        public void onSegment(Segment segment) {
          if (!announcing) {
            announcing = true;
            names.add(new ArrayList<>());
          }
          names.get(names.size() - 1).add(name);
        }

        @Override
        public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
          if (announcing) {
            announcing = false;
            arrived.countDown();
            await(gate);
            midst.accept(names.get(names.size() - 1));
          }
        }
      };
    }

    private static void await(CountDownLatch latch) {
      try {
        latch.await();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  /** A watch of given hooks. */
  private static class Seeing implements Watch {
    private final AttentionHook prefix;
    private final List<AttentionHook> groups;

    Seeing(AttentionHook prefix, List<AttentionHook> groups) {
      this.prefix = prefix;
      this.groups = groups;
    }

    @Override
    public AttentionHook ofPrefix() {
      return prefix;
    }

    @Override
    public AttentionHook ofGroup(int group) {
      return groups.get(group);
    }

    @Override
    public void close() {}
  }

  /** Watches the only group. */
  private static Supplier<Watch> watching(AttentionHook hook) {
    return () -> new Seeing(AttentionHook.NONE, List.of(hook));
  }

  private static List<int[]> rows(Random random, int count, int longest) {
    List<int[]> rows = new ArrayList<>();
    for (int r = 0; r < count; r++) {
      rows.add(random.ints(1 + random.nextInt(longest), 3, 450).toArray());
    }
    return rows;
  }

  private static List<Integer> order(Random random, int count) {
    List<Integer> order = new ArrayList<>(IntStream.range(0, count).boxed().toList());
    Collections.shuffle(order, random);
    return order;
  }

  /** Two tokens of text, then an image of noise. */
  private static Request request(ImageInput image, List<int[]> rows) {
    return request(image, 2, List.of(rows), () -> Watch.NONE);
  }

  private static Request request(
      ImageInput image, int textTokens, List<List<int[]>> groups, Supplier<Watch> watch) {
    int[] ids = new int[textTokens + IMAGE_TOKENS];
    Arrays.fill(ids, 0, textTokens, 275);
    Arrays.fill(ids, textTokens, ids.length, IMAGE_ID);
    ids[0] = 1;
    return new Request(image, ids, textTokens, groups, watch);
  }

  private static ImageInput image(Random random) {
    float[] pixels = new float[3 * SIDE * SIDE];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (float) random.nextGaussian();
    }
    return new ImageInput(pixels, new Shape(1, 3, SIDE, SIDE), null);
  }
}
