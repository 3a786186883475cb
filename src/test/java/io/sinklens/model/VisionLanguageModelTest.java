package io.sinklens.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.decoder.AttentionHook;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a GPU does and the processor could: several images through the encoder at once. */
class VisionLanguageModelTest {
  private static final double ERROR = 1e-4;

  @ParameterizedTest
  @CsvSource({"llava-mha, 1, 56", "llava-gqa, 1, 56", "internvl-qwen2, 3, 56", "vila1.5, 1, 100"})
  void encodesImagesTogetherAsEachAlone(String checkpoint, int views, int side) {
    try (VisionLanguageModel model = TinyCheckpoint.load(checkpoint);
        NDManager manager = model.operators().manager().newSubManager()) {
      assertThat(model.joinsImages()).isTrue();
      Random random = new Random(7);
      List<ImageInput> images = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        images.add(image(random, views, side));
      }
      List<NDArray> together = model.encodeImages(manager, images);
      assertThat(together).hasSize(images.size());
      for (int i = 0; i < images.size(); i++) {
        NDArray alone = model.encodeImage(manager, images.get(i), AttentionHook.NONE);
        assertThat(together.get(i).getShape()).isEqualTo(alone.getShape());
        float largest = together.get(i).sub(alone).abs().max().getFloat();
        assertThat((double) largest).isCloseTo(0, within(ERROR));
      }
    }
  }

  private static ImageInput image(Random random, int views, int side) {
    float[] pixels = new float[views * 3 * side * side];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (float) random.nextGaussian();
    }
    return new ImageInput(pixels, new Shape(views, 3, side, side), null);
  }
}
