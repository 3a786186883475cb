package io.sinklens.tensor;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.engine.PtSymbolBlock;
import ai.djl.pytorch.jni.IValue;
import ai.djl.pytorch.jni.IValueUtils;
import ai.djl.pytorch.jni.JniUtils;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * The operators the networks are written in, on one device.
 *
 * <p>Each is a method of {@code operators.py}, a resource of TorchScript text that torch compiles
 * when this object is loaded; read it beside this class. DJL's own operators are used where they
 * are right; these are the ones it lacks, and all that must also work in bfloat16, which DJL cannot
 * name (such an array reports its type as unknown).
 *
 * <p>A result belongs to the manager of the first operand, so activations come first and weights
 * after them. Safe to use from several threads at once, each with its own managers.
 */
public final class Operators implements AutoCloseable {
  private static final String RESOURCE = "operators.py";

  private final PtNDManager manager;
  private final PtSymbolBlock module;

  private Operators(PtNDManager manager, PtSymbolBlock module) {
    this.manager = manager;
    this.module = module;
  }

  /** Compiles the operators for a device. */
  public static Operators load(Device device) {
    PtNDManager manager = (PtNDManager) NDManager.newBaseManager(device, "PyTorch");
    try (InputStream archive = new ByteArrayInputStream(archive(text()))) {
      return new Operators(manager, JniUtils.loadModule(manager, archive, false, false));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot compile " + RESOURCE, e);
    }
  }

  /** What weights and everything long-lived belong to; closed with this object. */
  public NDManager manager() {
    return manager;
  }

  /** Prepares the calling thread: nothing here is ever differentiated. */
  public void enterThread() {
    JniUtils.setGradMode(false);
  }

  /** The file as a row of elements, mapped without reading it; belongs to {@link #manager()}. */
  public NDArray mapFile(Path file, long elements, Dtype dtype) {
    return run(manager, "map_file", file.toString(), elements, Long.valueOf(dtype.torchNumber()));
  }

  /** Elements {@code [begin, end)} of a mapped file in a shape, without a copy. */
  public NDArray viewRange(NDArray file, long begin, long end, Shape shape) {
    return run(file, "view_range", file, begin, end, shape.getShape());
  }

  /** The same numbers in another type; the array itself where it has it already. */
  public NDArray to(NDArray x, Dtype dtype) {
    return run(x, "to", x, Long.valueOf(dtype.torchNumber()));
  }

  /** Zeros in a type DJL may not know, in the given manager. */
  public NDArray zeros(NDManager owner, Shape shape, Dtype dtype) {
    return run((PtNDManager) owner, "zeros", shape.getShape(), Long.valueOf(dtype.torchNumber()));
  }

  /** {@code x · weightᵀ}: {@code [..., in]} and {@code [out, in]} to {@code [..., out]}. */
  public NDArray linear(NDArray x, NDArray weight) {
    return run(x, "linear", x, weight);
  }

  /** {@code x · weightᵀ + bias}. */
  public NDArray linear(NDArray x, NDArray weight, NDArray bias) {
    return run(x, "linear_bias", x, weight, bias);
  }

  /** Rows of {@code weight [vocabulary, hidden]}: {@code ids [...]} to {@code [..., hidden]}. */
  public NDArray embedding(NDArray ids, NDArray weight) {
    return run(ids, "embedding", ids, weight);
  }

  /**
   * Square patches through one linear map, the convolution that opens a vision transformer.
   *
   * @param pixels {@code [image, channel, height, width]}
   * @param weight {@code [hidden, channel, patch size, patch size]}
   * @return {@code [image, patch, hidden]}, patches row by row
   */
  public NDArray patches(NDArray pixels, NDArray weight, int patchSize) {
    return run(pixels, "patches", pixels, weight, Long.valueOf(patchSize));
  }

  /** As {@link #patches(NDArray, NDArray, int)}, plus {@code bias [hidden]}. */
  public NDArray patches(NDArray pixels, NDArray weight, NDArray bias, int patchSize) {
    return run(pixels, "patches_bias", pixels, weight, bias, Long.valueOf(patchSize));
  }

