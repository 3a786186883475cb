package io.sinklens.model.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * Numbers that hooks want to know of a pass, read together when it ends: each reading makes the
 * device wait.
 */
public final class Notes {
  private final NDManager scope;
  private final List<NDArray> arrays = new ArrayList<>();
  private final List<Consumer<float[]>> readers = new ArrayList<>();
  private final List<Integer> sizes = new ArrayList<>();

  /** Opens notes in what owns them until they are read. */
  public Notes(NDManager scope) {
    this.scope = scope;
  }

  /** Takes float32 numbers over, in any shape, and who reads them. */
  public void add(NDArray numbers, Consumer<float[]> reader) {
    numbers.attach(scope);
    arrays.add(numbers);
    readers.add(reader);
    sizes.add((int) numbers.size());
  }

  /** Hands everything to its readers, in the order in which it came. */
  public void read(Operators operators) {
    if (arrays.isEmpty()) {
      return;
    }
    float[] all;
    try (NDArray flat = operators.flatten(arrays)) {
      all = flat.toFloatArray();
    }
    int begin = 0;
    for (int i = 0; i < arrays.size(); i++) {
      float[] numbers = new float[sizes.get(i)];
      System.arraycopy(all, begin, numbers, 0, numbers.length);
      begin += numbers.length;
      readers.get(i).accept(numbers);
      arrays.get(i).close();
    }
    arrays.clear();
    readers.clear();
    sizes.clear();
  }
}
