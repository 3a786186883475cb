package io.sinklens.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withPrecision;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.SafetensorsWriter;
import io.sinklens.checkpoint.Weights;
import io.sinklens.model.decoder.LlamaConfig.Projection;
import io.sinklens.model.decoder.LlamaConfig.Rope;
import io.sinklens.tensor.Activation;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * InternLM2's one map for queries, keys and values, of four heads that share two keys and values,
 * each two wide.
 */
class GroupedProjectionTest {
  private static final int HIDDEN = 8;
  private static final int WIDE = 12;
  private static final int VOCABULARY = 5;

  // Rows of the map:  0-1 query 0, 2-3 query 1, 4-5 key 0, 6-7 value 0,
  //                   8-9 query 2, 10-11 query 3, 12-13 key 1, 14-15 value 1.
  private static final int[] QUERIES = {0, 1, 2, 3, 8, 9, 10, 11};
  private static final int[] KEYS = {4, 5, 12, 13};
  private static final int[] VALUES = {6, 7, 14, 15};

  @TempDir Path folder;
  private final Operators operators = Operators.load(TestDevice.get());

  @BeforeEach
  void enterThread() {
    operators.enterThread();
  }

  @AfterEach
  void close() {
    operators.close();
  }

  @Test
  void takesQueriesKeysAndValuesGroupByGroup() throws IOException {
    LlamaDecoder grouped = decoder("grouped", Projection.GROUPED, QUERIES, KEYS, VALUES);
    LlamaDecoder plain = decoder("plain", Projection.PLAIN, QUERIES, KEYS, VALUES);

    assertThat(logits(grouped)).containsExactly(logits(plain), withPrecision(1e-6f));
    assertThat(logits(grouped, new WantingAll()))
        .containsExactly(logits(plain, new WantingAll()), withPrecision(1e-6f));
  }

  @Test
  void takesThemTheSameWayInBfloats() throws IOException {
    assumeTrue(TestDevice.isCpu(), "a GPU's products of other shapes differ in the last bits");
    Dtype dtype = Dtype.BFLOAT16;
    LlamaDecoder grouped = decoder("grouped", Projection.GROUPED, QUERIES, KEYS, VALUES, dtype);
    LlamaDecoder plain = decoder("plain", Projection.PLAIN, QUERIES, KEYS, VALUES, dtype);

    assertThat(logits(grouped)).containsExactly(logits(plain), withPrecision(0f));
  }

  @Test
  void doesNotTakeThemOneBlockAfterTheOther() throws IOException {
    LlamaDecoder grouped = decoder("grouped", Projection.GROUPED, QUERIES, KEYS, VALUES);
    LlamaDecoder blocks =
        decoder(
            "blocks",
            Projection.PLAIN,
            new int[] {0, 1, 2, 3, 4, 5, 6, 7},
            new int[] {8, 9, 10, 11},
            new int[] {12, 13, 14, 15});

    float[] logits = logits(grouped);
    float[] others = logits(blocks);
    double largest = 0;
    for (int i = 0; i < logits.length; i++) {
      largest = Math.max(largest, Math.abs(logits[i] - others[i]));
    }
    assertThat(largest).isGreaterThan(0.01);
  }

  @Test
  void multipliesWithoutAnAnswer() throws IOException {
    LlamaDecoder grouped = decoder("grouped", Projection.GROUPED, QUERIES, KEYS, VALUES);
    LlamaDecoder plain = decoder("plain", Projection.PLAIN, QUERIES, KEYS, VALUES);
    int before = operators.manager().getManagedArrays().size();

    grouped.multiply(5, 2);

    assertThat(operators.manager().getManagedArrays()).hasSize(before);
    assertThat(grouped.multiplications(5, 2)).isEqualTo(plain.multiplications(5, 2));
  }

  @Test
  void givesTheValuesOfEveryGroup() throws IOException {
    LlamaDecoder decoder = decoder("grouped", Projection.GROUPED, QUERIES, KEYS, VALUES);
    try (NDManager manager = operators.manager().newSubManager()) {
      ValuesSeen seen = new ValuesSeen();
      run(decoder, manager, seen);
      // Token 0, value heads 0 and 1: rows 6, 7 and 14, 15 of the map on the first normed input.
      assertThat(seen.values).containsExactly(seen.expected, withPrecision(1e-5f));
    }
  }

  /** Compares the values a hook is offered with the rows of the map, for the first token. */
  private static final class ValuesSeen implements AttentionHook {
    private float[] values = {};
    private float[] expected = {};

    @Override
    public boolean asks(Point point, int layer) {
      return point == Point.NORMED_INPUT;
    }

    @Override
    public void onNormedInput(int layer, NDArray normed, LlamaDecoder.Projections projections) {
      NDArray all = projections.values(normed); // [token, key-value heads, headSize]
      assertThat(all.getShape()).isEqualTo(new Shape(3, 2, 2));
      values = Arrays.copyOf(all.toFloatArray(), 4);
      float[] input = normed.toFloatArray();
      float[] map = fused();
      expected = new float[VALUES.length];
      for (int i = 0; i < VALUES.length; i++) {
        for (int k = 0; k < HIDDEN; k++) {
          expected[i] += map[VALUES[i] * HIDDEN + k] * input[k];
        }
      }
    }
  }

