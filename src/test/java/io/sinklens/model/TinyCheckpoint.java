package io.sinklens.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.family.Families;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;

/** A golden checkpoint copied to a folder of its own, to be changed before it is loaded. */
public final class TinyCheckpoint {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final String WEIGHTS = "model.safetensors";
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path folder;
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

  private record Tensor(String dtype, List<Long> shape, ByteBuffer data) {}

  private TinyCheckpoint(Path folder) {
    this.folder = folder;
  }

  /** Where a golden checkpoint lies. */
  public static Path golden(String name) {
    return GOLDEN.resolve(name);
  }

  /** A golden checkpoint as a network in float32. */
  public static VisionLanguageModel load(String name) {
    return load(golden(name));
  }

  /** Any checkpoint as a network in float32. */
  public static VisionLanguageModel load(Path folder) {
    Operators operators = Operators.load(TestDevice.get());
    operators.enterThread();
    try {
      return Families.read(CheckpointFolder.open(folder)).load(operators, Dtype.FLOAT32);
    } catch (RuntimeException e) {
      operators.close();
      throw e;
    }
  }

  /** Copies {@code llava-mha} into an empty folder. */
  public static TinyCheckpoint copyTo(Path folder) {
    return copyTo(folder, "llava-mha");
  }

  /**
   * Copies a golden checkpoint into an empty folder; its tensors can be changed where they are one
   * file of safetensors.
   */
  public static TinyCheckpoint copyTo(Path folder, String name) {
    TinyCheckpoint copy = new TinyCheckpoint(folder);
    try (Stream<Path> files = Files.walk(golden(name))) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path target = folder.resolve(golden(name).relativize(file));
        Files.createDirectories(target.getParent());
        Files.copy(file, target);
      }
      if (Files.exists(folder.resolve(WEIGHTS))) {
        copy.readTensors();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return copy;
  }

  public Path path() {
    return folder;
  }

  /** Changes {@code config.json}. */
  public TinyCheckpoint config(Consumer<ObjectNode> change) {
    return document("config.json", change);
  }

  /** Changes any JSON object. */
  public TinyCheckpoint document(String name, Consumer<ObjectNode> change) {
    Path file = folder.resolve(name);
    try {
      ObjectNode config = (ObjectNode) JSON.readTree(file.toFile());
      change.accept(config);
      JSON.writeValue(file.toFile(), config);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return this;
  }

  /** Changes the {@code text_config}. */
  public TinyCheckpoint textConfig(Consumer<ObjectNode> change) {
    return config(config -> change.accept((ObjectNode) config.get("text_config")));
  }

  /** Drops a tensor. */
  public TinyCheckpoint without(String name) {
    tensor(name);
    tensors.remove(name);
    return writeTensors();
  }

  /** Adds a tensor of zeros. */
  public TinyCheckpoint with(String name, Long... shape) {
    long elements = Arrays.stream(shape).reduce(1L, (a, b) -> a * b);
    tensors.put(name, new Tensor("F32", List.of(shape), ByteBuffer.allocate((int) (4 * elements))));
    return writeTensors();
  }

  /** Adds a float32 tensor. */
  public TinyCheckpoint with(String name, float[] values, Long... shape) {
    ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    data.asFloatBuffer().put(values);
    tensors.put(name, new Tensor("F32", List.of(shape), data));
    return writeTensors();
  }

  /** Puts one tensor's numbers into another of the same size. */
  public TinyCheckpoint overwrite(String name, String source) {
    Tensor from = tensor(source);
    tensors.put(name, new Tensor("F32", tensor(name).shape(), from.data()));
    return writeTensors();
  }

  /** Gives a tensor of the same numbers another shape. */
  public TinyCheckpoint reshaped(String name, Long... shape) {
    tensors.put(name, new Tensor("F32", List.of(shape), tensor(name).data()));
    return writeTensors();
  }

  /** Fills a tensor with one number. */
  public TinyCheckpoint filled(String name, float value) {
    Tensor old = tensor(name);
    ByteBuffer data = ByteBuffer.allocate(old.data().capacity()).order(ByteOrder.LITTLE_ENDIAN);
    while (data.hasRemaining()) {
      data.putFloat(value);
    }
    tensors.put(name, new Tensor("F32", old.shape(), data.rewind()));
    return writeTensors();
  }

  /** Fills one row of a float32 matrix with one number. */
  public TinyCheckpoint rowFilled(String name, int row, float value) {
    Tensor old = tensor(name);
    int width = Math.toIntExact(old.shape().get(1));
    ByteBuffer data = ByteBuffer.wrap(old.data().array().clone()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = row * width; i < (row + 1) * width; i++) {
      data.putFloat(4 * i, value);
    }
    tensors.put(name, new Tensor("F32", old.shape(), data));
    return writeTensors();
  }

  private Tensor tensor(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("No tensor " + name + " in " + tensors.keySet());
    }
    return tensor;
  }

  private void readTensors() throws IOException {
    byte[] file = Files.readAllBytes(folder.resolve(WEIGHTS));
    int headerLength = (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
    JsonNode header = JSON.readTree(file, 8, headerLength);
    for (Map.Entry<String, JsonNode> entry : header.properties()) {
      if (entry.getKey().equals("__metadata__")) {
        continue;
      }
      JsonNode tensor = entry.getValue();
      int begin = 8 + headerLength + tensor.get("data_offsets").get(0).asInt();
      int end = 8 + headerLength + tensor.get("data_offsets").get(1).asInt();
      tensors.put(
          entry.getKey(),
          new Tensor(
              tensor.get("dtype").asText(),
              Arrays.asList(JSON.convertValue(tensor.get("shape"), Long[].class)),
              ByteBuffer.wrap(Arrays.copyOfRange(file, begin, end))));
    }
  }

  private TinyCheckpoint writeTensors() {
    ObjectNode header = JSON.createObjectNode();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    tensors.forEach(
        (name, tensor) -> {
          ObjectNode entry = header.putObject(name);
          entry.put("dtype", tensor.dtype());
          ArrayNode shape = entry.putArray("shape");
          tensor.shape().forEach(shape::add);
          ArrayNode offsets = entry.putArray("data_offsets").add(data.size());
          data.writeBytes(tensor.data().array());
          offsets.add(data.size());
        });
    byte[] json = header.toString().getBytes(StandardCharsets.UTF_8);
    ByteBuffer file =
        ByteBuffer.allocate(8 + json.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(json.length).put(json).put(data.toByteArray());
    try {
      Files.write(folder.resolve(WEIGHTS), file.array());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return this;
  }
}
