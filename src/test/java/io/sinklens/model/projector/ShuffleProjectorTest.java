package io.sinklens.model.projector;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.withPrecision;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.SafetensorsWriter;
import io.sinklens.checkpoint.Weights;
import io.sinklens.model.projector.ShuffleProjector.Order;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Patch i holds the number i², and the two maps are the identity around a GELU far out on its
 * straight branch; so what comes out is each square's four numbers, normalised.
 */
class ShuffleProjectorTest {
  private static final int WIDE = 4;
  private static final float FAR_OUT = 20;

  @TempDir Path folder;
  private final Operators operators = Operators.load(TestDevice.get());

  @BeforeEach
  void writeWeights() throws IOException {
    operators.enterThread();
    Files.writeString(folder.resolve("config.json"), "{}");
    try (NDManager manager = operators.manager().newSubManager()) {
      NDArray ones = manager.ones(new Shape(WIDE));
      SafetensorsWriter.write(
          folder.resolve("model.safetensors"),
          Map.of(
              "layer_norm.weight", ones,
              "layer_norm.bias", ones.sub(1),
              "linear_1.weight", manager.eye(WIDE),
              "linear_1.bias", ones.mul(FAR_OUT),
              "linear_2.weight", manager.eye(WIDE),
              "linear_2.bias", ones.mul(-FAR_OUT)),
          Map.of());
    }
  }

  @AfterEach
  void close() {
    operators.close();
  }

  //  0  1  2  3
  //  4  5  6  7
  //  8  9 10 11
  // 12 13 14 15
  @Test
  void takesSquaresRowByRow() {
    assertThat(project(Order.ROW_MAJOR, 4))
        .containsExactly(
            normalised(0, 1, 4, 5, /**/ 2, 3, 6, 7, /**/ 8, 9, 12, 13, /**/ 10, 11, 14, 15),
            withPrecision(1e-5f));
  }

  @Test
  void takesSquaresColumnByColumnButTheirPatchesRowByRow() {
    assertThat(project(Order.COLUMN_MAJOR, 4))
        .containsExactly(
            normalised(0, 1, 4, 5, /**/ 8, 9, 12, 13, /**/ 2, 3, 6, 7, /**/ 10, 11, 14, 15),
            withPrecision(1e-5f));
  }

  // 0 1 2 | 0
  // 3 4 5 | 0
  // 6 7 8 | 0
  // ------|--
  // 0 0 0 | 0
  @Test
  void fillsAnOddMapUpWithZeros() {
    assertThat(project(Order.ROW_MAJOR, 3))
        .containsExactly(
            normalised(0, 1, 3, 4, /**/ 2, 0, 5, 0, /**/ 6, 7, 0, 0, /**/ 8, 0, 0, 0),
            withPrecision(1e-5f));
  }

  @Test
  void keepsImagesApart() {
    try (NDManager manager = operators.manager().newSubManager()) {
      NDArray both = squareNumbers(manager, 32).reshape(2, 16, 1);
      float[] projected = projector(Order.ROW_MAJOR).project(both).toFloatArray();
      assertThat(projected).hasSize(2 * 4 * WIDE).startsWith(project(Order.ROW_MAJOR, 4));
    }
  }

  @Test
  void refusesPatchesThatAreNoSquare() {
    try (NDManager manager = operators.manager().newSubManager()) {
      NDArray features = squareNumbers(manager, 12).reshape(1, 12, 1);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> projector(Order.ROW_MAJOR).project(features))
          .withMessage("Cannot lay 12 patches out in a square");
    }
  }

  private float[] project(Order order, int side) {
    try (NDManager manager = operators.manager().newSubManager()) {
      NDArray features = squareNumbers(manager, side * side).reshape(1, (long) side * side, 1);
      return projector(order).project(features).toFloatArray();
    }
  }

  private ShuffleProjector projector(Order order) {
    Weights weights =
        Weights.open(CheckpointFolder.open(folder), Optional::of, operators, Dtype.FLOAT32);
    return new ShuffleProjector(1, WIDE, order, weights, operators);
  }

  private static NDArray squareNumbers(NDManager manager, int count) {
    NDArray numbers = manager.arange(count).toType(DataType.FLOAT32, false);
    return numbers.mul(numbers);
  }

  /** The squares of these numbers, every four of them normalised. */
  private static float[] normalised(int... patches) {
    float[] values = new float[patches.length];
    for (int start = 0; start < patches.length; start += WIDE) {
      double mean = 0;
      double square = 0;
      for (int i = start; i < start + WIDE; i++) {
        double value = (double) patches[i] * patches[i];
        mean += value / WIDE;
        square += value * value / WIDE;
      }
      for (int i = start; i < start + WIDE; i++) {
        double value = (double) patches[i] * patches[i];
        values[i] = (float) ((value - mean) / Math.sqrt(square - mean * mean + 1e-5));
      }
    }
    return values;
  }
}
