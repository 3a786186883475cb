package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
  private static Operators operators;

  @TempDir private Path folder;

  @BeforeAll
  static void load() {
    operators = Operators.load(TestDevice.get());
  }

  @AfterAll
  static void close() {
    operators.close();
  }

  @Test
  void writesWhatItsReaderReads() throws IOException {
    Path file = folder.resolve("trace.safetensors");
    float[] many = new float[300_000];
    for (int i = 0; i < many.length; i++) {
      many[i] = i * 0.5f;
    }
    Map<String, NDArray> arrays =
        Map.of(
            "logits", array(new Shape(2, 3), 1, 2, 3, 4, 5, Float.NaN),
            "decoder.0.input", array(new Shape(3, 100_000), many),
            "one", array(new Shape(), 7),
            "none", array(new Shape(0, 2)));

    SafetensorsWriter.write(file, arrays, Map.of("model", "tiny \"llava\"\n"));

    SafetensorsHeader header = SafetensorsHeader.read(file);
    assertThat(header.metadata()).isEqualTo(Map.of("model", "tiny \"llava\"\n"));
    assertThat(header.dataBegin() % 64).isZero();
    assertThat(header.tensors()).containsOnlyKeys(arrays.keySet());
    byte[] bytes = Files.readAllBytes(file);
    arrays.forEach(
        (name, array) -> {
          TensorInfo tensor = Objects.requireNonNull(header.tensors().get(name));
          Long[] shape = Arrays.stream(array.getShape().getShape()).boxed().toArray(Long[]::new);
          assertThat(tensor.dtype()).isEqualTo("F32");
          assertThat(tensor.shape()).containsExactly(shape);
          assertThat(floats(bytes, tensor)).isEqualTo(array.toFloatArray());
        });
  }

  @Test
  void replacesAFileAndLeavesNothingElse() throws IOException {
    Path file = folder.resolve("trace.safetensors");
    SafetensorsWriter.write(file, Map.of("a", array(new Shape(1), 1)), Map.of());
    SafetensorsWriter.write(file, Map.of("b", array(new Shape(1), 1)), Map.of());

    assertThat(SafetensorsHeader.read(file).tensors()).containsOnlyKeys("b");
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void refusesOtherTypes() {
    Path file = folder.resolve("trace.safetensors");

    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                SafetensorsWriter.write(
                    file, Map.of("ids", operators.manager().create(new long[] {1})), Map.of()))
        .withMessage("Cannot write tensor ids to %s: it is int64, not float32", file);
    assertThat(file).doesNotExist();
  }

  @Test
  void leavesNothingBehindWhenATensorFails() throws IOException {
    Path file = folder.resolve("trace.safetensors");

    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(
                    file,
                    new TreeMap<>(Map.of("a", List.of(2L))),
                    Dtype.FLOAT32,
                    Map.of(),
                    (channel, name) -> {
                      throw new IOException("disk on fire");
                    }))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot write " + file)
        .hasRootCauseMessage("disk on fire");
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void refusesATensorOfAnotherLength() {
    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(
                    folder.resolve("x.safetensors"),
                    new TreeMap<>(Map.of("a", List.of(2L))),
                    Dtype.BFLOAT16,
                    Map.of(),
                    (channel, name) -> SafetensorsWriter.drain(channel, ByteBuffer.allocate(3))))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageMatching("Tensor a ended at byte \\d+, not \\d+");
  }

  private static NDArray array(Shape shape, float... values) {
    return operators.manager().create(values, shape);
  }

  private static float[] floats(byte[] file, TensorInfo tensor) {
    float[] values = new float[(int) tensor.elements()];
    ByteBuffer.wrap(file, (int) tensor.begin(), (int) tensor.bytes())
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer()
        .get(values);
    return values;
  }
}
