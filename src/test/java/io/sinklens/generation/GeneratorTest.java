package io.sinklens.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.types.Shape;
import io.sinklens.generation.Generated.Finish;
import io.sinklens.generation.Generated.TokenLogprob;
import io.sinklens.model.ImageInput;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.Pass;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GeneratorTest {
  private static final int IMAGE_TOKENS = 16;
  private static final int IMAGE_ID = 459;
  private static final int SIDE = 56;
  private static final GenerationRules RULES = new GenerationRules(8, Set.of(2), 0, List.of());

  private static VisionLanguageModel model;

  @BeforeAll
  static void load() {
    model = TinyCheckpoint.load("llava-gqa");
  }

  @AfterAll
  static void unload() {
    model.close();
  }

  @RepeatedTest(5)
  void answersARowAsItWouldAloneWhateverItsNeighboursAndTheirOrder(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    List<int[]> rows = new ArrayList<>();
    for (int r = 0; r < 6; r++) {
      rows.add(random.ints(1 + random.nextInt(9), 3, 450).toArray());
    }
    List<Integer> order = new ArrayList<>(List.of(0, 1, 2, 3, 4, 5));
    Collections.shuffle(order, random);
    Generator generator = new Generator(model, new PhaseTimes());
    try (ImagePrefix prefix = prefix(generator, random)) {
      List<Generated> together = generator.generate(prefix, rows, RULES, AttentionHook.NONE);
      List<Generated> shuffled =
          generator.generate(
              prefix, order.stream().map(rows::get).toList(), RULES, AttentionHook.NONE);
      for (int r = 0; r < rows.size(); r++) {
        Generated alone =
            generator.generate(prefix, List.of(rows.get(r)), RULES, AttentionHook.NONE).get(0);
        assertThat(together.get(r).tokenIds()).isEqualTo(alone.tokenIds());
        assertThat(together.get(r).finish()).isEqualTo(alone.finish());
        assertThat(together.get(r).logprob()).isCloseTo(alone.logprob(), within(1e-4));
        assertThat(shuffled.get(order.indexOf(r)).tokenIds()).isEqualTo(alone.tokenIds());
      }
      assertThat(together).extracting(Generated::tokenIds).doesNotHaveDuplicates();
    }
  }

  @Test
  void stopsAtAStopTokenAndKeepsIt() {
    Random random = new Random(7);
    Generator generator = new Generator(model, new PhaseTimes());
    try (ImagePrefix prefix = prefix(generator, random)) {
      int[] own = {300, 301};
      Generated long8 = one(generator, prefix, own, new GenerationRules(8, Set.of(), 0, List.of()));
      assertThat(long8.finish()).isEqualTo(Finish.LENGTH);
      assertThat(long8.tokenIds()).hasSize(8);
      int stop = long8.tokenIds().get(3);
      int first = long8.tokenIds().indexOf(stop);
      Generated stopped =
          one(generator, prefix, own, new GenerationRules(8, Set.of(stop), 0, List.of()));
      assertThat(stopped.finish()).isEqualTo(Finish.STOP);
      assertThat(stopped.tokenIds()).isEqualTo(long8.tokenIds().subList(0, first + 1));
      Generated shorter =
          one(generator, prefix, own, new GenerationRules(3, Set.of(), 0, List.of()));
      assertThat(shorter.finish()).isEqualTo(Finish.LENGTH);
      assertThat(shorter.tokenIds()).isEqualTo(long8.tokenIds().subList(0, 3));
    }
  }

  @Test
  void countsAStopTokenAtTheLastPlaceAsAStop() {
    Generator generator = new Generator(model, new PhaseTimes());
    try (ImagePrefix prefix = prefix(generator, new Random(7))) {
      int[] own = {300, 301};
      Generated first = one(generator, prefix, own, new GenerationRules(1, Set.of(), 0, List.of()));
      int token = first.tokenIds().get(0);
      Generated stopped =
          one(generator, prefix, own, new GenerationRules(1, Set.of(token), 0, List.of()));
      assertThat(first.finish()).isEqualTo(Finish.LENGTH);
      assertThat(stopped.finish()).isEqualTo(Finish.STOP);
      assertThat(stopped.tokenIds()).containsExactly(token);
    }
  }

  @Test
  void reportsTheMostProbableTokensInFallingOrderChosenFirst() {
    Generator generator = new Generator(model, new PhaseTimes());
    GenerationRules rules = new GenerationRules(5, Set.of(2), 4, List.of());
    try (ImagePrefix prefix = prefix(generator, new Random(3))) {
      List<int[]> rows = List.of(new int[] {300}, new int[] {301, 302, 303}, new int[] {310, 44});
      for (Generated answer : generator.generate(prefix, rows, rules, AttentionHook.NONE)) {
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
  }

  @Test
  void reportsProbabilitiesOfChoicesAsFirstAnswerToken() {
    Generator generator = new Generator(model, new PhaseTimes());
    try (ImagePrefix prefix = prefix(generator, new Random(4))) {
      int[] own = {300, 17};
      Generated top = one(generator, prefix, own, new GenerationRules(3, Set.of(2), 2, List.of()));
      List<TokenLogprob> best = top.topLogprobs().get(0);
      List<Integer> choices = List.of(best.get(1).tokenId(), best.get(0).tokenId(), 5);
      Generated answer = one(generator, prefix, own, new GenerationRules(3, Set.of(2), 0, choices));
      assertThat(answer.choiceProbabilities()).hasSize(3);
      assertThat(answer.choiceProbabilities().get(0))
          .isCloseTo(Math.exp(best.get(1).logprob()), within(1e-6));
      assertThat(answer.choiceProbabilities().get(1))
          .isCloseTo(Math.exp(best.get(0).logprob()), within(1e-6));
      assertThat(answer.choiceProbabilities().get(2)).isBetween(0.0, 1.0);
    }
  }

  @Test
  void announcesForEveryRowTheQueryThatGaveEachAnswerToken() {
    Generator generator = new Generator(model, new PhaseTimes());
    List<List<Integer>> answerQueries = new ArrayList<>();
    AttentionHook hook =
        new AttentionHook() {
          @Override
          public void onPass(Pass pass) {
            List<Integer> ofPass = new ArrayList<>();
            for (int r = 0; r < pass.rows(); r++) {
              ofPass.add(pass.answerQuery(r));
            }
            answerQueries.add(ofPass);
          }
        };
    try (ImagePrefix prefix = prefix(generator, new Random(7))) {
      List<int[]> rows = List.of(new int[] {300, 301}, new int[] {20, 21, 22});
      List<Generated> plain = generator.generate(prefix, rows, RULES, AttentionHook.NONE);
      int stop = plain.get(0).tokenIds().get(0);
      assertThat(plain.get(1).tokenIds().subList(0, 3)).doesNotContain(stop);
      GenerationRules rules = new GenerationRules(3, Set.of(stop), 0, List.of());
      List<Generated> answers = generator.generate(prefix, rows, rules, hook);
      assertThat(answers.get(0).tokenIds()).hasSize(1);
      assertThat(answers.get(1).tokenIds()).hasSize(3);
      assertThat(answerQueries).containsExactly(List.of(1, 2), List.of(-1, 0), List.of(-1, 0));
    }
  }

  @Test
  void countsAPrefixOnceAndEveryRowsOwnTokens() {
    PhaseTimes times = new PhaseTimes();
    Generator generator = new Generator(model, times);
    try (ImagePrefix prefix = prefix(generator, new Random(5))) {
      assertThat(times.promptTokens()).isEqualTo(prefix.length());
      List<Generated> answers =
          generator.generate(
              prefix, List.of(new int[] {300}, new int[] {301, 302}), RULES, AttentionHook.NONE);
      assertThat(times.promptTokens()).isEqualTo(prefix.length() + 3L);
      assertThat(times.generatedTokens())
          .isEqualTo(answers.stream().mapToLong(answer -> answer.tokenIds().size()).sum());
      assertThat(times.seconds(Phase.VISION)).isPositive();
      assertThat(times.seconds(Phase.GENERATION)).isPositive();
    }
  }

  @Test
  void freesAllTensorsOfABatch() {
    Generator generator = new Generator(model, new PhaseTimes());
    int before = model.operators().manager().getManagedArrays().size();
    try (ImagePrefix prefix = prefix(generator, new Random(5))) {
      one(generator, prefix, new int[] {300}, RULES);
    }
    assertThat(model.operators().manager().getManagedArrays()).hasSize(before);
  }

  @Test
  void refusesAPromptThatEndsWithItsImage() {
    Generator generator = new Generator(model, new PhaseTimes());
    try (ImagePrefix prefix = prefix(generator, new Random(5))) {
      assertThatThrownBy(() -> one(generator, prefix, new int[0], RULES))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("A prompt must have a token after its image");
    }
  }

  @Test
  void refusesMoreImageTokensThanTheEncoderMakes() {
    Generator generator = new Generator(model, new PhaseTimes());
    float[] pixels = new float[3 * SIDE * SIDE];
    int[] ids = new int[2 + IMAGE_TOKENS + 1];
    Arrays.fill(ids, IMAGE_ID);
    assertThatThrownBy(() -> generator.encodePrefix(image(pixels), ids, 2, AttentionHook.NONE))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage(
            "Cannot place the image: the prompt holds 17 image tokens but the encoder made 16");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1})
  void refusesRulesThatCannotBeFollowed(int number) {
    assertThatThrownBy(() -> new GenerationRules(number, Set.of(), 0, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Max new tokens must be above 0, not " + number);
    assertThatThrownBy(() -> new GenerationRules(1, Set.of(), number - 1, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Top logprobs must not be below 0, not " + (number - 1));
  }

  private static Generated one(
      Generator generator, ImagePrefix prefix, int[] own, GenerationRules rules) {
    return generator.generate(prefix, List.of(own), rules, AttentionHook.NONE).get(0);
  }

  /** Two tokens of text, then an image of noise. */
  private static ImagePrefix prefix(Generator generator, Random random) {
    float[] pixels = new float[3 * SIDE * SIDE];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (float) random.nextGaussian();
    }
    int[] ids = new int[2 + IMAGE_TOKENS];
    Arrays.fill(ids, IMAGE_ID);
    ids[0] = 1;
    ids[1] = 275;
    return generator.encodePrefix(image(pixels), ids, 2, AttentionHook.NONE);
  }

  private static ImageInput image(float[] pixels) {
    return new ImageInput(pixels, new Shape(1, 3, SIDE, SIDE), null);
  }
}
