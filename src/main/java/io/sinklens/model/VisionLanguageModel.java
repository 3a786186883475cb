package io.sinklens.model;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import org.jspecify.annotations.Nullable;

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
     * @param window of the joined views after the first, where the image rule joins them
     * @param hook offered the vision encoder's output, if it asks
     * @return {@code [image token, hidden]} in the manager of {@code pixels}
     */
    NDArray encode(NDArray pixels, @Nullable TileWindow window, AttentionHook hook);
  }

  /** Where the tokens of a prompt stand for rotary embedding, up to the end of its image. */
  @FunctionalInterface
  public interface PrefixPositions {
    /** One behind the other. */
    PrefixPositions SEQUENTIAL =
        (textTokens, imageTokens, pixels) -> RotaryPositions.sequential(textTokens + imageTokens);

    /**
     * Positions of text and image.
     *
     * @param textTokens tokens before the image
     * @param imageTokens tokens of the image
     * @param pixels {@code [view, channel, height, width]}
     */
    RotaryPositions of(int textTokens, int imageTokens, Shape pixels);
  }

  private final Operators operators;
  private final Dtype dtype;
  private final ImageEncoder imageEncoder;
  private final PrefixPositions positions;
  private final LlamaDecoder decoder;

  /** A model in which positions go one behind the other. */
  public VisionLanguageModel(
      Operators operators, Dtype dtype, ImageEncoder imageEncoder, LlamaDecoder decoder) {
    this(operators, dtype, imageEncoder, PrefixPositions.SEQUENTIAL, decoder);
  }

  /** Joins the parts; the operators, and with them all weights, now belong to the model. */
  public VisionLanguageModel(
      Operators operators,
      Dtype dtype,
      ImageEncoder imageEncoder,
      PrefixPositions positions,
      LlamaDecoder decoder) {
    this.positions = positions;
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
   * @return {@code [image token, hidden]}
   */
  public NDArray encodeImage(NDManager manager, ImageInput image, AttentionHook hook) {
    try (NDManager scratch = manager.newSubManager()) {
      NDArray pixels = operators.to(scratch.create(image.pixels(), image.shape()), dtype);
      NDArray embeddings = imageEncoder.encode(pixels, image.window(), hook);
      embeddings.attach(manager);
      return embeddings;
    }
  }

  /** Positions of the tokens up to the end of the image. */
  public RotaryPositions positions(int textTokens, int imageTokens, ImageInput image) {
    return positions.of(textTokens, imageTokens, image.shape());
  }

  @Override
  public void close() {
    operators.close();
  }
}
