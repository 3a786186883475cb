package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.SinkRule.SinkTokens;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The sinks of some rows on one image: which keys they are, layer by layer, and what attention they
 * receive.
 *
 * <p>Rows share a prefix and its sink values; each has a rule of its own, and rows of one rule
 * share its groups of keys. Shown every segment and every layer's hidden states in order.
 */
public final class SinkDetector implements AutoCloseable {
  private final Operators operators;
  private final NDManager manager;
  private final PrefixSinkValues prefix;
  private final int imageStart;
  private final List<SinkRule> rules; // by row
  private final List<SinkRule> choices; // The different ones among them.
  private final int[] promptLengths;
  private final NDArray least; // [choice]
  private final NDArray[] groups; // by layer, [choice, slot, group]
  private final NDArray[] visualSinkCounts; // by layer, [choice]
  private final PromptValues[] prompts; // by row
  private int capacity;
  private int markedSlots;
  private @Nullable NDArray leastOfTokens; // [query] of the segment under way
  private @Nullable PromptValues underWay;
  private @Nullable Segment chosenFor;
  private @Nullable NDArray choicesOfQueries;

  /** Sink values of a segment with prompts in it. */
  private static final class PromptValues {
    private final NDArray[] byLayer; // [query]
    private final List<Segment.Token> tokens;

    PromptValues(int layers, List<Segment.Token> tokens) {
      byLayer = new NDArray[layers];
      this.tokens = tokens;
    }
  }

  /**
   * Prepares for rows.
   *
   * @param prefix sink values of what all rows begin with
   * @param imageStart position of the first image token in the prefix; the image ends with it
   * @param rules one a row
   * @param promptLengths own prompt tokens of each row, after the prefix
   */
  public SinkDetector(
      Operators operators,
      PrefixSinkValues prefix,
      int imageStart,
      List<SinkRule> rules,
      int[] promptLengths) {
    this.operators = operators;
    this.prefix = prefix;
    this.imageStart = imageStart;
    this.rules = List.copyOf(rules);
    this.promptLengths = promptLengths.clone();
    choices = rules.stream().distinct().toList();
    manager = operators.manager().newSubManager();
    float[] thresholds = new float[choices.size()];
    for (int c = 0; c < thresholds.length; c++) {
      thresholds[c] = choices.get(c).smallest();
    }
    least = manager.create(thresholds);
    groups = new NDArray[prefix.layers()];
    visualSinkCounts = new NDArray[prefix.layers()];
    prompts = new PromptValues[promptLengths.length];
  }

  /** Whether this layer can have sinks at all. */
  public boolean covers(int layer) {
    return layer >= SinkRule.FIRST_LAYER && layer < prefix.layers();
  }

  /** Notes which of the segment's tokens can be sinks. */
  public void onSegment(Segment segment) {
    capacity = segment.capacity();
    float[] thresholds = new float[segment.queries()];
    boolean anyCan = false;
    List<Segment.Token> tokens = new ArrayList<>();
    boolean prompt = false;
    for (int q = 0; q < thresholds.length; q++) {
      Segment.Token token = segment.token(q);
      tokens.add(token);
      boolean ofPrompt = token.ownIndex() < promptLengths[token.row()];
      boolean can = ofPrompt || rules.get(token.row()).tokens() == SinkTokens.ALL;
      thresholds[q] = can ? rules.get(token.row()).smallest() : Float.POSITIVE_INFINITY;
      anyCan |= can;
      prompt |= ofPrompt;
    }
    underWay = prompt ? new PromptValues(prefix.layers(), tokens) : null;
    for (Segment.Token token : tokens) {
      if (underWay != null && token.ownIndex() < promptLengths[token.row()]) {
        prompts[token.row()] = underWay;
      }
    }
    if (leastOfTokens != null) {
      leastOfTokens.close();
      leastOfTokens = null;
    }
    if (anyCan || segment.firstSlot() < markedSlots) { // Other rows' marks may be there.
      leastOfTokens = manager.create(thresholds);
      markedSlots = Math.max(markedSlots, segment.keys());
    }
  }

