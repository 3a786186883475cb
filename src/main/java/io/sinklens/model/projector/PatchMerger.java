package io.sinklens.model.projector;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.checkpoint.Weights;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Operators;
import org.jspecify.annotations.Nullable;

/**
 * How Qwen2-VL and Qwen2.5-VL make image tokens: every patch normed, those of a token put side by
 * side, then linear, GELU, linear.
 *
 * <p>Follows {@code PatchMerger} of {@code models/qwen2_vl/modeling_qwen2_vl.py} and {@code
 * Qwen2_5_VLPatchMerger} of {@code models/qwen2_5_vl/modeling_qwen2_5_vl.py} of transformers 4.57.
 */
public final class PatchMerger {
  private static final double NORM_EPS = 1e-6;

  private final Operators operators;
  private final int merged; // patches of a token times their width
  private final NDArray normWeight; // [vision hidden]
  private final @Nullable NDArray normBias; // [vision hidden]
  private final NDArray firstWeight; // [merged, merged]
  private final NDArray firstBias; // [merged]
  private final NDArray secondWeight; // [decoder hidden, merged]
  private final NDArray secondBias; // [decoder hidden]

  /** The norm of a patch. */
  public enum Norm {
    /** Layer norm: Qwen2-VL. */
    LAYER,
    /** Root-mean-square norm: Qwen2.5-VL. */
    RMS
  }

  /**
   * Takes {@code ln_q} and {@code mlp}.
   *
   * @param patchesPerToken patches of one image token
   */
  public PatchMerger(
      int visionHidden,
      int patchesPerToken,
      int decoderHidden,
      Norm norm,
      Weights weights,
      Operators operators) {
    this.operators = operators;
    merged = visionHidden * patchesPerToken;
    normWeight = weights.get("ln_q.weight", visionHidden);
    normBias = norm == Norm.LAYER ? weights.get("ln_q.bias", visionHidden) : null;
    firstWeight = weights.get("mlp.0.weight", merged, merged);
    firstBias = weights.get("mlp.0.bias", merged);
    secondWeight = weights.get("mlp.2.weight", decoderHidden, merged);
    secondBias = weights.get("mlp.2.bias", decoderHidden);
  }

  /**
   * {@code [1, patch, vision hidden]}, the patches of a token behind one another, to {@code [token,
   * decoder hidden]}.
   */
  public NDArray merge(NDArray features) {
    try (NDManager scratch = features.getManager().newSubManager()) {
      NDArray normed =
          normBias == null
              ? operators.rmsNorm(features, normWeight, NORM_EPS)
              : operators.layerNorm(features, normWeight, normBias, NORM_EPS);
      normed.attach(scratch);
      NDArray between =
          Activation.GELU.apply(
              operators, operators.linear(normed.reshape(-1, merged), firstWeight, firstBias));
      NDArray tokens = operators.linear(between, secondWeight, secondBias);
      tokens.attach(features.getManager());
      return tokens;
    }
  }
}
