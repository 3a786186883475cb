package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

class HolmTest {
  private static final Offset<Double> ROUNDING = Offset.offset(1e-12);

  /** Four tests, of which the second and third smallest share a value after correction. */
  @Test
  void agreesWithAWorkedExample() {
    List<Double> adjusted = Holm.adjusted(List.of(0.01, 0.04, 0.03, 0.005));

    // 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not be below the last.
    List<Double> expected = List.of(0.03, 0.06, 0.06, 0.02);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(adjusted.get(i)).isCloseTo(expected.get(i), ROUNDING);
    }
  }

  /** What {@code p.adjust(…, "holm")} of R gives. */
  @Test
  void agreesWithR() {
    List<Double> adjusted = Holm.adjusted(List.of(0.01, 0.02, 0.03, 0.04, 0.05));

    List<Double> expected = List.of(0.05, 0.08, 0.09, 0.09, 0.09);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(adjusted.get(i)).isCloseTo(expected.get(i), ROUNDING);
    }
  }

  @Test
  void leavesASingleTestAloneAndNeverExceedsOne() {
    assertThat(Holm.adjusted(List.of(0.04))).containsExactly(0.04);
    assertThat(Holm.adjusted(List.of(0.7, 0.8))).containsExactly(1.0, 1.0);
    assertThat(Holm.adjusted(List.of())).isEmpty();
  }

  @Test
  void refusesWhatIsNoProbability() {
    assertThatThrownBy(() -> Holm.adjusted(List.of(0.5, Double.NaN)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("A p-value must be from 0 to 1, not NaN");
  }
}
