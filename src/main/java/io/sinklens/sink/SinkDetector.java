package io.sinklens.sink;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.JoinedSegments;
import io.sinklens.model.decoder.Segment;
import io.sinklens.sink.SinkRule.SinkTokens;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
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
  private final @Nullable NDArray[] groups; // by layer, [place, choice, group, slot]
  private final @Nullable NDArray[] visualSinkCounts; // by layer, [place, choice]
  private final PromptValues[] prompts; // by row
  private String memory = "";
  private int markedSlots;
  private float[] leastOfTokens = {}; // [query] of the segment under way; empty where none can be
  private @Nullable PromptValues underWay;
  private @Nullable Segment current;
  private @Nullable Segment aloneOn;
  private @Nullable JoinedSinks alone;

  /** Sink values of a segment with prompts in it. */
  static final class PromptValues {
    private final float[][] byLayer; // [query]
    private final List<Segment.Token> tokens;

    PromptValues(int layers, List<Segment.Token> tokens) {
      byLayer = new float[layers][];
      this.tokens = tokens;
    }

    /** Takes those of its tokens, from one on. */
    void take(int layer, float[] values, int begin) {
      byLayer[layer] = Arrays.copyOfRange(values, begin, begin + tokens.size());
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
    current = segment;
    memory =
        "sinks %d by %d rules in %s"
            .formatted(segment.ordinal(this), choices.size(), prefix.sinkDimensions());
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
    leastOfTokens = new float[0];
    if (anyCan || segment.firstSlot() < markedSlots) { // Other rows' marks may be there.
      leastOfTokens = thresholds;
      markedSlots = Math.max(markedSlots, segment.keys());
    }
  }

  /** Whether the segment has tokens that can be sinks, or slots of tokens that were. */
  public boolean looks() {
    return leastOfTokens.length > 0;
  }

  /** From which value on each of the segment's tokens is a sink: {@code [query]}, if it looks. */
  float[] leastOfTokens() {
    return leastOfTokens;
  }

  /** Where sink values of the segment go; null where it holds no prompt. */
  @Nullable PromptValues underWay() {
    return underWay;
  }

  PrefixSinkValues prefix() {
    return prefix;
  }

  /** Where it keeps groups; detectors of one block can be joined that call theirs the same. */
  public String memory() {
    return memory;
  }

  /** Finds the sinks among the segment's own tokens, entering a layer it {@link #covers}. */
  public void onHiddenStates(int layer, Segment segment, NDArray hiddenStates) {
    alone(segment).onHiddenStates(layer, hiddenStates);
  }

  /**
   * Adds up attention by group of keys.
   *
   * @param weights of a layer it {@link #covers}, float32 {@code [heads, query, key]}
   * @param segment whose queries they are
   * @return of one image
   */
  public KeyGroupSums sums(int layer, Segment segment, NDArray weights) {
    return alone(segment).sums(layer, weights.expandDims(0));
  }

  private JoinedSinks alone(Segment segment) {
    if (alone == null || aloneOn != segment) {
      aloneOn = segment;
      alone = new JoinedSinks(operators, List.of(this), JoinedSegments.alone(segment));
    }
    return alone;
  }

  /**
   * Which keys are in which group, as 0 and 1, for every different rule: {@code [place, choice,
   * group, slot]}, groups visual sinks, visual non-sinks, text sinks. Text sinks after the image
   * belong to rows that do not see each other's. Other images of the block have the other places.
   */
  NDArray groups(int layer) {
    NDArray ofLayer = groups[layer];
    if (ofLayer == null) {
      Segment segment = Objects.requireNonNull(current);
      String name = memory + " at layer " + layer;
      ofLayer =
          segment.beside(name, new Shape(choices.size(), KeyGroupSums.GROUPS, segment.capacity()));
      NDArray counts = segment.beside(name + ", counted", new Shape(choices.size()));
      operators.keyGroups(prefix.at(layer), least, imageStart, ofLayer, counts, segment.place());
      groups[layer] = ofLayer;
      visualSinkCounts[layer] = counts;
    }
    return ofLayer;
  }

  /** Sinks inside the image, once there are {@link #groups}: {@code [place, choice]}. */
  NDArray visualSinkCounts(int layer) {
    return Objects.requireNonNull(visualSinkCounts[layer]);
  }

  /** Which of the groups is a row's. */
  int choice(int row) {
    return choices.indexOf(rules.get(row));
  }

  /** Where a row's sinks inside the image are in the prefix, rising. */
  public int[] visualSinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.floats(layer);
    return IntStream.range(imageStart, values.length).filter(i -> values[i] >= threshold).toArray();
  }

  /** Where a row's image tokens that are no sinks are in the prefix, rising. */
  public int[] visualNonsinks(int layer, int row) {
    float threshold = rules.get(row).smallest();
    float[] values = prefix.floats(layer);
    return IntStream.range(imageStart, values.length).filter(i -> values[i] < threshold).toArray();
  }

  /** Tokens of the prefix. */
  public int prefixLength() {
    return (int) prefix.at(SinkRule.FIRST_LAYER).getShape().get(0);
  }

  /** Image tokens before the rows of a segment. */
  public int imageTokens(Segment segment) {
    return segment.prefixLength() - imageStart;
  }

  /** The sinks of a row's prompt, from the first layer with sinks to the last. */
  public List<LayerSinks> promptSinks(int row) {
    float threshold = rules.get(row).smallest();
    List<LayerSinks> layers = new ArrayList<>();
    for (int layer = SinkRule.FIRST_LAYER; layer < prefix.layers(); layer++) {
      float[] shared = prefix.floats(layer);
      float[] own = prompts[row].byLayer[layer];
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