  /**
   * Square patches as rows of numbers, those that become one token behind one another.
   *
   * @param pixels {@code [1, channel, height, width]}, both sides multiples of {@code patchSize ·
   *     mergeSize}
   * @param patchSize pixels along one side of a patch
   * @param mergeSize patches along one side of a token
   * @param frames how often the image stands in a patch, as the frames of a film
   * @return {@code [1, patch, channel · frame · row · column]}, tokens row by row, and a token's
   *     patches row by row
   */
  public NDArray mergedPatches(NDArray pixels, int patchSize, int mergeSize, int frames) {
    return run(
        pixels,
        "merged_patches",
        pixels,
        Long.valueOf(patchSize),
        Long.valueOf(mergeSize),
        Long.valueOf(frames));
  }

  /** Rows in another order: {@code x [row, ...]}, int64 {@code rows [...]}. */
  public NDArray takeRows(NDArray x, NDArray rows) {
    return run(x, "take_rows", x, rows);
  }

  /** One token {@code [hidden]} before the others: {@code [row, token, hidden]}, one longer. */
  public NDArray prependToken(NDArray x, NDArray token) {
    return run(x, "prepend_token", x, token);
  }

  /** One row and one column of zeros more: {@code [image, rows, columns, hidden]}. */
  public NDArray padMap(NDArray x) {
    return run(x, "pad_map", x);
  }

  /** Tokens after tokens: two {@code [token, hidden]} to {@code [1, token, hidden]}. */
  public NDArray concatTokens(NDArray x, NDArray y) {
    return run(x, "concat_tokens", x, y);
  }

  /**
   * A map of features resized by linear interpolation in both directions, pixel centres at halves,
   * without antialiasing.
   *
   * @param x {@code [height, width, hidden]}
   * @return {@code [rows, columns, hidden]}
   */
  public NDArray resizeMap(NDArray x, int rows, int columns) {
    return run(x, "resize_map", x, Long.valueOf(rows), Long.valueOf(columns));
  }

  /** One token {@code [hidden]} after each row: {@code [height, width, hidden]}, a column wider. */
  public NDArray endRows(NDArray x, NDArray token) {
    return run(x, "end_rows", x, token);
  }

  /**
   * One token of every row: {@code [row, token, hidden]}, int64 {@code [row]} to {@code [row,
   * hidden]}.
   */
  public NDArray pickTokens(NDArray x, NDArray tokens) {
    return run(x, "pick_tokens", x, tokens);
  }

  /**
   * One query of every row: {@code [row, heads, query, key]}, int64 {@code [row]} to {@code [row,
   * heads, key]}.
   */
  public NDArray pickQueries(NDArray x, NDArray queries) {
    return run(x, "pick_queries", x, queries);
  }

  /** Root-mean-square norm, in float32 up to the product with {@code weight}. */
  public NDArray rmsNorm(NDArray x, NDArray weight, double eps) {
    return run(x, "rms_norm", x, weight, eps);
  }

  /** Layer norm over the last dimension. */
  public NDArray layerNorm(NDArray x, NDArray weight, NDArray bias, double eps) {
    return run(x, "layer_norm", x, weight, bias, eps);
  }

  NDArray gelu(NDArray x) {
    return run(x, "gelu", x);
  }

  NDArray geluTanh(NDArray x) {
    return run(x, "gelu_tanh", x);
  }

  NDArray quickGelu(NDArray x) {
    return run(x, "quick_gelu", x);
  }

  NDArray silu(NDArray x) {
    return run(x, "silu", x);
  }

  /** Angles of rotary embedding: {@code positions [...]} to float32 {@code [..., headSize]}. */
  public NDArray ropeAngles(NDArray positions, double theta, int headSize) {
    return run(positions, "rope_angles", positions, theta, Long.valueOf(headSize));
  }

  /**
   * Angles where every token has three positions.
   *
   * @param positions int64 {@code [3, token]}
   * @param sections how many frequencies turn by the first, second and third position
   * @return float32 {@code [1, token, headSize]}, the head size twice the sum of the sections
   */
  public NDArray sectionedRopeAngles(NDArray positions, double theta, List<Integer> sections) {
    long[] sizes = sections.stream().mapToLong(Integer::longValue).toArray();
    return run(positions, "sectioned_rope_angles", positions, theta, sizes);
  }

