package io.sinklens.pipeline;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.SafetensorsWriter;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Segment;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Records everything of one prompt, for looking inside: the prefix pass and the rest of the prompt
 * put together, in float32.
 */
final class TraceRecorder {
  private final Operators operators;
  private final LlamaDecoder decoder;
  private final int imageStart;
  private final int imageEnd;
  private final int tokens;
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private boolean recording;

  /** Numbers in C order. */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  private record Tensor(long[] shape, float[] values) {}

  /**
   * Prepares for one prompt.
   *
   * @param tokens of the whole prompt, of which [imageStart, imageEnd) are the image's
   */
  TraceRecorder(
      Operators operators, LlamaDecoder decoder, int imageStart, int imageEnd, int tokens) {
    this.operators = operators;
    this.decoder = decoder;
    this.imageStart = imageStart;
    this.imageEnd = imageEnd;
    this.tokens = tokens;
  }

  /** The hook that goes before all others: what enters layers, and weights before any change. */
  AttentionHook before() {
    return new AttentionHook() {
      @Override
      public boolean asks(Point point, int layer) {
        return switch (point) {
          case VISION_OUTPUT, HIDDEN_STATES, WEIGHTS -> true;
          case NORMED_INPUT, SCORES, HEAD_OUTPUTS -> false;
        };
      }

      @Override
      public void onSegment(Segment segment) {
        recording = segment.isPrefix() || segment.keys() <= tokens; // Else it is a generated token.
      }

      @Override
      public void onVisionOutput(NDArray features) {
        NDArray patches = features.reshape(-1, features.getShape().get(2));
        tensors.put("vision.output", tensor(patches));
      }

      @Override
      public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
        if (!recording) {
          return;
        }
        if (layer < decoder.config().numHiddenLayers()) {
          put("decoder." + layer + ".input", segment, hiddenStates);
        } else {
          put("logits", segment, decoder.logits(hiddenStates));
        }
      }

      @Override
      public NDArray onWeights(int layer, Segment segment, NDArray weights) {
        putWeights("decoder." + layer + ".attention", segment, weights);
        return weights;
      }
    };
  }

  /** The hook that goes after all others: the weights the model uses. */
  AttentionHook after() {
    return new AttentionHook() {
      @Override
      public boolean asks(Point point, int layer) {
        return point == Point.WEIGHTS;
      }

      @Override
      public NDArray onWeights(int layer, Segment segment, NDArray weights) {
        putWeights("decoder." + layer + ".attention_used", segment, weights);
        return weights;
      }
    };
  }

  /** Writes what was recorded as one safetensors file. */
  void write(Path file) {
    Tensor input = required(tensors.get("decoder.0.input"));
    int hidden = (int) input.shape()[1];
    float[] image = new float[(imageEnd - imageStart) * hidden];
    System.arraycopy(input.values(), imageStart * hidden, image, 0, image.length);
    tensors.put("projector.output", new Tensor(new long[] {imageEnd - imageStart, hidden}, image));
    try (NDManager scratch = operators.manager().newSubManager()) {
      Map<String, NDArray> arrays = new LinkedHashMap<>();
      tensors.forEach(
          (name, tensor) ->
              arrays.put(name, scratch.create(tensor.values(), new Shape(tensor.shape()))));
      SafetensorsWriter.write(file, arrays, Map.of("format", "pt"));
    }
  }

  /** Puts {@code [query, width]} into the rows of {@code [token, width]}. */
  private void put(String name, Segment segment, NDArray part) {
    int width = (int) part.getShape().get(1);
    Tensor whole =
        tensors.computeIfAbsent(
            name, n -> new Tensor(new long[] {tokens, width}, new float[tokens * width]));
    float[] values = operators.to(part, Dtype.FLOAT32).toFloatArray();
    System.arraycopy(values, 0, whole.values(), segment.firstSlot() * width, values.length);
  }

  /** Puts {@code [heads, query, key]} into {@code [heads, token, token]}. */
  private void putWeights(String name, Segment segment, NDArray weights) {
    if (!recording) {
      return;
    }
    int heads = (int) weights.getShape().get(0);
    int keys = segment.keys();
    Tensor whole =
        tensors.computeIfAbsent(
            name,
            n ->
                new Tensor(new long[] {heads, tokens, tokens}, new float[heads * tokens * tokens]));
    float[] values = weights.toFloatArray();
    for (int h = 0; h < heads; h++) {
      for (int q = 0; q < segment.queries(); q++) {
        int to = (h * tokens + segment.firstSlot() + q) * tokens;
        System.arraycopy(values, (h * segment.queries() + q) * keys, whole.values(), to, keys);
      }
    }
  }

  private Tensor tensor(NDArray array) {
    return new Tensor(
        array.getShape().getShape(), operators.to(array, Dtype.FLOAT32).toFloatArray());
  }

  private static Tensor required(@Nullable Tensor tensor) {
    if (tensor == null) {
      throw new IllegalStateException("Cannot write a trace of a prompt that has not run");
    }
    return tensor;
  }
}
