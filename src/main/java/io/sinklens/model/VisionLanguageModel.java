package io.sinklens.model;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionHook.Point;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A network that answers questions about images: an image encoder in front of a decoder.
 *
 * <p>Immutable, and safe to use from several threads with a manager each. Closing it frees the
 * weights.
 */
public final class VisionLanguageModel implements AutoCloseable {

  /** Sees an image. */
  @FunctionalInterface
  public interface VisionEncoder {
    /**
     * Features of an image's views.
     *
     * @param pixels {@code [view, channel, height, width]} in the model's dtype
     * @return {@code [view, patch, hidden]} in the manager of {@code pixels}
     */
    NDArray encode(NDArray pixels);

    /** Whether views of several images may come together, each encoded as it would be alone. */
    default boolean joinsImages() {
      return false;
    }

    /** An encoder whose views may be of several images. */
    static VisionEncoder joining(UnaryOperator<NDArray> encode) {
      return new VisionEncoder() {
        @Override
        public NDArray encode(NDArray pixels) {
          return encode.apply(pixels);
        }

        @Override
        public boolean joinsImages() {
          return true;
        }
      };
    }
  }

  /** What stands between vision encoder and decoder; each family puts its own together. */
  @FunctionalInterface
  public interface Projector {
    /**
     * Embeddings to put in the place of an image's tokens.
     *
     * @param features of the vision encoder
     * @param window of the joined views after the first, where the image rule joins them
     * @return {@code [image token, hidden]} in the manager of {@code features}
     */
    NDArray project(NDArray features, @Nullable TileWindow window);
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
  private final VisionEncoder vision;
  private final Projector projector;
  private final PrefixPositions positions;
  private final LlamaDecoder decoder;

  /** A model in which positions go one behind the other. */
  public VisionLanguageModel(
      Operators operators,
      Dtype dtype,
      VisionEncoder vision,
      Projector projector,
      LlamaDecoder decoder) {
    this(operators, dtype, vision, projector, PrefixPositions.SEQUENTIAL, decoder);
  }

  /** Joins the parts; the operators, and with them all weights, now belong to the model. */
  public VisionLanguageModel(
      Operators operators,
      Dtype dtype,
      VisionEncoder vision,
      Projector projector,
      PrefixPositions positions,
      LlamaDecoder decoder) {
    this.positions = positions;
    this.operators = operators;
    this.dtype = dtype;
    this.vision = vision;
    this.projector = projector;
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
      NDArray features = vision.encode(pixels);
      if (hook.asks(Point.VISION_OUTPUT, 0)) {
        hook.onVisionOutput(features);
      }
      NDArray embeddings = projector.project(features, image.window());
      embeddings.attach(manager);
      return embeddings;
    }
  }

  /** Whether {@link #encodeImages} can encode several images at once. */
  public boolean joinsImages() {
    return vision.joinsImages();
  }

  /**
   * Encodes images of one shape at once, which no hook watches.
   *
   * @param manager owner of the results
   * @return as {@link #encodeImage} would each
   */
  public List<NDArray> encodeImages(NDManager manager, List<ImageInput> images) {
    try (NDManager scratch = manager.newSubManager()) {
      List<NDArray> views =
          images.stream()
              .<NDArray>map(image -> scratch.create(image.pixels(), image.shape()))
              .toList();
      NDArray features = vision.encode(operators.to(operators.concat(views), dtype));
      List<NDArray> embeddings = new ArrayList<>();
      int end = 0;
      for (ImageInput image : images) {
        int begin = end;
        end += (int) image.shape().get(0);
        NDArray own = operators.rows(features, begin, end);
        NDArray projected = projector.project(own, image.window());
        projected.attach(manager);
        embeddings.add(projected);
      }
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
