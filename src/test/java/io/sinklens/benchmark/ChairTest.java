package io.sinklens.benchmark;

import static io.sinklens.benchmark.Scoring.number;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ChairTest {
  private static final Benchmark CHAIR = Benchmarks.named("chair");

  @ParameterizedTest
  @CsvSource({
    "Two dogs and a puppy, 'dog, dog'",
    "People and children, 'person, person'",
    "a hot dog near a dog, 'hot dog, dog'",
    "a hot-dog, ''",
    "'hot, dog', dog",
    "baby elephants, elephant",
    "a baby and an elephant, 'person, elephant'",
    "passenger trains, train",
    "a train track at the home plate, ''",
    "a bow tie, tie",
    "wine glasses, wine glass",
    "a motor bike, ''",
    "motor cycles, motorcycle",
    "a cheesecake, ''",
    "an iPhone, ''",
    "a stove top oven, 'oven, oven'",
    "the toilet seat, toilet",
    "the seat of a toilet, toilet",
    "the seat, chair",
    "a televison and a solider, 'tv, person'"
  })
  void findsObjectsInEitherVariant(String caption, String named) {
    assertThat(named("a", caption)).isEqualTo(named);
    assertThat(named("b", caption)).isEqualTo(named);
  }

  @ParameterizedTest
  @CsvSource({
    "a bus, '', bus",
    "two buses, bus, bus",
    "a minibus and an airbus, '', 'bus, airplane'",
    "a glass of wine, '', ''",
    "a wine glass, wine glass, wine glass",
    "a tennis racket, tennis racket, tennis racket",
    "a sports ball, sports ball, sports ball",
    "ties, '', tie",
    "canoes, '', boat",
    "collies and doggies, '', 'dog, dog'",
    "magpies, '', bird",
    "men, person, ''",
    "women, person, person",
    "vases, vase, ''",
    "oxen on skis, 'cow, skis', 'cow, skis'",
    "seated, '', chair",
    "he is skiing and snowboarding, '', 'skis, snowboard'",
    "skateboarding or biking, '', 'skateboard, bicycle'",
    "his hands are tied, '', tie"
  })
  void findsTheSingularAsTheVariantDoes(String caption, String a, String b) {
    assertThat(named("a", caption)).isEqualTo(a);
    assertThat(named("b", caption)).isEqualTo(b);
  }

  @Test
  void measuresMentionsCaptionsAndRecall() {
    List<BenchmarkRow> rows =
        List.of(
            row("Two dogs and a cat on a bench.", "dog", "bench", "car"),
            row("A cat and a dog.", "cat", "dog"),
            row("Nothing at all.", "cup"));

    Map<String, Object> summary = Scoring.summary(CHAIR.scorer("a"), rows);

    assertThat(number(summary, "chair_i")).isEqualTo(1 / 5.0);
    assertThat(number(summary, "chair_s")).isEqualTo(1 / 3.0);
    assertThat(number(summary, "recall")).isEqualTo(4 / 6.0);
    assertThat(number(summary, "captions")).isEqualTo(3);
    assertThat(number(summary, "mentions")).isEqualTo(5);
  }

  @Test
  void countsEachHallucinatedMention() {
    RowScore row = CHAIR.scorer("a").score(row("A cat, another cat and a dog.", "dog", "dog"));

    assertThat(row.score()).isEqualTo(2);
    assertThat(row.parsed()).isEqualTo("cat, cat, dog");
    assertThat(row.counts()).containsEntry("objects", 1L).containsEntry("found objects", 1L);
  }

  @Test
  void hasNaNsWhereNothingIsNamed() {
    Map<String, Object> summary = Scoring.summary(CHAIR.scorer("a"), List.of(row("Nothing.")));

    assertThat(number(summary, "chair_i")).isNaN();
    assertThat(number(summary, "recall")).isNaN();
    assertThat(number(summary, "chair_s")).isZero();
    assertThat(number(Scoring.summary(CHAIR.scorer("b"), List.of()), "chair_s")).isNaN();
  }

  @Test
  void takesAMissingPredictionForAnEmptyCaption() {
    RowScore row = CHAIR.scorer("a").score(row(null, "dog"));

    assertThat(row.parsed()).isNull();
    assertThat(row.score()).isZero();
    assertThat(row.counts()).containsEntry("captions", 1L).containsEntry("objects", 1L);
  }

  @Test
  void takesOtherSynonyms() {
    Scorer scorer =
        Chair.withSynonyms(List.of("animal, dog, fox,  wolf, lynx, pony", "", "bus, canary "))
            .scorer("a");

    RowScore row =
        scorer.score(row("Dogs, foxes, lynxes, ponies, a wolf, canaries, a cat and a bus"));

    assertThat(row.parsed()).isEqualTo("animal, animal, animal, animal, bus");
  }

  @Test
  void refusesSynonymsWithoutWords() {
    assertThatThrownBy(() -> Chair.withSynonyms(List.of("", " ")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("The list of synonyms must hold words, not blank lines");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "dog. A cat",
        "dog.\nA cat",
        "dog? cat",
        "dog, cat",
        "dog;cat",
        "dog (cat)",
        "\"dog.\" cat",
        "dog.) cat",
        "dog's cat",
        "dog' cat",
        "dog... cat",
        "dog--cat",
        "a dog: cat.",
        "dog cat.\"",
        "dog ‘cat’",
        "“dog” cat",
        "dog & cat",
        "dog's cat'll"
      })
  void cutsWords(String caption) {
    assertThat(CaptionWords.of(caption)).contains("dog", "cat");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '^',
      value = {
        "dog/cat | dog/cat",
        "dog.cat | dog.cat",
        "a dog., cat | a dog. , cat",
        "dog.! cat | dog. ! cat",
        "dog-cat | dog-cat",
        "dog,,cat | dog , ,cat",
        "a 'cat' | a 'cat '",
        "1,000 dogs | 1,000 dogs",
        "dog–cat | dog–cat",
        "don't | do n't",
        "3.5 cats. | 3.5 cats .",
        "^^ | ^^"
      })
  void leavesWordsWhereNltkLeavesThem(String caption, String words) {
    assertThat(String.join(" ", CaptionWords.of(caption))).isEqualTo(words);
  }

  private static @Nullable String named(String mode, String caption) {
    return CHAIR.scorer(mode).score(row(caption)).parsed();
  }

  private static BenchmarkRow row(@Nullable String caption, String... objects) {
    return new BenchmarkRow("7", Map.of("gt_object", List.of(objects)), caption);
  }
}
