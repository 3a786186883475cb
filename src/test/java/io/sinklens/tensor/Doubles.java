package io.sinklens.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.Arrays;
import java.util.Random;
import java.util.function.ToDoubleFunction;

/** A tensor of doubles, to say in plain Java what an operator must give. */
final class Doubles {
  private final int[] shape;
  private final double[] values;

  private Doubles(int... shape) {
    this.shape = shape;
    this.values = new double[Arrays.stream(shape).reduce(1, Math::multiplyExact)];
  }

  /** Every element from its indices. */
  static Doubles of(int[] shape, ToDoubleFunction<int[]> element) {
    Doubles doubles = new Doubles(shape);
    int[] indices = new int[shape.length];
    for (int i = 0; i < doubles.values.length; i++) {
      int rest = i;
      for (int dimension = shape.length - 1; dimension >= 0; dimension--) {
        indices[dimension] = rest % shape[dimension];
        rest /= shape[dimension];
      }
      doubles.values[i] = element.applyAsDouble(indices);
    }
    return doubles;
  }

  /** Standard normal numbers that the type holds exactly. */
  static Doubles random(Random random, Dtype dtype, int... shape) {
    return of(shape, indices -> rounded(random.nextGaussian(), dtype));
  }

  /** As many elements, each from its indices. */
  Doubles with(ToDoubleFunction<int[]> element) {
    return of(shape, element);
  }

  static int[] shape(int... sizes) {
    return sizes;
  }

  static double rounded(double value, Dtype dtype) {
    if (dtype == Dtype.FLOAT32) {
      return (float) value;
    }
    int bits = Float.floatToIntBits((float) value);
    return Float.intBitsToFloat((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
  }

  double at(int... indices) {
    int place = 0;
    for (int dimension = 0; dimension < shape.length; dimension++) {
      place = place * shape[dimension] + indices[dimension];
    }
    return values[place];
  }

  int size(int dimension) {
    return shape[dimension];
  }

  NDArray array(Operators operators, NDManager manager, Dtype dtype) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    long[] sizes = Arrays.stream(shape).asLongStream().toArray();
    return operators.to(manager.create(floats, new Shape(sizes)), dtype);
  }

  /** Same shape, and every element within a share of the larger of it and 1. */
  void assertGivenBy(Operators operators, NDArray actual, double tolerance) {
    assertThat(actual.getShape().getShape())
        .containsExactly(Arrays.stream(shape).asLongStream().toArray());
    float[] floats = operators.to(actual, Dtype.FLOAT32).toFloatArray();
    for (int i = 0; i < values.length; i++) {
      double expected = values[i];
      if (Double.isInfinite(expected)) {
        assertThat((double) floats[i]).isEqualTo(expected);
        continue;
      }
      assertThat(Math.abs(floats[i] - expected))
          .as("element %d: %s for %s", i, floats[i], expected)
          .isLessThanOrEqualTo(tolerance * Math.max(1, Math.abs(expected)));
    }
  }
}
