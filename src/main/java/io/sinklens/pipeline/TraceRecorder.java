package io.sinklens.pipeline;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.SafetensorsWriter;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.AttentionParts;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Pass;
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
  private int firstQuery; // Of the pass being recorded, among the prompt's tokens.
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
      public void onPass(Pass pass) {
        firstQuery = pass.prefix().length();
        recording = firstQuery + pass.queries() <= tokens && !generates(pass);
      }

      @Override
      public void onVisionOutput(NDArray features) {
        NDArray patches = features.reshape(-1, features.getShape().get(2));
        tensors.put("vision.output", tensor(patches));
      }

      @Override
      public void onHiddenStates(int layer, NDArray hiddenStates) {
        if (!recording) {
          return;
        }
        if (layer < decoder.config().numHiddenLayers()) {
          put("decoder." + layer + ".input", hiddenStates);
        } else {
          put("logits", decoder.logits(hiddenStates));
        }
      }

      @Override
      public AttentionParts onWeights(int layer, AttentionParts weights) {
        putWeights("decoder." + layer + ".attention", weights);
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
      public AttentionParts onWeights(int layer, AttentionParts weights) {
        putWeights("decoder." + layer + ".attention_used", weights);
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

  /** Whether a pass runs a generated token: it begins past the prompt's own tokens. */
  private boolean generates(Pass pass) {
    return pass.prefix().length() + pass.ownKeys() > tokens;
  }

  /** Puts {@code [1, query, width]} into the rows of {@code [token, width]}. */
  private void put(String name, NDArray part) {
    int width = (int) part.getShape().get(2);
    Tensor whole =
        tensors.computeIfAbsent(
            name, n -> new Tensor(new long[] {tokens, width}, new float[tokens * width]));
    float[] values = operators.to(part, Dtype.FLOAT32).toFloatArray();
    System.arraycopy(values, 0, whole.values(), firstQuery * width, values.length);
  }

  /** Puts {@code [1, heads, query, key]} of both parts into {@code [heads, token, token]}. */
  private void putWeights(String name, AttentionParts weights) {
    if (!recording) {
      return;
    }
    int heads = (int) weights.own().getShape().get(1);
    int queries = (int) weights.own().getShape().get(2);
    int prefixKeys = (int) weights.prefix().getShape().get(3);
    int ownKeys = (int) weights.own().getShape().get(3);
    Tensor whole =
        tensors.computeIfAbsent(
            name,
            n ->
                new Tensor(new long[] {heads, tokens, tokens}, new float[heads * tokens * tokens]));
    float[] prefix = prefixKeys == 0 ? new float[0] : weights.prefix().toFloatArray();
    float[] own = weights.own().toFloatArray();
    for (int h = 0; h < heads; h++) {
      for (int q = 0; q < queries; q++) {
        int row = h * queries + q;
        int to = (h * tokens + firstQuery + q) * tokens;
        System.arraycopy(prefix, row * prefixKeys, whole.values(), to, prefixKeys);
        System.arraycopy(own, row * ownKeys, whole.values(), to + prefixKeys, ownKeys);
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