  /** Has the last layer computed for tokens that do not answer, too. */
  private static final class WantingAll implements AttentionHook {
    @Override
    public boolean asks(Point point, int layer) {
      return point == Point.HIDDEN_STATES && layer == 1;
    }
  }

  private LlamaDecoder decoder(
      String name, Projection projection, int[] queries, int[] keys, int[] values)
      throws IOException {
    return decoder(name, projection, queries, keys, values, Dtype.FLOAT32);
  }

  private LlamaDecoder decoder(
      String name, Projection projection, int[] queries, int[] keys, int[] values, Dtype dtype)
      throws IOException {
    Path checkpoint = Files.createDirectory(folder.resolve(name));
    Files.writeString(checkpoint.resolve("config.json"), "{}");
    try (NDManager manager = operators.manager().newSubManager()) {
      Random random = new Random(7);
      Map<String, NDArray> tensors = new HashMap<>();
      tensors.put("lm.embed_tokens.weight", drawn(manager, random, VOCABULARY, HIDDEN));
      tensors.put("lm_head.weight", drawn(manager, random, VOCABULARY, HIDDEN));
      tensors.put("lm.norm.weight", manager.ones(new Shape(HIDDEN)));
      String layer = "lm.layers.0.";
      tensors.put(layer + "input_layernorm.weight", manager.ones(new Shape(HIDDEN)));
      tensors.put(layer + "post_attention_layernorm.weight", manager.ones(new Shape(HIDDEN)));
      tensors.put(layer + "self_attn.o_proj.weight", drawn(manager, random, HIDDEN, HIDDEN));
      tensors.put(layer + "mlp.gate_proj.weight", drawn(manager, random, WIDE, HIDDEN));
      tensors.put(layer + "mlp.up_proj.weight", drawn(manager, random, WIDE, HIDDEN));
      tensors.put(layer + "mlp.down_proj.weight", drawn(manager, random, HIDDEN, WIDE));
      if (projection == Projection.GROUPED) {
        tensors.put(
            layer + "self_attn.qkv_proj.weight", manager.create(fused(), new Shape(16, HIDDEN)));
      } else {
        tensors.put(layer + "self_attn.q_proj.weight", rows(manager, queries));
        tensors.put(layer + "self_attn.k_proj.weight", rows(manager, keys));
        tensors.put(layer + "self_attn.v_proj.weight", rows(manager, values));
      }
      SafetensorsWriter.write(checkpoint.resolve("model.safetensors"), tensors, Map.of());
    }
    Weights weights =
        Weights.open(CheckpointFolder.open(checkpoint), Optional::of, operators, dtype);
    LlamaConfig config =
        new LlamaConfig(
            HIDDEN,
            WIDE,
            1,
            4,
            2,
            2,
            VOCABULARY,
            16,
            1e-5,
            new Rope(10000, List.of()),
            Activation.SILU,
            false,
            projection);
    LlamaDecoder decoder = new LlamaDecoder(config, weights.under("lm"), weights, operators, dtype);
    weights.requireAllUsed();
    return decoder;
  }

  private float[] logits(LlamaDecoder decoder) {
    return logits(decoder, AttentionHook.NONE);
  }

  private float[] logits(LlamaDecoder decoder, AttentionHook hook) {
    try (NDManager manager = operators.manager().newSubManager()) {
      return decoder.logits(run(decoder, manager, hook)).toFloatArray();
    }
  }

  private static NDArray run(LlamaDecoder decoder, NDManager manager, AttentionHook hook) {
    long[] ids = {1, 4, 2};
    KeyValueCache cache = decoder.newCache(manager, RotaryPositions.sequential(0), ids.length);
    List<Segment.Token> tokens =
        IntStream.range(0, ids.length)
            .mapToObj(i -> new Segment.Token(0, i, i == ids.length - 1))
            .toList();
    Pass pass = new Pass(List.of(Segment.ofRows(cache, hook, 0, tokens)));
    return decoder.forward(decoder.embed(manager.create(ids)), pass);
  }

  /** The whole map, {@code [16, hidden]}. */
  private static float[] fused() {
    Random random = new Random(3);
    float[] values = new float[16 * HIDDEN];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static NDArray rows(NDManager manager, int... rows) {
    float[] map = fused();
    float[] picked = new float[rows.length * HIDDEN];
    for (int i = 0; i < rows.length; i++) {
      System.arraycopy(map, rows[i] * HIDDEN, picked, i * HIDDEN, HIDDEN);
    }
    return manager.create(picked, new Shape(rows.length, HIDDEN));
  }

  private static NDArray drawn(NDManager manager, Random random, int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return manager.create(values, new Shape(rows, columns));
  }
}
