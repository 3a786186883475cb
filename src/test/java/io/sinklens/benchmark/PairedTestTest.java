package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PairedTestTest {

  /** Expected values are sums of exact fractions: twice the sum of C(n, k) / 2^n up to k. */
  @ParameterizedTest
  @CsvSource({
    "0, 0, 1",
    "0, 1, 1",
    "5, 5, 1",
    "0, 5, 0.0625",
    "1, 8, 0.0390625",
    "3, 9, 0.14599609375",
    "10, 25, 0.01667384780012071",
    "1000, 1100, 0.030720707864242296",
    "2000, 2200, 0.0021323556719912346",
  })
  void givesTheExactProbabilityOfASplitAtLeastAsUneven(long first, long second, double expected) {
    double p = new PairedTest(first, second).pValue();

    assertThat(p).isCloseTo(expected, within(1e-10 * expected));
    assertThat(new PairedTest(second, first).pValue()).isEqualTo(p);
  }

  @Test
  void staysAProbabilityFarBeyondWhatADoubleHolds() {
    assertThat(new PairedTest(0, 1_000_000).pValue()).isZero();
    assertThat(new PairedTest(500_000, 500_000).pValue()).isEqualTo(1);
    assertThat(new PairedTest(499_999, 500_001).pValue()).isBetween(0.99, 1.0);
  }

  @Test
  void callsADifferenceSignificantBelowFivePercent() {
    assertThat(new PairedTest(1, 8).isSignificant()).isTrue();
    assertThat(new PairedTest(0, 5).isSignificant()).isFalse();
  }

  @Test
  void refusesNegativeCounts() {
    assertThatThrownBy(() -> new PairedTest(3, -1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Questions that only one variant got right must be at least 0, not 3 and -1");
  }
}