  /**
   * Angles by row and column: of a half of the head, the first half of the frequencies turns by the
   * row and the second by the column, both from the highest on.
   *
   * @param positions int64 {@code [token, row and column]}
   * @param headSize a multiple of 4
   * @return float32 {@code [1, token, headSize]}
   */
  public NDArray planeRopeAngles(NDArray positions, double theta, int headSize) {
    return run(positions, "plane_rope_angles", positions, theta, Long.valueOf(headSize));
  }

  /**
   * Turns the two halves of every head by its position's angle.
   *
   * @param x {@code [row, heads, token, headSize]}
   * @param cos {@code [row or 1, token, headSize]}
   * @param sin as {@code cos}
   */
  public NDArray rope(NDArray x, NDArray cos, NDArray sin) {
    return run(x, "rope", x, cos, sin);
  }

  /** Attention of every query to every key, all {@code [row, heads, token, headSize]}. */
  public NDArray attention(NDArray query, NDArray key, NDArray value, double scale) {
    return run(query, "attention", query, key, value, scale);
  }

  /**
   * Attention of each query to the keys up to its own.
   *
   * @param query {@code [row, heads, token, headSize]}
   * @param key {@code [row, key-value heads, token, headSize]}
   * @param value as {@code key}
   */
  public NDArray causalAttention(NDArray query, NDArray key, NDArray value, double scale) {
    return run(query, "causal_attention", query, key, value, scale);
  }

  /**
   * Attention to a prefix all rows share and to each row's own keys, weights never written out.
   *
   * @param query {@code [row, heads, query, headSize]}
   * @param prefixKey {@code [key-value heads, prefix key, headSize]}, all visible
   * @param prefixValue as {@code prefixKey}
   * @param ownKey {@code [row, key-value heads, own key, headSize]}
   * @param ownValue as {@code ownKey}
   * @param mask {@code [row, 1, query, own key]}, added to the own scores
   * @return {@code [row, heads, query, headSize]}
   */
  public NDArray sharedAttention(
      NDArray query,
      NDArray prefixKey,
      NDArray prefixValue,
      NDArray ownKey,
      NDArray ownValue,
      NDArray mask,
      double scale) {
    return run(
        query, "shared_attention", query, prefixKey, prefixValue, ownKey, ownValue, mask, scale);
  }

  /**
   * The scores of {@link #sharedAttention} written out, prefix keys before own keys.
   *
   * @return {@code [row, heads, query, prefix key + own key]}, in the model's type
   */
  public NDArray attentionScores(
      NDArray query, NDArray prefixKey, NDArray ownKey, NDArray mask, double scale) {
    return run(query, "attention_scores", query, prefixKey, ownKey, mask, scale);
  }

  /** Both parts of attention side by side, prefix keys before own keys. */
  public NDArray concatKeys(NDArray prefix, NDArray own) {
    return run(prefix, "concat_keys", prefix, own);
  }

  /** Softmax over the last dimension, computed and returned in float32. */
  public NDArray softmax(NDArray scores) {
    return run(scores, "softmax", scores);
  }

  /**
   * Values under written-out weights.
   *
   * @param prefixWeights {@code [row, heads, query, prefix key]}
   * @param ownWeights {@code [row, heads, query, own key]}
   * @param prefixValue {@code [key-value heads, prefix key, headSize]}
   * @param ownValue {@code [row, key-value heads, own key, headSize]}
   * @return {@code [row, heads, query, headSize]} in the values' type
   */
  public NDArray attend(
      NDArray prefixWeights, NDArray ownWeights, NDArray prefixValue, NDArray ownValue) {
    return run(prefixWeights, "attend", prefixWeights, ownWeights, prefixValue, ownValue);
  }

  /**
   * Writes keys or values into a cache in place.
   *
   * @param cache {@code [row, key-value heads, capacity, headSize]}
   * @param value {@code [row, key-value heads, token, headSize]}
   * @param positions where each token goes, int64 {@code [row, token]}
   */
  public void cacheAppend(NDArray cache, NDArray value, NDArray positions) {
    run(value, "cache_append", cache, value, positions).close();
  }

