package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.Device;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class NotesTest {
  @Test
  void handsNumbersOutInTheOrderTheyCameAndKeepsNone() {
    try (Operators operators = Operators.load(Device.cpu());
        NDManager scope = operators.manager().newSubManager()) {
      Notes notes = new Notes(scope);
      List<float[]> read = new ArrayList<>();
      notes.add(scope.create(new float[] {1, 2, 3, 4}, new Shape(2, 2)), read::add);
      notes.add(scope.create(new float[0]), read::add);
      notes.add(scope.create(5f), read::add);
      assertThat(read).isEmpty();

      notes.read(operators);
      notes.read(operators);

      assertThat(read).containsExactly(new float[] {1, 2, 3, 4}, new float[0], new float[] {5});
      assertThat(scope.getManagedArrays()).isEmpty();
    }
  }
}
