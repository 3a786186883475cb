package io.sinklens.model.projector;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.model.vision.TileWindow;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Features carry their number, so that each row of the result tells where it comes from. */
class TilePackerTest {
  private static final int HIDDEN = 2;
  private static final int SIDE = 2;
  private static final int ROW_END = -7;
  private static Operators operators;

  private final NDManager manager = NDManager.newBaseManager(TestDevice.get(), "PyTorch");

  @BeforeAll
  static void load() {
    operators = Operators.load(TestDevice.get());
    operators.enterThread();
  }

  @AfterAll
  static void closeOperators() {
    operators.close();
  }

  @AfterEach
  void close() {
    manager.close();
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void joinsTilesAndEndsTheRowsOfTheWindow(Dtype dtype) {
    // One row of two tiles: 0-3 is the whole image, 4-7 the left tile, 8-11 the right one.
    NDArray features = features(3, dtype);
    TileWindow window = new TileWindow(1, 2, 0, 1, 2, 2, 2, 2);

    NDArray packed = new TilePacker(operators, rowEnd(dtype)).pack(features, window);

    // The map is 4 5 8 9 over 6 7 10 11.
    assertThat(numbers(packed)).containsExactly(0, 1, 2, 3, 5, 8, ROW_END, 7, 10, ROW_END);
  }

  @Test
  void joinsRowsOfTiles() {
    TileWindow window = new TileWindow(2, 1, 1, 0, 2, 2, 2, 2);

    NDArray packed = new TilePacker(operators, null).pack(features(3, Dtype.FLOAT32), window);

    // The map is 4 5 over 6 7 over 8 9 over 10 11.
    assertThat(numbers(packed)).containsExactly(0, 1, 2, 3, 6, 7, 8, 9);
  }

  @Test
  void keepsRowEndsOfAWindowWithoutColumns() {
    TileWindow window = new TileWindow(2, 1, 0, 1, 4, 0, 4, 0);

    NDArray packed =
        new TilePacker(operators, rowEnd(Dtype.FLOAT32)).pack(features(3, Dtype.FLOAT32), window);

    assertThat(numbers(packed)).containsExactly(0, 1, 2, 3, ROW_END, ROW_END, ROW_END, ROW_END);
  }

  @Test
  void resizesTheWindowBeforeItEndsRows() {
    TileWindow window = new TileWindow(1, 2, 0, 0, 2, 4, 1, 2);

    NDArray packed =
        new TilePacker(operators, rowEnd(Dtype.FLOAT32)).pack(features(3, Dtype.FLOAT32), window);

    // Means of the squares 4 5 6 7 and 8 9 10 11.
    assertThat(packed.toFloatArray())
        .containsExactly(
            new float[] {0, 0, 1, 1, 2, 2, 3, 3, 5.5f, 5.5f, 9.5f, 9.5f, ROW_END, ROW_END},
            within(1e-6f));
  }

  @Test
  void leavesAnImageWithoutTilesAsItIs() {
    NDArray packed =
        new TilePacker(operators, rowEnd(Dtype.FLOAT32)).pack(features(1, Dtype.FLOAT32), null);
    assertThat(numbers(packed)).containsExactly(0, 1, 2, 3);
  }

  @Test
  void refusesAnotherNumberOfTiles() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new TilePacker(operators, null)
                    .pack(features(4, Dtype.FLOAT32), new TileWindow(1, 2, 0, 0, 2, 4, 2, 4)))
        .withMessage("Cannot pack 4 views: the window has 1 x 2 tiles beside the whole image");
  }

  private NDArray features(int views, Dtype dtype) {
    int tokens = views * SIDE * SIDE;
    return array(tokens, token -> token, dtype).reshape(views, SIDE * SIDE, HIDDEN);
  }

  private NDArray rowEnd(Dtype dtype) {
    return array(1, token -> ROW_END, dtype).reshape(HIDDEN);
  }

  private NDArray array(int tokens, IntUnaryOperator number, Dtype dtype) {
    float[] values = new float[tokens * HIDDEN];
    for (int i = 0; i < values.length; i++) {
      values[i] = number.applyAsInt(i / HIDDEN);
    }
    return operators.to(manager.create(values, new Shape(tokens, HIDDEN)), dtype);
  }

  private static List<Integer> numbers(NDArray packed) {
    assertThat(packed.getShape().get(1)).isEqualTo(HIDDEN);
    float[] values = operators.to(packed, Dtype.FLOAT32).toFloatArray();
    List<Integer> numbers = new ArrayList<>();
    for (int i = 0; i < values.length; i += HIDDEN) {
      assertThat(values[i + 1]).isEqualTo(values[i]);
      numbers.add((int) values[i]);
    }
    return numbers;
  }
}