  /**
   * What {@link #sharedAttention} adds to own scores so that a query sees own keys up to its own.
   *
   * @param positions of the queries among the own keys, int64 {@code [row, query]}
   * @return {@code [row, 1, query, keys]}, 0 or minus infinity
   */
  public NDArray causalMask(NDArray positions, int keys, Dtype dtype) {
    return run(
        positions, "causal_mask", positions, Long.valueOf(keys), Long.valueOf(dtype.torchNumber()));
  }

  /**
   * The greedy choice: {@code logits [row, vocabulary]} to float64 {@code [row, 3]} holding the
   * first of the largest, its natural-log probability, and the smallest logit.
   */
  public NDArray greedy(NDArray logits) {
    return run(logits, "greedy", logits);
  }

  /**
   * How far the largest of some dimensions stands out of each hidden state: {@code max_d |x_d| /
   * sqrt(mean(x²) + eps)}, in float32.
   *
   * @param x {@code [row, token, hidden]}
   * @param dimensions int64 {@code [dimension]}
   * @return {@code [row, token]}
   */
  public NDArray sinkValues(NDArray x, NDArray dimensions, double eps) {
    return run(x, "sink_values", x, dimensions, eps);
  }

  /**
   * How far a token moves the residual stream for each unit of attention a head gives it: the
   * length of its value behind the output projection, in float32.
   *
   * @param values {@code [1, key-value heads, token, headSize]}
   * @param output {@code [hidden, heads · headSize]}
   * @return {@code [heads, token]}
   */
  public NDArray valueNorms(NDArray values, NDArray output) {
    return run(values, "value_norms", values, output);
  }

  @Override
  public void close() {
    module.close();
    manager.close();
  }

  private NDArray run(NDArray owner, String operator, Object... operands) {
    return run((PtNDManager) owner.getManager(), operator, operands);
  }

  private PtNDArray run(PtNDManager owner, String operator, Object... operands) {
    IValue[] values = new IValue[operands.length];
    try {
      for (int i = 0; i < operands.length; i++) {
        values[i] = value(operands[i]);
      }
      try (IValue result = IValueUtils.runMethod(module, operator, values)) {
        return result.toTensor(owner);
      }
    } finally {
      for (IValue value : values) {
        if (value != null) {
          value.close(); // An unclosed one would keep its tensor for ever.
        }
      }
    }
  }

  private static IValue value(Object operand) {
    if (operand instanceof PtNDArray array) {
      return IValue.from(array);
    }
    if (operand instanceof Long number) {
      return IValue.from(number);
    }
    if (operand instanceof Double number) {
      return IValue.from(number);
    }
    if (operand instanceof long[] numbers) {
      return IValue.listFrom(numbers);
    }
    return IValue.from((String) operand);
  }

  private static String text() throws IOException {
    try (InputStream resource = Operators.class.getResourceAsStream(RESOURCE)) {
      if (resource == null) {
        throw new IllegalStateException("Cannot find resource " + RESOURCE);
      }
      return new String(resource.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /** The smallest archive torch loads: an empty object of the class in the text. */
  private static byte[] archive(String text) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      zip.setMethod(ZipOutputStream.STORED);
      store(zip, "m/data.pkl", "\u0080\u0002c__torch__\nOperators\n)\u0081}b.");
      store(zip, "m/constants.pkl", "\u0080\u0002).");
      store(zip, "m/version", "10\n");
      store(zip, "m/code/__torch__.py", text);
    }
    return bytes.toByteArray();
  }

  private static void store(ZipOutputStream zip, String name, String content) throws IOException {
    byte[] bytes = content.getBytes(StandardCharsets.ISO_8859_1);
    CRC32 checksum = new CRC32();
    checksum.update(bytes);
    ZipEntry entry = new ZipEntry(name);
    entry.setSize(bytes.length);
    entry.setCompressedSize(bytes.length);
    entry.setCrc(checksum.getValue());
    zip.putNextEntry(entry);
    zip.write(bytes);
    zip.closeEntry();
  }
}
