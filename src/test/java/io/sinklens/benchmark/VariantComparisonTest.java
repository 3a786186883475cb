package io.sinklens.benchmark;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.benchmark.VariantComparison.Difference;
import io.sinklens.benchmark.VariantScores.ImageRow;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class VariantComparisonTest {
  private static final Scorer POPE = Benchmarks.named("pope").scorer("llava");
  private static final Scorer GQA = Benchmarks.named("gqa").scorer("cambrian");

  /**
   * 120 images with 6 questions each, whose ease is common to both variants. The interval's ends
   * are those that numpy gives for 200,000 resamples of images of the same data, and the p-value
   * that of 200,000 exchanges.
   */
  @Test
  void agreesWithNumpyOnF1() {
    long[] state = {7};
    VariantScores baseline = new VariantScores(POPE);
    VariantScores var = new VariantScores(POPE);
    for (int image = 0; image < 120; image++) {
      double ease = 0.4 * uniform(state);
      for (int question = 0; question < 6; question++) {
        boolean yes = question % 2 == 0;
        add(baseline, image, question, yes, uniform(state) < 0.5 + ease);
        add(var, image, question, yes, uniform(state) < 0.58 + ease);
      }
    }

    VariantComparison comparison = VariantComparison.of(baseline, var, 10_000, 1);

    assertThat(comparison.rows()).isEqualTo(720);
    assertThat(comparison.clusters()).isEqualTo(120);
    Difference f1 = number(comparison, "mean.f1");
    assertThat(f1.value()).isEqualTo(0.04570395311136055, within(1e-12));
    assertThat(f1.low()).isEqualTo(0.00178121, within(0.002));
    assertThat(f1.high()).isEqualTo(0.08971652, within(0.002));
    Difference accuracy = number(comparison, "mean.accuracy");
    assertThat(accuracy.low()).isEqualTo(0.01111111, within(0.002));
    assertThat(accuracy.high()).isEqualTo(0.09722222, within(0.002));
    PairedClusters clusters =
        new PairedClusters(
            POPE,
            new ArrayList<>(baseline.clusters().values()),
            new ArrayList<>(var.clusters().values()));
    assertThat(clusters.randomisationTest("mean.f1", 10_000, 1)).isEqualTo(0.04586, within(0.007));
  }

  private static double uniform(long[] state) {
    state[0] = (state[0] * 1103515245 + 12345) % (1L << 31);
    return (double) state[0] / (1L << 31);
  }

  private static void add(
      VariantScores scores, int image, int question, boolean yes, boolean right) {
    String id = image + "/" + question;
    Map<String, Object> columns = Map.of("category", "random", "answer", yes ? "yes" : "no");
    RowScore score = POPE.score(new BenchmarkRow(id, columns, yes == right ? "Yes" : "No"));
    scores.add(List.of(new ImageRow("image " + image, score)));
  }

  /**
   * The true difference is 0.06. Questions about an image succeed together, so that an interval
   * which took them for independent would hold it in only 7 of 10 cases.
   */
  @Test
  void holdsTheTrueDifferenceInAboutNinetyFiveOfAHundredIntervals() {
    int held = 0;
    int experiments = 300;
    for (int seed = 0; seed < experiments; seed++) {
      Random random = new Random(seed);
      VariantScores first = new VariantScores(GQA);
      VariantScores second = new VariantScores(GQA);
      for (int image = 0; image < 60; image++) {
        boolean firstKnows = random.nextDouble() < 0.5;
        boolean secondKnows = random.nextDouble() < 0.6;
        for (int question = 0; question < 5; question++) {
          add(first, image, question, random.nextDouble() < 0.8 == firstKnows);
          add(second, image, question, random.nextDouble() < 0.8 == secondKnows);
        }
      }
      // 0.6 * 0.8 + 0.4 * 0.2 against 0.5 * 0.8 + 0.5 * 0.2.
      double truth = 0.06;
      Difference accuracy = number(VariantComparison.of(first, second, 1000, seed), "accuracy");
      held +=
          requireNonNull(accuracy.low()) <= truth && truth <= requireNonNull(accuracy.high())
              ? 1
              : 0;
    }
    assertThat((double) held / experiments).isBetween(0.91, 0.98);
  }

  private static void add(VariantScores scores, int image, int question, boolean right) {
    String id = image + "/" + question;
    RowScore score =
        GQA.score(new BenchmarkRow(id, Map.of("answer", "red"), right ? "red" : "blue"));
    scores.add(List.of(new ImageRow("image " + image, score)));
  }

  @Test
  void dependsOnTheSeedAlone() {
    VariantScores first = some(1);
    VariantScores second = some(2);

    Difference once = number(VariantComparison.of(first, second, 500, 3), "accuracy");

    assertThat(number(VariantComparison.of(some(1), some(2), 500, 3), "accuracy")).isEqualTo(once);
    assertThat(number(VariantComparison.of(first, second, 500, 4), "accuracy")).isNotEqualTo(once);
  }

  private static VariantScores some(long seed) {
    Random random = new Random(seed);
    VariantScores scores = new VariantScores(GQA);
    for (int image = 0; image < 97; image++) {
      add(scores, image, 0, random.nextBoolean());
      add(scores, image, 1, random.nextBoolean());
    }
    return scores;
  }

  /** McNemar's test on 8 against 1 rows: 2 * (1 + 9) / 512. */
  @Test
  void testsRowsThatAreRightOrWrong() {
    VariantScores first = new VariantScores(GQA);
    VariantScores second = new VariantScores(GQA);
    for (int image = 0; image < 20; image++) {
      add(first, image, 0, image == 0 || image >= 9);
      add(second, image, 0, image >= 1);
    }

    VariantComparison.Test test = VariantComparison.of(first, second, 1000, 1).test();

    assertThat(test.name()).isEqualTo("mcnemar");
    assertThat(test.counts()).isEqualTo(new PairedCounts(11, 1, 8, 0));
    assertThat(test.pValue()).isEqualTo(20 / 512.0, within(1e-12));
  }

  /** Rows of a pair on two images are drawn together: the number of images is no matter. */
  @Test
  void keepsImagesTogetherWhoseRowsAreJudgedTogether() {
    Scorer mmvp = Benchmarks.named("mmvp").scorer("lmms-eval");
    VariantScores first = new VariantScores(mmvp);
    VariantScores second = new VariantScores(mmvp);
    for (int pair = 0; pair < 10; pair++) {
      first.add(List.of(mmvp(mmvp, 2 * pair + 1, "A"), mmvp(mmvp, 2 * pair + 2, "B")));
      second.add(List.of(mmvp(mmvp, 2 * pair + 1, "A"), mmvp(mmvp, 2 * pair + 2, "A")));
    }

    VariantComparison comparison = VariantComparison.of(first, second, 1000, 1);

    assertThat(comparison.rows()).isEqualTo(20);
    assertThat(comparison.clusters()).isEqualTo(10);
    // Every pair gains its second row, whichever are drawn.
    Difference pairs = number(comparison, "pair_accuracy");
    assertThat(pairs.first()).isZero();
    assertThat(pairs.second()).isEqualTo(1);
    assertThat(pairs.low()).isEqualTo(1.0);
    assertThat(pairs.high()).isEqualTo(1.0);
  }

  private static ImageRow mmvp(Scorer scorer, int index, String prediction) {
    BenchmarkRow row =
        new BenchmarkRow(
            String.valueOf(index),
            Map.of("Index", (long) index, "Correct Answer", "(a)"),
            prediction);
    return new ImageRow("image " + index, scorer.score(row));
  }

  /** Scores of VQA are thirds, so exchanges are counted: one of 2^8 and its mirror image. */
  @Test
  void testsScoresBetweenRightAndWrongByExchangingImages() {
    Scorer textvqa = Benchmarks.named("textvqa").scorer("lmms-eval");
    List<Object> answers = new ArrayList<>(List.of("red", "red"));
    for (int i = 0; i < 8; i++) {
      answers.add("blue " + i);
    }
    VariantScores first = new VariantScores(textvqa);
    VariantScores second = new VariantScores(textvqa);
    for (int image = 0; image < 8; image++) {
      for (VariantScores scores : List.of(first, second)) {
        BenchmarkRow row =
            new BenchmarkRow(
                String.valueOf(image),
                Map.of("answers", answers),
                scores == second ? "red" : "green");
        scores.add(List.of(new ImageRow("image " + image, textvqa.score(row))));
      }
    }

    VariantComparison.Test test = VariantComparison.of(first, second, 20_000, 1).test();

    assertThat(test.name()).isEqualTo("randomisation");
    assertThat(test.counts()).isNull();
    assertThat(test.pValue()).isEqualTo(2 / 256.0, within(0.002));
  }

  @Test
  void refusesVariantsThatDidNotAnswerTheSame() {
    VariantScores first = new VariantScores(GQA);
    VariantScores second = new VariantScores(GQA);
    add(first, 1, 0, true);
    add(second, 2, 0, true);

    assertThatThrownBy(() -> VariantComparison.of(first, second, 1000, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot compare variants that have not answered the same rows: only one has row 1/0");
  }

  private static Difference number(VariantComparison comparison, String name) {
    return requireNonNull(comparison.numbers().get(name), name);
  }
}
