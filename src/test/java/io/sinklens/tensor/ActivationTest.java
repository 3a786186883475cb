package io.sinklens.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.djl.ndarray.NDManager;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ActivationTest {
  private static Operators operators;

  @BeforeAll
  static void load() {
    operators = Operators.load(TestDevice.get());
  }

  @AfterAll
  static void close() {
    operators.close();
  }

  @ParameterizedTest
  @CsvSource({"gelu, GELU", "gelu_pytorch_tanh, GELU_TANH", "quick_gelu, QUICK_GELU", "silu, SILU"})
  void goesByTheNamesOfConfigurations(String name, Activation activation) {
    assertThat(Activation.named(name)).isEqualTo(activation);
    assertThat(activation.configName()).isEqualTo(name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"relu", "GELU", "", "gelu_new"})
  void refusesOtherNames(String name) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Activation.named(name))
        .withMessage(
            "Activation must be one of gelu, gelu_pytorch_tanh, quick_gelu, silu, not " + name);
  }

  @ParameterizedTest
  @EnumSource
  void followsItsFormula(Activation activation) {
    follows(activation, Dtype.FLOAT32, 2e-6);
    follows(activation, Dtype.BFLOAT16, 0x1p-7);
  }

  @Test
  void tellsTheTwoGelusApart() {
    // So that the tolerance above resolves them.
    assertThat(Math.abs(formula(Activation.GELU, 2) - formula(Activation.GELU_TANH, 2)))
        .isGreaterThan(9e-5);
  }

  private static void follows(Activation activation, Dtype dtype, double tolerance) {
    Doubles x = Doubles.random(new Random(1), dtype, 4, 1000);
    try (NDManager manager = operators.manager().newSubManager()) {
      Doubles.of(Doubles.shape(4, 1000), i -> formula(activation, x.at(i)))
          .assertGivenBy(
              operators,
              activation.apply(operators, x.array(operators, manager, dtype)),
              tolerance);
    }
  }

  private static double formula(Activation activation, double x) {
    return switch (activation) {
      case GELU -> x / 2 * (1 + erf(x / Math.sqrt(2)));
      case GELU_TANH ->
          x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
      case QUICK_GELU -> x / (1 + Math.exp(-1.702 * x));
      case SILU -> x / (1 + Math.exp(-x));
    };
  }

  /** The Taylor series; good to 1e-9 where random numbers lie. */
  private static double erf(double x) {
    double power = x;
    double sum = 0;
    for (int n = 0; n < 100; n++) {
      sum += power / (2 * n + 1);
      power *= -x * x / (n + 1);
    }
    return 2 / Math.sqrt(Math.PI) * sum;
  }
}
