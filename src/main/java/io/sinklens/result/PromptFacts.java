package io.sinklens.result;

import java.util.List;

/**
 * What the model was shown.
 *
 * @param promptTokenCount tokens of the prompt, the image's included
 * @param imageTokenCount tokens of the image
 * @param imageWidth of the original image, in pixels
 * @param imageHeight of the original image, in pixels
 * @param views where image tokens lie in the original image
 * @param maskBackground share of background under each image token; empty without a mask
 */
public record PromptFacts(
    int promptTokenCount,
    int imageTokenCount,
    int imageWidth,
    int imageHeight,
    List<View> views,
    List<Float> maskBackground) {

  public PromptFacts {
    views = List.copyOf(views);
    maskBackground = List.copyOf(maskBackground);
  }

  /** The same with a mask's background. */
  public PromptFacts withMaskBackground(List<Float> background) {
    return new PromptFacts(
        promptTokenCount, imageTokenCount, imageWidth, imageHeight, views, background);
  }

  /**
   * One grid of image tokens, row by row, over a rectangle of the original image; views follow each
   * other in the image's span.
   *
   * @param row of this view among the views, from 0
   * @param column of this view among the views, from 0
   * @param rows token rows
   * @param columns token columns
   * @param x left edge of the rectangle in pixels; below 0 where the image was padded
   * @param y top edge
   * @param width of the rectangle
   * @param height of the rectangle
   */
  public record View(
      int row,
      int column,
      int rows,
      int columns,
      double x,
      double y,
      double width,
      double height) {}
}