  /** Finds the sinks among the segment's own tokens, entering a layer it {@link #covers}. */
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    if (leastOfTokens == null) {
      return;
    }
    NDArray values = prefix.valuesOf(hiddenStates);
    operators.markSinks(groups(layer), segment.firstSlot(), values, leastOfTokens);
    if (underWay != null) {
      values.attach(manager);
      underWay.byLayer[layer] = values;
    }
  }

  /**
   * Adds up attention by group of keys.
   *
   * @param weights of a layer it {@link #covers}, float32 {@code [heads, query, key]}
   * @param segment whose queries they are
   */
  public KeyGroupSums sums(int layer, Segment segment, NDArray weights) {
    return new KeyGroupSums(operators.groupSums(weights, groups(layer), choices(segment)));
  }

  /**
   * Which keys are in which group, as 0 and 1, for every different rule: {@code [choice, slot,
   * group]}, groups visual sinks, visual non-sinks, text sinks. Text sinks after the image belong
   * to rows that do not see each other's.
   */
  public NDArray groups(int layer) {
    if (groups[layer] == null) {
      NDArray values = prefix.at(layer).duplicate();
      values.attach(manager);
      groups[layer] = operators.keyGroups(values, least, imageStart, capacity);
      values.close();
    }
    return groups[layer];
  }

  /** Sinks inside the image: {@code [choice]}. */
  public NDArray visualSinkCounts(int layer) {
    if (visualSinkCounts[layer] == null) {
      NDArray counts = groups(layer).sum(new int[] {1}); // [choice, group]
      visualSinkCounts[layer] = counts.get(":, 0").duplicate();
      counts.close();
    }
    return visualSinkCounts[layer];
  }

  /** Which of {@link #groups} is each query's: int64 {@code [query]}. */
  public NDArray choices(Segment segment) {
    if (choicesOfQueries == null || chosenFor != segment) {
      long[] ofQueries = new long[segment.queries()];
      for (int q = 0; q < ofQueries.length; q++) {
        ofQueries[q] = choices.indexOf(rules.get(segment.token(q).row()));
      }
      chosenFor = segment;
      choicesOfQueries = segment.scope().create(ofQueries);
    }
    return choicesOfQueries;
  }

  /** Where a row's sinks inside the image are in the prefix, rising. */
  public int[] visualSinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.at(layer).toFloatArray();
    return IntStream.range(imageStart, values.length).filter(i -> values[i] >= threshold).toArray();
  }

  /** Where a row's image tokens that are no sinks are in the prefix, rising. */
  public int[] visualNonsinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.at(layer).toFloatArray();
    return IntStream.range(imageStart, values.length).filter(i -> values[i] < threshold).toArray();
  }

  /** Tokens of the prefix. */
  public int prefixLength() {
    return (int) prefix.at(SinkRule.FIRST_LAYER).getShape().get(0);
  }

  /** Image tokens of the prefix. */
  public int imageTokens() {
    return prefixLength() - imageStart;
  }

  /** The sinks of a row's prompt, from the first layer with sinks to the last. */
  public List<LayerSinks> promptSinks(int row) {
    float threshold = rules.get(row).smallest();
    List<LayerSinks> layers = new ArrayList<>();
    for (int layer = SinkRule.FIRST_LAYER; layer < prefix.layers(); layer++) {
      float[] shared = prefix.at(layer).toFloatArray();
      float[] own = prompts[row].byLayer[layer].toFloatArray();
      List<Integer> image = new ArrayList<>();
      List<Integer> text = new ArrayList<>();
      float maxValue = 0;
      for (int i = 0; i < shared.length; i++) {
        if (i >= imageStart) {
          maxValue = Math.max(maxValue, shared[i]);
        }
        if (shared[i] >= threshold) {
          (i >= imageStart ? image : text).add(i >= imageStart ? i - imageStart : i);
        }
      }
      for (int q = 0; q < own.length; q++) {
        Segment.Token token = prompts[row].tokens.get(q);
        if (token.row() == row && token.ownIndex() < promptLengths[row] && own[q] >= threshold) {
          text.add(shared.length + token.ownIndex());
        }
      }
      layers.add(new LayerSinks(layer, image, text, maxValue));
    }
    return layers;
  }

  @Override
  public void close() {
    manager.close();
  }
}
