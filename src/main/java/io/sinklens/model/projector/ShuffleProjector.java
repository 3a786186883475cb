package io.sinklens.model.projector;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Operators;

/**
 * The projector of InternVL and VILA1.5: of every square of 2 x 2 patches one long vector, then
 * norm, linear, GELU, linear.
 *
 * <p>The vector is the patches of the square row by row. A map with an odd side gets a row and a
 * column of zeros first. Follows {@code pixel_shuffle} and {@code InternVLMultiModalProjector} of
 * {@code models/internvl/modeling_internvl.py} of transformers 4.57, and {@code mlp_downsample} of
 * NVlabs/VILA, branch vila1.5.
 */
public final class ShuffleProjector {
  /** Edges of the square of patches that becomes one token. */
  public static final int SQUARE = 2;

  private static final double EPSILON = 1e-5; // Of torch's LayerNorm; no config says another.

  /** How the squares of an image follow each other. */
  public enum Order {
    /** {@code ps_version: v2}. */
    ROW_MAJOR,
    /** {@code ps_version: v1}, and VILA1.5: the image's rows and columns stay swapped. */
    COLUMN_MAJOR
  }

  private final Operators operators;
  private final Order order;
  private final NDArray normWeight; // [4 · vision hidden]
  private final NDArray normBias; // [4 · vision hidden]
  private final NDArray firstWeight; // [decoder hidden, 4 · vision hidden]
  private final NDArray firstBias; // [decoder hidden]
  private final NDArray secondWeight; // [decoder hidden, decoder hidden]
  private final NDArray secondBias; // [decoder hidden]

  /** Takes {@code layer_norm}, {@code linear_1} and {@code linear_2}, all with bias. */
  public ShuffleProjector(
      int visionHidden, int decoderHidden, Order order, Weights weights, Operators operators) {
    this.operators = operators;
    this.order = order;
    long wide = (long) SQUARE * SQUARE * visionHidden;
    normWeight = weights.get("layer_norm.weight", wide);
    normBias = weights.get("layer_norm.bias", wide);
    firstWeight = weights.get("linear_1.weight", decoderHidden, wide);
    firstBias = weights.get("linear_1.bias", decoderHidden);
    secondWeight = weights.get("linear_2.weight", decoderHidden, decoderHidden);
    secondBias = weights.get("linear_2.bias", decoderHidden);
  }

  /**
   * Projects square maps of patches.
   *
   * @param features {@code [image, patch, vision hidden]}, patches row by row
   * @return {@code [image, token, decoder hidden]} in the manager of {@code features}
   */
  public NDArray project(NDArray features) {
    try (NDManager scratch = features.getManager().newSubManager()) {
      NDArray map = map(features);
      map.attach(scratch);
      NDArray normed = operators.layerNorm(squares(map), normWeight, normBias, EPSILON);
      NDArray between =
          Activation.GELU.apply(operators, operators.linear(normed, firstWeight, firstBias));
      NDArray projected = operators.linear(between, secondWeight, secondBias);
      projected.attach(features.getManager());
      return projected;
    }
  }

  /** {@code [image, patch, hidden]} to {@code [image, rows, columns, hidden]}. */
  private static NDArray map(NDArray features) {
    Shape shape = features.getShape();
    long side = Math.round(Math.sqrt((double) shape.get(1)));
    if (side * side != shape.get(1)) {
      throw new IllegalArgumentException(
          "Cannot lay %d patches out in a square".formatted(shape.get(1)));
    }
    return features.reshape(shape.get(0), side, side, shape.get(2));
  }

  /** {@code [image, rows, columns, hidden]} to {@code [image, square, 4 · hidden]}. */
  private NDArray squares(NDArray map) {
    NDArray even = map.getShape().get(1) % SQUARE == 0 ? map : operators.padMap(map);
    Shape shape = even.getShape();
    long images = shape.get(0);
    long half = shape.get(1) / SQUARE;
    long hidden = shape.get(3);
    NDArray split = even.reshape(images, half, SQUARE, half, SQUARE, hidden);
    NDArray ordered =
        order == Order.ROW_MAJOR
            ? split.transpose(0, 1, 3, 2, 4, 5)
            : split.transpose(0, 3, 1, 2, 4, 5);
    return ordered.reshape(images, half * half, SQUARE * SQUARE * hidden);
  }
}
