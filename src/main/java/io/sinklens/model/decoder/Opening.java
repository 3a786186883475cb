package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The text that prompts begin with, as it went through the layers before one image, to stand before
 * others.
 *
 * <p>Attention is causal, so nothing after the text changes it. What hooks see of it is kept too:
 * they are shown prefixes whole.
 */
public final class Opening implements AutoCloseable {
  private final NDManager manager;
  private final List<NDArray> hidden; // by layer, [token, hidden]
  private final List<NDArray> keys; // by layer, [key-value heads, token, headSize]
  private final List<NDArray> values;

  private Opening(
      NDManager manager, List<NDArray> hidden, List<NDArray> keys, List<NDArray> values) {
    this.manager = manager;
    this.hidden = hidden;
    this.keys = keys;
    this.values = values;
  }

  /** Tokens of the text. */
  public int tokens() {
    return (int) hidden.get(0).getShape().get(0);
  }

  /** Whether a hook of a prefix needs nothing of its text that is not kept. */
  public boolean suffices(AttentionHook hook) {
    for (int layer = 0; layer < hidden.size(); layer++) {
      if (hook.asks(AttentionHook.Point.SCORES, layer)
          || hook.asks(AttentionHook.Point.WEIGHTS, layer)
          || hook.asks(AttentionHook.Point.HEAD_OUTPUTS, layer)) {
        return false;
      }
    }
    return !hook.asks(AttentionHook.Point.HIDDEN_STATES, hidden.size());
  }

  /** What entered a layer: {@code [token, hidden]}. */
  NDArray hidden(int layer) {
    return hidden.get(layer);
  }

  /** A layer's keys: {@code [key-value heads, token, headSize]}. */
  NDArray keys(int layer) {
    return keys.get(layer);
  }

  /** A layer's values, shaped as its keys. */
  NDArray values(int layer) {
    return values.get(layer);
  }

  @Override
  public void close() {
    manager.close();
  }

  /** The hook of the prefix pass that an opening is taken from. */
  public static final class Recorder implements AttentionHook, AutoCloseable {
    private final Operators operators;
    private final NDManager manager;
    private final int tokens;
    private final int layers;
    private final List<NDArray> hidden = new ArrayList<>();

    Recorder(Operators operators, int tokens, int layers) {
      this.operators = operators;
      this.tokens = tokens;
      this.layers = layers;
      manager = operators.manager().newSubManager();
    }

    @Override
    public boolean asks(Point point, int layer) {
      return point == Point.HIDDEN_STATES && layer < layers;
    }

    @Override
    public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
      hidden.add(owned(operators.copyRows(hiddenStates, tokens)));
    }

    /** What the pass left, unless some of it is no finite number; ends the recording. */
    public Optional<Opening> take(KeyValueCache cache) {
      if (cache.isPrefixSpoiled()) {
        close();
        return Optional.empty();
      }
      List<NDArray> keys = new ArrayList<>();
      List<NDArray> values = new ArrayList<>();
      for (int layer = 0; layer < layers; layer++) {
        keys.add(owned(cache.copyKeys(layer, tokens)));
        values.add(owned(cache.copyValues(layer, tokens)));
      }
      return Optional.of(new Opening(manager, hidden, keys, values));
    }

    /** Ends the recording and frees it. */
    @Override
    public void close() {
      manager.close();
    }

    private NDArray owned(NDArray array) {
      array.attach(manager);
      return array;
    }
  }
}
