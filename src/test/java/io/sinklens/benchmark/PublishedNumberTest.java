package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PublishedNumberTest {
  private final List<PublishedNumber> all = PublishedNumber.all();

  /** Twelve numbers of six models, CHAIR's two under both modes, and eight of two models. */
  @Test
  void knowsWhatThePaperAndTheModelZooSay() {
    assertThat(all).hasSize(6 * (12 + 2) + 2 * 8);
    assertThat(all)
        .contains(
            new PublishedNumber(
                "VAR paper", "llava-1.5-7b", "vizwiz", "llava", "accuracy", "test-dev", 0.5, 0.537),
            new PublishedNumber(
                "VAR paper", "internvl2-8b", "mme", "llava", "perception", "test", 1648.1, 1655.4),
            new PublishedNumber(
                "LLaVA model zoo",
                "llava-1.5-13b",
                "pope",
                "llava",
                "mean.f1",
                "COCO",
                0.8590000000000001,
                null));
  }

  /** What is not scored here yet is left out. */
  @Test
  void namesOnlyNumbersThatScorersGive() {
    int checked = 0;
    for (PublishedNumber each : all) {
      if (Benchmarks.names().contains(each.benchmark())) {
        Scorer scorer = Benchmarks.named(each.benchmark()).scorer(each.mode());
        Map<String, Double> numbers = SummaryNumbers.of(scorer.summary(new Tally()));
        assertThat(numbers).as(each.toString()).containsKey(each.number());
        checked++;
      }
    }
    assertThat(checked).isGreaterThanOrEqualTo(60);
  }

  @Test
  void refusesAModelOfWhichNothingIsKnown() {
    assertThatThrownBy(() -> PublishedNumber.requireModel("gpt"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Nothing is published of model gpt: use one of internvl2-8b, llava-1.5-13b,"
                + " llava-1.5-7b, llava-1.5-hd-13b, qwen2-vl-7b, vila-13b");
  }
}
