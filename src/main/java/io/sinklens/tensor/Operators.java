package io.sinklens.tensor;

import ai.djl.Device;
import ai.djl.engine.EngineException;
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
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Function;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.jspecify.annotations.Nullable;

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
  private static final long CAUSAL_BLOCK = 128;
  private static final long ATTENTION_BLOCK = 128;

  private final PtNDManager manager;
  private final PtSymbolBlock module;
  private final LongAdder calls = new LongAdder();

  private Operators(PtNDManager manager, PtSymbolBlock module) {
    this.manager = manager;
    this.module = module;
  }

  /**
   * Compiles the operators for a device.
   *
   * @throws IllegalArgumentException in one line, if the device cannot compute
   */
  public static Operators load(Device device) {
    PtNDManager manager = (PtNDManager) NDManager.newBaseManager(device, "PyTorch");
    try (InputStream archive = new ByteArrayInputStream(archive(text()))) {
      Operators operators =
          new Operators(manager, JniUtils.loadModule(manager, archive, false, false));
      operators.requireWorking();
      return operators;
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot compile " + RESOURCE, e);
    }
  }

  /** What weights and everything long-lived belong to; closed with this object. */
  public NDManager manager() {
    return manager;
  }

  /** Waits until an array is there; a device works on while the calling thread goes ahead. */
  public void await(NDArray x) {
    if (areOnGpu()) {
      run(x, "first", x).toFloatArray();
    }
  }

  /** Computes a little on a GPU, which may be none of the numbers that are there. */
  private void requireWorking() {
    if (!areOnGpu()) {
      return;
    }
    enterThread();
    try (NDManager scope = manager.newSubManager()) {
      softmax(scope.create(new float[] {0, 0}, new Shape(1, 2))).toFloatArray();
    } catch (EngineException e) {
      close();
      String message = String.valueOf(e.getMessage()).strip();
      throw new IllegalArgumentException(
          "Cannot use device %s: %s"
              .formatted(Devices.name(manager.getDevice()), message.lines().findFirst().orElse("")),
          e);
    }
  }

  /** How many have run so far, on all threads. */
  public long calls() {
    return calls.sum();
  }

  /** Whether they run on a GPU, which works on while the calling thread goes ahead. */
  public boolean areOnGpu() {
    return manager.getDevice().isGpu();
  }

  /**
   * Prepares the calling thread: nothing here is ever differentiated, nor compiled for each new
   * shape, as torch would on a GPU.
   */
  public void enterThread() {
    JniUtils.setGradMode(false);
    if (areOnGpu()) {
      JniUtils.setGraphExecutorOptimize(false);
    }
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

  /**
   * The same numbers in memory of torch's own. What DJL makes of numbers of Java lies in memory of
   * Java, which is freed when that array is closed, whatever else looks at it.
   */
  public NDArray own(NDArray x) {
    return run(x, "own", x);
  }

  /** The same numbers on the device of these operators. */
  public NDArray move(NDArray x) {
    return run(x, "move", x, torchName(manager.getDevice()));
  }

  /** Memory for numbers to come, of a type DJL may not know, in the given manager. */
  public NDArray empty(NDManager owner, Shape shape, Dtype dtype) {
    return run(
        (PtNDManager) owner,
        "empty",
        shape.getShape(),
        Long.valueOf(dtype.torchNumber()),
        torchName(manager.getDevice()));
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

  /** Arrays behind one another along their first dimension; at least one. */
  public NDArray concat(List<NDArray> parts) {
    return run(parts.get(0), "concat", (Object) parts.toArray(new PtNDArray[0]));
  }

  /** All numbers of arrays of any shapes behind one another; at least one array. */
  public NDArray flatten(List<NDArray> parts) {
    return run(parts.get(0), "flatten", (Object) parts.toArray(new PtNDArray[0]));
  }

  /** Earlier rows and then those of x. */
  public NDArray prepend(NDArray x, NDArray earlier) {
    return run(x, "concat", (Object) new PtNDArray[] {(PtNDArray) earlier, (PtNDArray) x});
  }

  /** A view of rows {@code [begin, end)} of the first dimension. */
  public NDArray rows(NDArray x, int begin, int end) {
    return run(x, "rows", x, Long.valueOf(begin), Long.valueOf(end));
  }

  /** A copy of the first rows. */
  public NDArray copyRows(NDArray x, int end) {
    return run(x, "copy_rows", x, Long.valueOf(end));
  }

  /** Which rows of {@code [row, hidden]} hold finite numbers only. */
  public boolean[] finiteRows(NDArray x) {
    float[] sums = run(x, "sum_rows", x).toFloatArray();
    boolean[] finite = new boolean[sums.length];
    for (int i = 0; i < sums.length; i++) {
      finite[i] = Float.isFinite(sums[i]);
    }
    return finite;
  }

  /** {@code [row, hidden]} with some rows made not a number. */
  public NDArray spoilRows(NDArray x, int[] rows) {
    long[] which = Arrays.stream(rows).asLongStream().toArray();
    return run(x, "spoil_rows", x, x.getManager().create(which));
  }

  /** Puts rows in place of others, from one on. */
  public void putRows(NDArray x, int begin, NDArray rows) {
    run(rows, "put_rows", x, Long.valueOf(begin), rows).close();
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

  /** {@code x + y · weightᵀ}, a residual connection around a linear map. */
  public NDArray addLinear(NDArray x, NDArray y, NDArray weight) {
    return run(x, "add_linear", x, y, weight);
  }

  /**
   * A residual connection around norm and gated MLP.
   *
   * @param x {@code [token, hidden]}
   * @param norm weight of the root-mean-square norm, {@code [hidden]}
   * @param gate {@code [intermediate, hidden]}
   * @param up as {@code gate}
   * @param down {@code [hidden, intermediate]}
   * @return {@code [token, hidden]}
   */
  public NDArray addGatedMlp(
      NDArray x,
      NDArray norm,
      double eps,
      NDArray gate,
      NDArray up,
      NDArray down,
      Activation activation) {
    return run(x, "add_gated_mlp", x, norm, eps, gate, up, down, activation.configName());
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
   * @return float32 {@code [token, headSize]}, the head size twice the sum of the sections
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
   * @return float32 {@code [token, headSize]}
   */
  public NDArray planeRopeAngles(NDArray positions, double theta, int headSize) {
    return run(positions, "plane_rope_angles", positions, theta, Long.valueOf(headSize));
  }

  /** The sine of angles {@code [token, headSize]} as {@link #rope} wants it. */
  public NDArray ropeSin(NDArray angles, Dtype dtype) {
    return run(angles, "rope_sin", angles, Long.valueOf(dtype.torchNumber()));
  }

  /**
   * Turns the two halves of every head by its token's angle.
   *
   * @param x {@code [token, heads, headSize]}
   * @param cos of the angles, {@code [token, headSize]}
   * @param sin of the angles, by {@link #ropeSin}
   */
  public NDArray rope(NDArray x, NDArray cos, NDArray sin) {
    return run(x, "rope", x, cos, sin);
  }

  /**
   * What the attention of a decoder layer reads, with rotary positions.
   *
   * @param x {@code [token, hidden]}
   * @param norm weight of the root-mean-square norm before the projections, {@code [hidden]}
   * @param weights of queries, keys and values, each {@code [heads · headSize, hidden]}; or one in
   *     which every key-value head has its queries, its key and its value behind one another
   * @param biases one each, or none
   * @param cos of the angles, {@code [token, headSize]}
   * @param sin of the angles, by {@link #ropeSin}
   * @param asking the tokens whose queries are wanted, int64; null for all
   */
  public AttentionInputs attentionInputs(
      NDArray x,
      NDArray norm,
      double eps,
      List<NDArray> weights,
      List<NDArray> biases,
      int keyValueHeads,
      int headSize,
      NDArray cos,
      NDArray sin,
      @Nullable NDArray asking) {
    PtNDArray[] parts =
        call(
            "attention_inputs",
            result -> result.toTensorArray((PtNDManager) x.getManager()),
            x,
            norm,
            eps,
            weights.toArray(new PtNDArray[0]),
            biases.toArray(new PtNDArray[0]),
            Long.valueOf(keyValueHeads),
            Long.valueOf(headSize),
            cos,
            sin,
            asking == null ? new PtNDArray[0] : new PtNDArray[] {(PtNDArray) asking});
    return new AttentionInputs(parts[0], parts[1], parts[2]);
  }

  /**
   * What attention reads.
   *
   * @param query {@code [asking token, heads, headSize]}, turned
   * @param key {@code [token, key-value heads, headSize]}, turned
   * @param value as {@code key}, not turned
   */
  public record AttentionInputs(NDArray query, NDArray key, NDArray value) {}

  /**
   * Attention of every query to every key.
   *
   * @param query {@code [row, heads, token, headSize]}
   * @param key {@code [row, heads, key, headSize]}, not necessarily as many
   * @param value as {@code key}
   * @return {@code [row, heads, token, headSize]}
   */
  public NDArray attention(NDArray query, NDArray key, NDArray value, double scale) {
    return run(query, "attention", query, key, value, scale, ATTENTION_BLOCK);
  }

  /**
   * Attention of each query of one image to the keys up to its own.
   *
   * @param query {@code [token, heads, headSize]}, of which {@code [begin, end)} ask
   * @param keys {@code [place, key-value heads, capacity, headSize]}
   * @param values as {@code keys}
   * @param place the image's
   * @param slot of the first query's key; the others follow
   * @return {@code [query, heads · headSize]}
   */
  public NDArray causalAttend(
      NDArray query,
      int begin,
      int end,
      NDArray keys,
      NDArray values,
      int place,
      int slot,
      double scale) {
    return run(
        query,
        "causal_attend",
        query,
        Long.valueOf(begin),
        Long.valueOf(end),
        keys,
        values,
        Long.valueOf(place),
        Long.valueOf(slot),
        scale,
        CAUSAL_BLOCK);
  }

  /**
   * Attention to the keys a mask leaves, of images in places side by side.
   *
   * @param query {@code [token, heads, headSize]}, of which {@code [begin, end)} ask, image by
   *     image as many
   * @param keys {@code [place, key-value heads, capacity, headSize]}, the first {@code slots} of
   *     which are finite numbers
   * @param values as {@code keys}
   * @param place of the first image
   * @param images how many
   * @param mask added to scores, {@code [image, query, slot]}; {@code [1, 1, 1]} where nothing is
   *     hidden
   * @return {@code [image · query, heads · headSize]}
   */
  public NDArray attend(
      NDArray query,
      int begin,
      int end,
      NDArray keys,
      NDArray values,
      int place,
      int images,
      int slots,
      NDArray mask,
      double scale) {
    return run(
        query,
        "attend",
        query,
        Long.valueOf(begin),
        Long.valueOf(end),
        keys,
        values,
        Long.valueOf(place),
        Long.valueOf(images),
        Long.valueOf(slots),
        mask,
        scale);
  }

  /**
   * The scores of {@link #attend} written out: {@code [image, heads, query, slot]}, in the model's
   * type or float32.
   */
  public NDArray attentionScores(
      NDArray query,
      int begin,
      int end,
      NDArray keys,
      int place,
      int images,
      int slots,
      NDArray mask,
      double scale) {
    return run(
        query,
        "attention_scores",
        query,
        Long.valueOf(begin),
        Long.valueOf(end),
        keys,
        Long.valueOf(place),
        Long.valueOf(images),
        Long.valueOf(slots),
        mask,
        scale);
  }

  /** Softmax over the last dimension, computed and returned in float32. */
  public NDArray softmax(NDArray scores) {
    return run(scores, "softmax", scores);
  }

  /**
   * Values under written-out weights.
   *
   * @param weights {@code [image, heads, query, slot]}
   * @param values {@code [place, key-value heads, capacity, headSize]}
   * @param place of the first image
   * @return {@code [image · query, heads · headSize]} in the values' type
   */
  public NDArray weightedValues(NDArray weights, NDArray values, int place) {
    return run(weights, "weighted_values", weights, values, Long.valueOf(place));
  }

  /**
   * Writes keys and values into a cache in place; numbers that are not finite become 0.
   *
   * @param keys {@code [place, key-value heads, capacity, headSize]}
   * @param values as {@code keys}
   * @param newKeys {@code [token, key-value heads, headSize]}
   * @param newValues as {@code newKeys}
   * @param places where each goes, int64 {@code [token]}
   * @param slots and into which of the place's slots, int64 {@code [token]}
   */
  public void cacheAppend(
      NDArray keys,
      NDArray values,
      NDArray newKeys,
      NDArray newValues,
      NDArray places,
      NDArray slots) {
    run(newKeys, "cache_append", keys, values, newKeys, newValues, places, slots).close();
  }

  /**
   * A copy of the first slots of an image's keys or values: {@code [key-value heads, slot,
   * headSize]}.
   */
  public NDArray copySlots(NDArray keys, int place, int end) {
    return run(keys, "copy_slots", keys, Long.valueOf(place), Long.valueOf(end));
  }

  /** Puts such slots in place of an image's first ones. */
  public void putSlots(NDArray keys, int place, NDArray slots) {
    run(slots, "put_slots", slots, keys, Long.valueOf(place)).close();
  }

  /** Writes zeros into an image's slots from one on. */
  public void clearSlots(NDArray keys, int place, int begin) {
    run(keys, "clear_slots", keys, Long.valueOf(place), Long.valueOf(begin)).close();
  }

  /**
   * The greedy choice: {@code logits [row, vocabulary]} to float64 {@code [row, 3]} holding the
   * first of the largest, its natural-log probability, and the smallest logit.
   */
  public NDArray greedy(NDArray logits) {
    return run(logits, "greedy", logits);
  }

  /**
   * Logits with some tokens of some rows out of reach.
   *
   * @param logits {@code [row, vocabulary]}
   * @param rows which, int64
   * @param tokens which, int64
   */
  public NDArray forbid(NDArray logits, NDArray rows, NDArray tokens) {
    return run(logits, "forbid", logits, rows, tokens);
  }

  /**
   * How far the largest of some dimensions stands out of each hidden state: {@code max_d |x_d| /
   * sqrt(mean(x²) + eps)}, in float32.
   *
   * @param x {@code [token, hidden]}
   * @param dimensions int64 {@code [dimension]}
   * @return {@code [token]}
   */
  public NDArray sinkValues(NDArray x, NDArray dimensions, double eps) {
    return run(x, "sink_values", x, dimensions, eps);
  }

  /**
   * How far a token moves the residual stream for each unit of attention a head gives it: the
   * length of its value behind the output projection, in float32.
   *
   * @param values {@code [token, key-value heads, headSize]}
   * @param output {@code [hidden, heads · headSize]}
   * @return {@code [heads, token]}
   */
  public NDArray valueNorms(NDArray values, NDArray output) {
    return run(values, "value_norms", values, output);
  }

  /**
   * Writes an image's groups of keys, as 0 and 1, before any row has come.
   *
   * @param values sink values of the prefix, float32 {@code [prefix key]}
   * @param least from which value on a token is a sink, float32 {@code [choice]}
   * @param imageStart first image token; all after it are image tokens
   * @param groups written: {@code [place, choice, group, slot]}, groups visual sinks, visual
   *     non-sinks, text sinks
   * @param counts written: visual sinks, {@code [place, choice]}
   * @param place the image's
   */
  public void keyGroups(
      NDArray values, NDArray least, int imageStart, NDArray groups, NDArray counts, int place) {
    run(
            values,
            "key_groups",
            values,
            least,
            Long.valueOf(imageStart),
            groups,
            counts,
            Long.valueOf(place))
        .close();
  }

  /**
   * Marks tokens after prefixes as text sinks, or not, in place.
   *
   * @param groups by {@link #keyGroups}
   * @param places of their images, int64 {@code [token]}
   * @param slots theirs, int64 {@code [token]}
   * @param values sink values {@code [token]}
   * @param least from which value on each is a sink {@code [token]}
   */
  public void markSinks(
      NDArray groups, NDArray places, NDArray slots, NDArray values, NDArray least) {
    run(values, "mark_sinks", groups, places, slots, values, least).close();
  }

  /**
   * Attention added up by group of keys, of images in places side by side.
   *
   * @param weights {@code [image, heads, query, key]}, float32
   * @param groups by {@link #keyGroups}
   * @param place of the first image
   * @param choice which groups are a query's, int64 {@code [image, query]}
   * @return {@code [image, heads, query, group]}
   */
  public NDArray groupSums(NDArray weights, NDArray groups, int place, NDArray choice) {
    return run(weights, "group_sums", weights, groups, Long.valueOf(place), choice);
  }

  /**
   * Which heads are image-centric for which queries.
   *
   * @param sums by {@link #groupSums}
   * @param settings of each query's row, {@code [image, query, 6]}: whether the released code is
   *     followed (1) or the paper (0), least non-sink ratio, largest sink share, least image
   *     attention, whether no visual sink is needed (1), what the released code adds to the
   *     attention of an image
   * @param references how many queries follow the released code
   * @param visualSinks how many each choice of groups has {@code [place, choice]}
   * @param place of the first image
   * @param choice the query's, int64 {@code [image, query]}
   * @return 1 where chosen, else 0: {@code [image, heads, query]}
   */
  public NDArray selectHeads(
      NDArray sums,
      NDArray settings,
      int references,
      NDArray visualSinks,
      int place,
      NDArray choice) {
    return run(
        sums,
        "select_heads",
        sums,
        settings,
        Long.valueOf(references),
        visualSinks,
        Long.valueOf(place),
        choice);
  }

  /**
   * Moves attention from sinks to visual non-sinks.
   *
   * @param weights {@code [image, heads, query, key]}, float32
   * @param sums by {@link #groupSums}
   * @param groups by {@link #keyGroups}
   * @param place of the first image
   * @param choice the query's, int64 {@code [image, query]}
   * @param selected {@code [image, heads, query]}, 1 or 0
   * @param share of every sink's attention to move {@code [image, query]}
   */
  public NDArray redistribute(
      NDArray weights,
      NDArray sums,
      NDArray groups,
      int place,
      NDArray choice,
      NDArray selected,
      NDArray share) {
    return run(
        weights,
        "redistribute",
        weights,
        sums,
        groups,
        Long.valueOf(place),
        choice,
        selected,
        share);
  }

  /**
   * Weights as if some prefix keys were not there.
   *
   * @param weights {@code [heads, query, key]}, float32
   * @param kept 0 where a row loses a key, else 1: {@code [row, prefix key]}
   * @param rows the query's row, int64 {@code [query]}
   */
  public NDArray knockOut(NDArray weights, NDArray kept, NDArray rows) {
    return run(weights, "knock_out", weights, kept, rows);
  }

  /**
   * Means over heads: {@code [heads, query, key]} to {@code [chosen query, key]}.
   *
   * @param queries which, int64
   * @param begin first key
   * @param end after the last key
   */
  public NDArray meanOverHeads(NDArray weights, NDArray queries, int begin, int end) {
    return run(
        weights, "mean_over_heads", weights, queries, Long.valueOf(begin), Long.valueOf(end));
  }

  /** Weights {@code [heads, query, key]} on the first keys times {@code [heads, prefix key]}. */
  public NDArray scaleKeys(NDArray weights, NDArray factors) {
    return run(weights, "scale_keys", weights, factors);
  }

  /**
   * Of some queries the sums {@code [image, heads, query, 3]} and the selection {@code [image,
   * heads, query]}.
   *
   * @param queries which, int64 indices of {@code image · query}
   * @return {@code [chosen query, heads, 4]}
   */
  public NDArray noteQueries(NDArray sums, NDArray selected, NDArray queries) {
    return run(sums, "note_queries", sums, selected, queries);
  }

  @Override
  public void close() {
    module.close();
    manager.close();
    freeUnused();
  }

  /** Gives memory that torch keeps for arrays to come back to a GPU. */
  public void freeUnused() {
    if (areOnGpu()) {
      JniUtils.emptyCudaCache();
    }
  }

  private NDArray run(NDArray owner, String operator, Object... operands) {
    return run((PtNDManager) owner.getManager(), operator, operands);
  }

  private PtNDArray run(PtNDManager owner, String operator, Object... operands) {
    return call(operator, result -> result.toTensor(owner), operands);
  }

  private <T> T call(String operator, Function<IValue, T> reading, Object... operands) {
    IValue[] values = new IValue[operands.length];
    try {
      for (int i = 0; i < operands.length; i++) {
        values[i] = value(operands[i]);
      }
      try (IValue result = IValueUtils.runMethod(module, operator, values)) {
        calls.increment();
        return reading.apply(result);
      }
    } finally {
      for (IValue value : values) {
        if (value != null) {
          value.close(); // An unclosed one would keep its tensor for ever.
        }
      }
    }
  }

  private static String torchName(Device device) {
    return device.isGpu() ? "cuda:" + device.getDeviceId() : "cpu";
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
    if (operand instanceof PtNDArray[] arrays) {
      return IValue.listFrom(arrays);
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
