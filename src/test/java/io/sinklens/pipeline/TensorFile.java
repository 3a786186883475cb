package io.sinklens.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** A small safetensors file of float32 tensors, read without the code under test. */
final class TensorFile {
  private final Map<String, float[]> tensors = new LinkedHashMap<>();

  static TensorFile read(Path file) {
    try {
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      int headerLength = (int) bytes.getLong();
      JsonNode header = new ObjectMapper().readTree(bytes.array(), 8, headerLength);
      TensorFile result = new TensorFile();
      header
          .properties()
          .forEach(
              entry -> {
                if (entry.getKey().equals("__metadata__")) {
                  return;
                }
                if (!entry.getValue().get("dtype").asText().equals("F32")) {
                  throw new IllegalArgumentException(entry.getKey() + " is not float32");
                }
                int begin = entry.getValue().get("data_offsets").get(0).asInt();
                int end = entry.getValue().get("data_offsets").get(1).asInt();
                float[] values = new float[(end - begin) / 4];
                bytes
                    .slice(8 + headerLength + begin, end - begin)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(values);
                result.tensors.put(entry.getKey(), values);
              });
      return result;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Set<String> names() {
    return tensors.keySet();
  }

  float[] values(String name) {
    float[] values = tensors.get(name);
    if (values == null) {
      throw new IllegalArgumentException("No tensor " + name + " in " + tensors.keySet());
    }
    return values;
  }
}
