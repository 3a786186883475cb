package io.sinklens.tensor;

import ai.djl.ndarray.NDArray;

/** Activation functions, under the names configurations give them. */
public enum Activation {
  /** {@code x · Φ(x)} with the exact error function. */
  GELU("gelu"),
  /** GELU by its tanh approximation. */
  GELU_TANH("gelu_pytorch_tanh"),
  /** {@code x · sigmoid(1.702 x)}, CLIP's. */
  QUICK_GELU("quick_gelu"),
  /** {@code x · sigmoid(x)}. */
  SILU("silu");

  private final String configName;

  Activation(String configName) {
    this.configName = configName;
  }

  /** The name used in {@code hidden_act} and {@code projector_hidden_act}. */
  public String configName() {
    return configName;
  }

  /**
   * The activation of that configuration name.
   *
   * @throws IllegalArgumentException for a name no network here knows
   */
  public static Activation named(String configName) {
    for (Activation activation : values()) {
      if (activation.configName.equals(configName)) {
        return activation;
      }
    }
    throw new IllegalArgumentException(
        "Activation must be one of gelu, gelu_pytorch_tanh, quick_gelu, silu, not " + configName);
  }

  /** Applies it to every element. */
  public NDArray apply(Operators operators, NDArray x) {
    return switch (this) {
      case GELU -> operators.gelu(x);
      case GELU_TANH -> operators.geluTanh(x);
      case QUICK_GELU -> operators.quickGelu(x);
      case SILU -> operators.silu(x);
    };
  }
}
