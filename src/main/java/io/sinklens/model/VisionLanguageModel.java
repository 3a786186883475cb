package io.sinklens.model;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;

/**
 * A network that answers questions about images: an image encoder in front of a decoder.
 *
 * <p>Immutable, and safe to use from several threads with a manager each. Closing it frees the
 * weights.
 */
public final class VisionLanguageModel implements AutoCloseable {

  /** What stands before the decoder; each family puts its own together. */
  @FunctionalInterface
  public interface ImageEncoder {
    /**
     * Embeddings to put in the place of an image's tokens.
     *
     * @param pixels {@code [view, channel, height, width]} in the model's dtype
     * @param hook offered the vision encoder's output, if it asks
     * @return {@code [image token, hidden]} in the manager of {@code pixels}
     */
    NDArray encode(NDArray pixels, AttentionHook hook);
  }

  private final Operators operators;
  private final Dtype dtype;
  private final ImageEncoder imageEncoder;
  private final LlamaDecoder decoder;

  /** Joins the parts; the operators, and with them all weights, now belong to the model. */
  public VisionLanguageModel(
      Operators operators, Dtype dtype, ImageEncoder imageEncoder, LlamaDecoder decoder) {
    this.operators = operators;
    this.dtype = dtype;
    this.imageEncoder = imageEncoder;
    this.decoder = decoder;
  }

  public Operators operators() {
    return operators;
  }

  /** What the network computes in. */
  public Dtype dtype() {
    return dtype;
  }

  public LlamaDecoder decoder() {
    return decoder;
  }

  /**
   * Encodes one image.
   *
   * @param manager owner of the result
   * @param pixels view by view, channel by channel, row by row
   * @param shape {@code [view, channel, height, width]}
   * @return {@code [image token, hidden]}
   */
  public NDArray encodeImage(NDManager manager, float[] pixels, Shape shape, AttentionHook hook) {
    try (NDManager scratch = manager.newSubManager()) {
      NDArray input = operators.to(scratch.create(pixels, shape), dtype);
      NDArray embeddings = imageEncoder.encode(input, hook);
      embeddings.attach(manager);
      return embeddings;
    }
  }

  @Override
  public void close() {
    operators.close();
  }
}
