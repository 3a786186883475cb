package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SoftAccuracyTest {

  @ParameterizedTest
  @CsvSource({"0, 0", "1, 0.3", "2, 0.6", "3, 0.9", "4, 1", "7, 1", "10, 1"})
  void leavesEachOfTenAnnotatorsOutInTurn(int agreeing, double score) {
    assertThat(SoftAccuracy.units("yes", answers(agreeing, 10)))
        .isEqualTo(Math.round(score * SoftAccuracy.ONE));
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "2, 1", "3, 2", "7, 1", "7, 4", "8, 2", "9, 3"})
  void isExactForFewerAnnotators(int annotators, int agreeing) {
    double sum = 0;
    for (int left = 0; left < annotators; left++) {
      sum += Math.min(1, (agreeing - (left < agreeing ? 1 : 0)) / 3.0);
    }
    assertThat((double) SoftAccuracy.units("yes", answers(agreeing, annotators)))
        .isCloseTo(sum / annotators * SoftAccuracy.ONE, within(1e-6));
  }

  @Test
  void leavesEqualRecordsOutTogether() {
    List<String> answers = answers(4, 10);
    assertThat(SoftAccuracy.units("yes", answers, answers)).isEqualTo(SoftAccuracy.ONE * 6 / 10);
  }

  @Test
  void refusesAnswersThatItsScriptWouldNotTake() {
    BenchmarkRow row = new BenchmarkRow("7", Map.of(), "yes");
    assertThat(SoftAccuracy.required(row, answers(1, 10), 10)).hasSize(10);
    assertThatThrownBy(() -> SoftAccuracy.required(row, List.of(), 1))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: column answers must hold 1 to 10 answers, not 0");
    assertThatThrownBy(() -> SoftAccuracy.required(row, answers(1, 11), 1))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: column answers must hold 1 to 10 answers, not 11");
    assertThatThrownBy(() -> SoftAccuracy.required(row, answers(1, 9), 10))
        .isInstanceOf(UnscorableRowException.class)
        .hasMessage("Row 7: column answers must hold 10 answers, not 9");
  }

  private static List<String> answers(int agreeing, int annotators) {
    List<String> answers = new ArrayList<>(Collections.nCopies(annotators, "no"));
    Collections.fill(answers.subList(0, agreeing), "yes");
    return answers;
  }
}
