package io.sinklens.model.projector;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** LLaVA's projector: linear maps with an activation between them, two in LLaVA-1.5. */
public final class MlpProjector {
  private final Operators operators;
  private final Activation activation;
  private final List<Linear> maps;

  /** Whether the linear maps have a bias ({@code multimodal_projector_bias}). */
  public enum Bias {
    PRESENT,
    ABSENT
  }

  /**
   * What a projector is made of.
   *
   * @param depth linear maps, above 0
   * @param activation between two of them
   * @param bias whether they have one
   */
  public record Shape(int depth, Activation activation, Bias bias) {
    public Shape {
      if (depth < 1) {
        throw new IllegalArgumentException("Projector depth must be above 0, not " + depth);
      }
    }
  }

  /** Takes {@code linear_1}, {@code linear_2} and so on. */
  public MlpProjector(
      Shape shape, int visionHidden, int decoderHidden, Weights weights, Operators operators) {
    this.operators = operators;
    activation = shape.activation();
    maps = new ArrayList<>();
    for (int i = 0; i < shape.depth(); i++) {
      Weights map = weights.under("linear_" + (i + 1));
      maps.add(new Linear(map, shape.bias(), decoderHidden, i == 0 ? visionHidden : decoderHidden));
    }
  }

  /** {@code [image, token, vision hidden]} to {@code [image, token, decoder hidden]}. */
  public NDArray project(NDArray features) {
    try (NDManager scratch = features.getManager().newSubManager()) {
      NDArray projected = maps.get(0).apply(features);
      for (Linear map : maps.subList(1, maps.size())) {
        projected.attach(scratch);
        projected = map.apply(activation.apply(operators, projected));
      }
      projected.attach(features.getManager());
      return projected;
    }
  }

  private final class Linear {
    private final NDArray weight; // [out, in]
    private final @Nullable NDArray bias; // [out]

    Linear(Weights weights, Bias bias, int out, int in) {
      weight = weights.get("weight", out, in);
      this.bias = bias == Bias.PRESENT ? weights.get("bias", out) : null;
    }

    NDArray apply(NDArray x) {
      return bias == null ? operators.linear(x, weight) : operators.linear(x, weight, bias);
    }
  }
}
