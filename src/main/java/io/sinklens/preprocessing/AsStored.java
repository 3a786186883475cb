package io.sinklens.preprocessing;

import io.sinklens.dataset.RowFailedException;

/**
 * A rule in the hands of code that does not look at a camera's orientation, such as the original
 * LLaVA and VILA code.
 *
 * @param rule what is done with the image
 */
public record AsStored(ImageRule rule) implements ImageRule {

  @Override
  public PixelValues apply(RgbImage image) throws RowFailedException {
    return rule.apply(image);
  }

  @Override
  public String name() {
    return rule.name();
  }

  @Override
  public Exif exif() {
    return Exif.IGNORE;
  }
}
