package io.sinklens.model.projector;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Operators;
import org.jspecify.annotations.Nullable;

/** LLaVA-1.5's projector: linear, activation, linear. */
public final class MlpProjector {
  private final Operators operators;
  private final Activation activation;
  private final NDArray firstWeight; // [decoder hidden, vision hidden]
  private final @Nullable NDArray firstBias; // [decoder hidden]
  private final NDArray secondWeight; // [decoder hidden, decoder hidden]
  private final @Nullable NDArray secondBias; // [decoder hidden]

  /** Whether the two linear maps have a bias ({@code multimodal_projector_bias}). */
  public enum Bias {
    PRESENT,
    ABSENT
  }

  /** Takes {@code linear_1} and {@code linear_2}. */
  public MlpProjector(
      int visionHidden,
      int decoderHidden,
      Activation activation,
      Bias bias,
      Weights weights,
      Operators operators) {
    this.operators = operators;
    this.activation = activation;
    firstWeight = weights.get("linear_1.weight", decoderHidden, visionHidden);
    secondWeight = weights.get("linear_2.weight", decoderHidden, decoderHidden);
    boolean biased = bias == Bias.PRESENT;
    firstBias = biased ? weights.get("linear_1.bias", decoderHidden) : null;
    secondBias = biased ? weights.get("linear_2.bias", decoderHidden) : null;
  }

  /** {@code [image, token, vision hidden]} to {@code [image, token, decoder hidden]}. */
  public NDArray project(NDArray features) {
    try (NDManager scratch = features.getManager().newSubManager()) {
      NDArray between = linear(features, firstWeight, firstBias);
      between.attach(scratch);
      NDArray projected = linear(activation.apply(operators, between), secondWeight, secondBias);
      projected.attach(features.getManager());
      return projected;
    }
  }

  private NDArray linear(NDArray x, NDArray weight, @Nullable NDArray bias) {
    return bias == null ? operators.linear(x, weight) : operators.linear(x, weight, bias);
  }
}
