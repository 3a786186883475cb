package io.sinklens.sink;

import java.util.List;

/**
 * The sinks of one prompt at one layer.
 *
 * @param layer the layer the hidden states enter
 * @param imagePositions sinks among the image tokens, from the image's start, rising
 * @param textPositions sinks among the other tokens, from the prompt's start, rising
 * @param maxValue the largest sink value of any image token
 */
public record LayerSinks(
    int layer, List<Integer> imagePositions, List<Integer> textPositions, float maxValue) {

  public LayerSinks {
    imagePositions = List.copyOf(imagePositions);
    textPositions = List.copyOf(textPositions);
  }
}
