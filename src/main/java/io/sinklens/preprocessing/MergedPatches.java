package io.sinklens.preprocessing;

import io.sinklens.dataset.RowFailedException;
import io.sinklens.preprocessing.ImageGrid.Region;
import io.sinklens.preprocessing.ImageGrid.View;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A rule whose patches become tokens by fours, column by column. The grid has a view for each
 * column of tokens; where the patches are odd in number, the last row and column of tokens reach
 * beyond them. VILA's code does not look at a camera's orientation.
 *
 * @param rule one view of patches
 */
public record MergedPatches(ImageRule rule) implements ImageRule {

  @Override
  public PixelValues apply(RgbImage image) throws RowFailedException {
    PixelValues values = rule.apply(image);
    return new PixelValues(
        values.data(), values.views(), values.height(), values.width(), merged(values.grid()));
  }

  private static ImageGrid merged(ImageGrid grid) {
    View patches = grid.views().get(0);
    int rows = (patches.rows() + 1) / 2;
    int columns = (patches.columns() + 1) / 2;
    double width = 2 * patches.region().width() / patches.columns();
    double height = 2 * patches.region().height() / patches.rows();
    List<View> views =
        IntStream.range(0, columns)
            .mapToObj(
                column ->
                    new View(
                        0,
                        column,
                        rows,
                        1,
                        new Region(
                            patches.region().x() + column * width,
                            patches.region().y(),
                            width,
                            rows * height)))
            .toList();
    return new ImageGrid(grid.imageWidth(), grid.imageHeight(), views);
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
