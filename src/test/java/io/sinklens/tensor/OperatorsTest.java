package io.sinklens.tensor;

import static io.sinklens.tensor.Doubles.shape;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Every operator against its definition in plain Java, in both types networks compute in. */
class OperatorsTest {
  private static Operators operators;

  private NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
  private final Random random = new Random(1);

  @BeforeAll
  static void load() {
    operators = Operators.load(Device.cpu());
  }

  @AfterAll
  static void closeOperators() {
    operators.close();
  }

  @BeforeEach
  void enterThread() {
    operators.enterThread();
  }

  @AfterEach
  void close() {
    manager.close();
  }

  // --- Storage

  @Test
  void mapsAFileWithoutEverWritingToIt(@TempDir Path folder) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 6; i++) {
      bytes.putFloat(i + 0.5f);
    }
    Path file = Files.write(folder.resolve("floats"), bytes.array());

    NDArray mapped = operators.mapFile(file, 6, Dtype.FLOAT32);
    NDArray view = operators.viewRange(mapped, 2, 6, new Shape(1, 1, 2, 2));
    assertThat(view.toFloatArray()).containsExactly(2.5f, 3.5f, 4.5f, 5.5f);
    NDArray nines = manager.create(new float[] {9, 9}, new Shape(1, 1, 1, 2));
    operators.cacheAppend(view, nines, integers(new int[] {1}, 1, 1));

    assertThat(mapped.toFloatArray()).containsExactly(0.5f, 1.5f, 2.5f, 3.5f, 9, 9);
    assertThat(mapped.getManager()).isSameAs(operators.manager());
    assertThat(Files.readAllBytes(file)).isEqualTo(bytes.array());
  }

  @Test
  void mapsEachType(@TempDir Path folder) throws IOException {
    byte[] bytes = {0, 0x3c, (byte) 0x80, 0x3f}; // 1 as float16, 1 as bfloat16.
    Path file = Files.write(folder.resolve("shorts"), bytes);

    assertThat(floats(operators.mapFile(file, 2, Dtype.FLOAT16))).startsWith(1);
    assertThat(floats(operators.mapFile(file, 2, Dtype.BFLOAT16))).endsWith(1);
  }

  @ParameterizedTest
  @EnumSource
  void changesTypes(Dtype dtype) {
    NDArray x = manager.create(new float[] {1, -2.5f, 0x1.01p0f, 0});

    NDArray narrow = operators.to(x, dtype);

    float rounded = dtype == Dtype.BFLOAT16 ? 1 : 0x1.01p0f; // Halfway: to even.
    assertThat(floats(narrow)).containsExactly(1, -2.5f, rounded, 0);
    assertThat(narrow.getManager()).isSameAs(manager);
  }

  @ParameterizedTest
  @EnumSource
  void makesZeros(Dtype dtype) {
    NDArray zeros = operators.zeros(manager, new Shape(2, 3), dtype);

    assertThat(zeros.getShape()).isEqualTo(new Shape(2, 3));
    assertThat(floats(zeros)).containsOnly(0);
    assertThat(zeros.getManager()).isSameAs(manager);
  }

  // --- Layers

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void multipliesByTransposedWeights(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 32);
    Doubles weight = random(dtype, 5, 32);
    Doubles bias = random(dtype, 5);
    Doubles products =
        Doubles.of(shape(2, 3, 5), i -> sum(32, k -> x.at(i[0], i[1], k) * weight.at(i[2], k)));

    check(products, dtype, operators.linear(array(x, dtype), array(weight, dtype)));
    check(
        Doubles.of(shape(2, 3, 5), i -> products.at(i) + bias.at(i[2])),
        dtype,
        operators.linear(array(x, dtype), array(weight, dtype), array(bias, dtype)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void looksRowsUp(Dtype dtype) {
    Doubles weight = random(dtype, 7, 4);
    long[] ids = {6, 0, 3, 3, 1, 2};

    check(
        Doubles.of(shape(2, 3, 4), i -> weight.at((int) ids[i[0] * 3 + i[1]], i[2])),
        dtype,
        operators.embedding(manager.create(ids, new Shape(2, 3)), array(weight, dtype)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void mapsPatchesRowByRow(Dtype dtype) {
    Doubles pixels = random(dtype, 2, 3, 6, 4); // 3 by 2 patches of 2 by 2.
    Doubles weight = random(dtype, 5, 3, 2, 2);

    check(
        Doubles.of(
            shape(2, 6, 5),
            i ->
                sum(
                    12,
                    k ->
                        pixels.at(i[0], k / 4, i[1] / 2 * 2 + k / 2 % 2, i[1] % 2 * 2 + k % 2)
                            * weight.at(i[2], k / 4, k / 2 % 2, k % 2))),
        dtype,
        operators.patches(array(pixels, dtype), array(weight, dtype), 2));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void putsTokensTogether(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 4);
    Doubles token = random(dtype, 4);
    Doubles left = random(dtype, 2, 4);
    Doubles right = random(dtype, 5, 4);

    check(
        Doubles.of(shape(2, 4, 4), i -> i[1] == 0 ? token.at(i[2]) : x.at(i[0], i[1] - 1, i[2])),
        dtype,
        operators.prependToken(array(x, dtype), array(token, dtype)));
    check(
        Doubles.of(shape(1, 7, 4), i -> i[1] < 2 ? left.at(i[1], i[2]) : right.at(i[1] - 2, i[2])),
        dtype,
        operators.concatTokens(array(left, dtype), array(right, dtype)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void padsMapsWithARowAndAColumn(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 2, 4);

    check(
        Doubles.of(
            shape(2, 4, 3, 4), i -> i[1] == 3 || i[2] == 2 ? 0 : x.at(i[0], i[1], i[2], i[3])),
        dtype,
        operators.padMap(array(x, dtype)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void resizesMapsBetweenPixelCentres(Dtype dtype) {
    Doubles x = random(dtype, 7, 5, 3);

    check(
        Doubles.of(
            shape(4, 3, 3),
            i -> {
              double row = Math.max(0, (i[0] + 0.5) * 7 / 4 - 0.5);
              double column = Math.max(0, (i[1] + 0.5) * 5 / 3 - 0.5);
              int above = (int) row;
              int left = (int) column;
              int below = Math.min(6, above + 1);
              int right = Math.min(4, left + 1);
              double down = row - above;
              double across = column - left;
              return (1 - down) * (1 - across) * x.at(above, left, i[2])
                  + (1 - down) * across * x.at(above, right, i[2])
                  + down * (1 - across) * x.at(below, left, i[2])
                  + down * across * x.at(below, right, i[2]);
            }),
        dtype,
        operators.resizeMap(array(x, dtype), 4, 3));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void endsRowsWithAToken(Dtype dtype) {
    Doubles x = random(dtype, 3, 2, 4);
    Doubles token = random(dtype, 4);

    check(
        Doubles.of(shape(3, 3, 4), i -> i[1] == 2 ? token.at(i[2]) : x.at(i[0], i[1], i[2])),
        dtype,
        operators.endRows(array(x, dtype), array(token, dtype)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void picksOneTokenOfEveryRow(Dtype dtype) {
    Doubles x = random(dtype, 3, 5, 4);
    long[] tokens = {4, 0, 2};

    check(
        Doubles.of(shape(3, 4), i -> x.at(i[0], (int) tokens[i[0]], i[1])),
        dtype,
        operators.pickTokens(array(x, dtype), manager.create(tokens)));
  }

  @Test
  void picksOneQueryOfEveryRow() {
    Doubles x = random(Dtype.FLOAT32, 3, 2, 5, 4);
    long[] queries = {4, 0, 2};

    check(
        Doubles.of(shape(3, 2, 4), i -> x.at(i[0], i[1], (int) queries[i[0]], i[2])),
        Dtype.FLOAT32,
        operators.pickQueries(array(x, Dtype.FLOAT32), manager.create(queries)));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void normalisesByRootMeanSquare(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 64);
    Doubles weight = random(dtype, 64);
    double eps = 0.5; // Large, so that it shows.

    check(
        Doubles.of(shape(2, 3, 64), i -> x.at(i) / rms(x, eps, i[0], i[1]) * weight.at(i[2])),
        dtype,
        operators.rmsNorm(array(x, dtype), array(weight, dtype), eps));
  }

  @Test
  void normalisesLargeBfloatsInFloat32() {
    // The square of 2^100 is beyond float32; that of 2^50 is beyond what 8 bits could sum up.
    Doubles x = Doubles.of(shape(1, 1, 1000), i -> i[2] == 0 ? 0x1p50 : 0x1p44);
    Doubles weight = Doubles.of(shape(1000), i -> 1);

    check(
        Doubles.of(shape(1, 1, 1000), i -> x.at(i) / rms(x, 0, 0, 0)),
        Dtype.BFLOAT16,
        operators.rmsNorm(array(x, Dtype.BFLOAT16), array(weight, Dtype.BFLOAT16), 1e-5));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void normalisesLayers(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 64);
    Doubles weight = random(dtype, 64);
    Doubles bias = random(dtype, 64);
    double eps = 0.5;

    check(
        Doubles.of(
            shape(2, 3, 64),
            i -> {
              double mean = sum(64, k -> x.at(i[0], i[1], k)) / 64;
              double variance = sum(64, k -> Math.pow(x.at(i[0], i[1], k) - mean, 2)) / 64;
              return (x.at(i) - mean) / Math.sqrt(variance + eps) * weight.at(i[2]) + bias.at(i[2]);
            }),
        dtype,
        operators.layerNorm(array(x, dtype), array(weight, dtype), array(bias, dtype), eps));
  }

  // --- Rotary position embedding

  @Test
  void givesEveryPositionItsAngles() {
    long[] positions = {0, 1, 17, 4095};

    check(
        Doubles.of(shape(2, 2, 8), i -> angle((int) positions[i[0] * 2 + i[1]], i[2], 8)),
        Dtype.FLOAT32,
        operators.ropeAngles(manager.create(positions, new Shape(2, 2)), 10000, 8));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void turnsTheHalvesOfEveryHead(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 4, 8);
    int[] positions = {5, 6, 7, 8, 0, 1, 2, 3}; // Four of each row.

    check(turned(x, positions), dtype, turn(x, positions, 2, dtype));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void turnsAllRowsByOnePosition(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 4, 8);
    int[] shared = {9, 10, 11, 12};
    int[] repeated = {9, 10, 11, 12, 9, 10, 11, 12};

    check(turned(x, repeated), dtype, turn(x, shared, 1, dtype));
  }

  // --- Attention

  /** P prefix keys, T own keys, and everything else of one attention. */
  record Attention(
      Dtype dtype, int rows, int heads, int groups, int queries, int prefix, int own, int size) {
    int group() {
      return heads / groups;
    }

    double scale() {
      return 1 / Math.sqrt(size);
    }
  }

  static Stream<Attention> attentions() {
    return Stream.of(Dtype.FLOAT32, Dtype.BFLOAT16)
        .flatMap(
            dtype ->
                Stream.of(
                    new Attention(dtype, 1, 4, 4, 3, 5, 3, 8), // Multi-head.
                    new Attention(dtype, 3, 8, 2, 4, 37, 6, 16), // Grouped-query.
                    new Attention(dtype, 2, 6, 1, 2, 9, 5, 8), // Multi-query.
                    new Attention(dtype, 5, 4, 2, 1, 20, 7, 8), // One token a row.
                    new Attention(dtype, 1, 2, 2, 40, 600, 40, 16), // A prompt after an image.
                    new Attention(dtype, 2, 4, 2, 5, 1, 5, 8)));
  }

  static Stream<Attention> attentionsWithEmptyPrefix() {
    return Stream.of(Dtype.FLOAT32, Dtype.BFLOAT16)
        .flatMap(
            dtype ->
                Stream.of(
                    new Attention(dtype, 1, 4, 4, 3, 0, 3, 8),
                    new Attention(dtype, 3, 8, 2, 4, 0, 6, 16)));
  }

  static Stream<Attention> allAttentions() {
    return Stream.concat(attentions(), attentionsWithEmptyPrefix());
  }

  @ParameterizedTest
  @MethodSource("allAttentions")
  void attendsToPrefixAndOwnKeys(Attention of) {
    Operands operands = new Operands(of);

    check(
        operands.output(),
        of.dtype,
        operators.sharedAttention(
            array(operands.query, of.dtype),
            array(operands.prefixKey, of.dtype),
            array(operands.prefixValue, of.dtype),
            array(operands.ownKey, of.dtype),
            array(operands.ownValue, of.dtype),
            operators.causalMask(operands.positions(), of.own, of.dtype),
            of.scale()));
  }

  @ParameterizedTest
  @MethodSource("allAttentions")
  void writesTheSameAttentionOut(Attention of) {
    Operands operands = new Operands(of);

    NDArray scores =
        operators.attentionScores(
            array(operands.query, of.dtype),
            array(operands.prefixKey, of.dtype),
            array(operands.ownKey, of.dtype),
            operators.causalMask(operands.positions(), of.own, of.dtype),
            of.scale());
    check(operands.scores(), of.dtype, scores);
    NDArray weights = operators.softmax(scores);
    check(operands.weights(), of.dtype, weights);
    check(
        operands.output(),
        of.dtype,
        operators.attend(
            weights.get("..., :" + of.prefix),
            weights.get("..., " + of.prefix + ":"),
            array(operands.prefixValue, of.dtype),
            array(operands.ownValue, of.dtype)));
  }

  @ParameterizedTest
  @MethodSource("attentions")
  void attendsToEveryKey(Attention of) {
    Doubles query = random(of.dtype, of.rows, of.heads, of.queries, of.size);
    Doubles key = random(of.dtype, of.rows, of.heads, of.prefix, of.size);
    Doubles value = random(of.dtype, of.rows, of.heads, of.prefix, of.size);

    check(
        Doubles.of(
            shape(of.rows, of.heads, of.queries, of.size),
            i -> {
              double[] weights =
                  softmax(
                      of.prefix,
                      t ->
                          of.scale()
                              * sum(
                                  of.size,
                                  d -> query.at(i[0], i[1], i[2], d) * key.at(i[0], i[1], t, d)));
              return sum(of.prefix, t -> weights[t] * value.at(i[0], i[1], t, i[3]));
            }),
        of.dtype,
        operators.attention(
            array(query, of.dtype), array(key, of.dtype), array(value, of.dtype), of.scale()));
  }

  @ParameterizedTest
  @MethodSource("attentions")
  void attendsToEarlierKeys(Attention of) {
    Doubles query = random(of.dtype, of.rows, of.heads, of.queries, of.size);
    Doubles key = random(of.dtype, of.rows, of.groups, of.queries, of.size);
    Doubles value = random(of.dtype, of.rows, of.groups, of.queries, of.size);

    check(
        Doubles.of(
            shape(of.rows, of.heads, of.queries, of.size),
            i -> {
              int group = i[1] / of.group();
              double[] weights =
                  softmax(
                      i[2] + 1,
                      t ->
                          of.scale()
                              * sum(
                                  of.size,
                                  d -> query.at(i[0], i[1], i[2], d) * key.at(i[0], group, t, d)));
              return sum(i[2] + 1, t -> weights[t] * value.at(i[0], group, t, i[3]));
            }),
        of.dtype,
        operators.causalAttention(
            array(query, of.dtype), array(key, of.dtype), array(value, of.dtype), of.scale()));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void putsKeysSideBySide(Dtype dtype) {
    Doubles prefix = random(dtype, 2, 3, 4, 5);
    Doubles own = random(dtype, 2, 3, 4, 2);

    check(
        Doubles.of(
            shape(2, 3, 4, 7), i -> i[3] < 5 ? prefix.at(i) : own.at(i[0], i[1], i[2], i[3] - 5)),
        dtype,
        operators.concatKeys(array(prefix, dtype), array(own, dtype)));
  }

  @Test
  void softmaxOfBfloatsIsFloat32() {
    Doubles scores = random(Dtype.BFLOAT16, 2, 300);

    NDArray weights = operators.softmax(array(scores, Dtype.BFLOAT16));

    check(
        Doubles.of(shape(2, 300), i -> softmax(300, k -> scores.at(i[0], k))[i[1]]),
        Dtype.FLOAT32,
        weights);
    for (float sum : weights.sum(new int[] {-1}).toFloatArray()) {
      assertThat(sum).isCloseTo(1, within(1e-6f));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void hidesKeysAfterTheQuery(Dtype dtype) {
    int[] positions = {0, 1, 2, 4, 0, 3};

    check(
        Doubles.of(
            shape(2, 1, 3, 5),
            i -> i[3] <= positions[i[0] * 3 + i[2]] ? 0 : Double.NEGATIVE_INFINITY),
        dtype,
        operators.causalMask(integers(positions, 2, 3), 5, dtype));
  }

  // --- Key-value cache

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void appendsEachRowAtItsOwnPlace(Dtype dtype) {
    Doubles before = random(dtype, 3, 2, 8, 4);
    Doubles value = random(dtype, 3, 2, 2, 4);
    int[] positions = {0, 1, 5, 6, 7, 2}; // The last row's are out of order.
    NDArray cache = array(before, dtype);

    operators.cacheAppend(cache, array(value, dtype), integers(positions, 3, 2));

    check(
        Doubles.of(
            shape(3, 2, 8, 4),
            i -> {
              for (int token = 0; token < 2; token++) {
                if (positions[i[0] * 2 + token] == i[2]) {
                  return value.at(i[0], i[1], token, i[3]);
                }
              }
              return before.at(i);
            }),
        dtype,
        cache);
  }

  @Test
  void appendsToZeros() {
    NDArray cache = operators.zeros(manager, new Shape(1, 1, 3, 2), Dtype.BFLOAT16);
    Doubles value = random(Dtype.BFLOAT16, 1, 1, 1, 2);

    operators.cacheAppend(cache, array(value, Dtype.BFLOAT16), integers(new int[] {1}, 1, 1));

    check(
        Doubles.of(shape(1, 1, 3, 2), i -> i[2] == 1 ? value.at(0, 0, 0, i[3]) : 0),
        Dtype.BFLOAT16,
        cache);
  }

  // --- Choosing tokens

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void choosesTheLargestLogit(Dtype dtype) {
    Doubles logits = random(dtype, 3, 200);

    double[] choice = operators.greedy(array(logits, dtype)).toDoubleArray();

    for (int row = 0; row < 3; row++) {
      int each = row;
      int best =
          IntStream.range(0, 200)
              .reduce(0, (a, b) -> logits.at(each, b) > logits.at(each, a) ? b : a);
      double probability = softmax(200, k -> logits.at(each, k))[best];
      double smallest =
          IntStream.range(0, 200).mapToDouble(k -> logits.at(each, k)).min().orElse(0);
      assertThat(choice[row * 3]).isEqualTo(best);
      assertThat(choice[row * 3 + 1])
          .isCloseTo(Math.log(probability), within(4 * tolerance(dtype)));
      assertThat(choice[row * 3 + 2]).isEqualTo(smallest);
    }
  }

  @Test
  void choosesTheFirstOfEqualLogits() {
    float[] logits = new float[40_000];
    logits[7] = 3;
    logits[20_000] = 3;
    logits[39_999] = 3;

    NDArray choice = operators.greedy(manager.create(logits, new Shape(1, logits.length)));

    assertThat(choice.toDoubleArray()[0]).isEqualTo(7);
  }

  @Test
  void showsLogitsThatAreNotFinite() {
    float[] logits = {1, Float.NaN, 2, 1, Float.NEGATIVE_INFINITY, 2};

    double[] choice = operators.greedy(manager.create(logits, new Shape(2, 3))).toDoubleArray();

    assertThat(choice[2]).isNaN();
    assertThat(choice[5]).isEqualTo(Double.NEGATIVE_INFINITY);
  }

  // --- Sinks

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void measuresHowFarDimensionsStandOut(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 64);
    int[] dimensions = {5, 40, 63};
    double eps = 0.5;

    check(
        Doubles.of(
            shape(2, 3),
            i ->
                IntStream.of(dimensions)
                        .mapToDouble(d -> Math.abs(x.at(i[0], i[1], d)))
                        .max()
                        .orElse(0)
                    / rms(x, eps, i[0], i[1])),
        Dtype.FLOAT32,
        operators.sinkValues(array(x, dtype), integers(dimensions, 3), eps));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void measuresValuesBehindTheOutputProjection(Dtype dtype) {
    int heads = 4;
    int keyValueHeads = 2;
    int headSize = 3;
    int hidden = 8;
    Doubles values = random(dtype, 1, keyValueHeads, 5, headSize);
    Doubles output = random(dtype, hidden, heads * headSize);

    check(
        Doubles.of(
            shape(heads, 5),
            i -> {
              int group = i[0] / (heads / keyValueHeads);
              double squares = 0;
              for (int out = 0; out < hidden; out++) {
                double sum = 0;
                for (int d = 0; d < headSize; d++) {
                  sum += values.at(0, group, i[1], d) * output.at(out, i[0] * headSize + d);
                }
                squares += sum * sum;
              }
              return Math.sqrt(squares);
            }),
        dtype,
        operators.valueNorms(array(values, dtype), array(output, dtype)));
  }

  @Test
  void turnsEachSectionOfFrequenciesByItsOwnPosition() {
    List<Integer> sections = List.of(1, 2, 1); // Head size 8.
    long[] positions = {3, 0, 7, 1, 2, 5}; // [axis, token]
    double theta = 100;
    int[] axes = {0, 1, 1, 2};

    check(
        Doubles.of(
            shape(1, 2, 8),
            i -> positions[2 * axes[i[2] % 4] + i[1]] * Math.pow(theta, -(i[2] % 4) / 4.0)),
        Dtype.FLOAT32,
        operators.sectionedRopeAngles(manager.create(positions, new Shape(3, 2)), theta, sections));
  }

  // --- Images of any size

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void cutsPatchesTokenByToken(Dtype dtype) {
    Doubles pixels = random(dtype, 1, 3, 8, 12);
    // Patches of 2 x 2 pixels, 2 x 2 of them a token: 2 x 3 tokens.
    check(
        Doubles.of(
            shape(1, 24, 3 * 2 * 4),
            i -> {
              int token = i[1] / 4;
              int row = 4 * (token / 3) + 2 * (i[1] % 4 / 2) + i[2] % 4 / 2;
              int column = 4 * (token % 3) + 2 * (i[1] % 2) + i[2] % 2;
              return pixels.at(0, i[2] / 8, row, column);
            }),
        dtype,
        operators.mergedPatches(array(pixels, dtype), 2, 2, 2));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void takesRowsInAnotherOrder(Dtype dtype) {
    Doubles x = random(dtype, 4, 3);
    long[] rows = {2, 0, 3, 1, 2};

    check(
        Doubles.of(shape(5, 3), i -> x.at((int) rows[i[0]], i[1])),
        dtype,
        operators.takeRows(array(x, dtype), manager.create(rows)));
  }

  @Test
  void turnsQuartersOfAHeadByRowAndColumn() {
    long[] places = {0, 0, 3, 1, 2, 70};

    check(
        Doubles.of(
            shape(1, 3, 8),
            i -> {
              int frequency = i[2] % 4;
              return places[2 * i[1] + frequency / 2] * Math.pow(100, -(frequency % 2) / 2.0);
            }),
        Dtype.FLOAT32,
        operators.planeRopeAngles(manager.create(places, new Shape(3, 2)), 100, 8));
  }

  // --- All operators

  @Test
  void givesResultsToTheManagerOfTheFirstOperand() {
    NDArray x = manager.create(new float[] {1, 2}, new Shape(1, 2));
    NDArray weight = operators.manager().create(new float[] {3, 4}, new Shape(1, 2));

    assertThat(operators.linear(x, weight).getManager()).isSameAs(manager);
    weight.close();
  }

  @Test
  void serveSeveralThreadsAtOnce() throws Exception {
    Attention of = new Attention(Dtype.FLOAT32, 2, 8, 4, 16, 64, 16, 32);
    Operands operands = new Operands(of);
    List<float[]> results = new ArrayList<>();
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<float[]>> futures = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        futures.add(threads.submit(() -> attend(operands)));
      }
      for (Future<float[]> future : futures) {
        results.add(future.get());
      }
    } finally {
      threads.shutdownNow();
    }

    float[] alone = attend(operands);
    assertThat(results).allSatisfy(result -> assertThat(result).isEqualTo(alone));
  }

  /** One attention in a manager of its own, as a task of its own would do it. */
  private static float[] attend(Operands operands) {
    operators.enterThread();
    try (NDManager scratch = operators.manager().newSubManager()) {
      NDArray output =
          operators.sharedAttention(
              operands.query.array(operators, scratch, Dtype.FLOAT32),
              operands.prefixKey.array(operators, scratch, Dtype.FLOAT32),
              operands.prefixValue.array(operators, scratch, Dtype.FLOAT32),
              operands.ownKey.array(operators, scratch, Dtype.FLOAT32),
              operands.ownValue.array(operators, scratch, Dtype.FLOAT32),
              operators.causalMask(
                  scratch.create(
                      operands.positions, new Shape(operands.of.rows, operands.of.queries)),
                  operands.of.own,
                  Dtype.FLOAT32),
              operands.of.scale());
      return output.toFloatArray();
    }
  }

  /** Random operands, and what they must give. */
  private final class Operands {
    private final Attention of;
    private final Doubles query;
    private final Doubles prefixKey;
    private final Doubles prefixValue;
    private final Doubles ownKey;
    private final Doubles ownValue;
    private final long[] positions;

    Operands(Attention of) {
      this.of = of;
      this.query = random(of.dtype, of.rows, of.heads, of.queries, of.size);
      this.prefixKey = random(of.dtype, of.groups, of.prefix, of.size);
      this.prefixValue = random(of.dtype, of.groups, of.prefix, of.size);
      this.ownKey = random(of.dtype, of.rows, of.groups, of.own, of.size);
      this.ownValue = random(of.dtype, of.rows, of.groups, of.own, of.size);
      // Row r's queries begin at own key r, as far as there are keys.
      this.positions =
          IntStream.range(0, of.rows * of.queries)
              .mapToLong(i -> Math.min(of.own - 1, i / of.queries + i % of.queries))
              .toArray();
    }

    NDArray positions() {
      return manager.create(positions, new Shape(of.rows, of.queries));
    }

    Doubles scores() {
      return Doubles.of(
          shape(of.rows, of.heads, of.queries, of.prefix + of.own),
          i -> {
            int own = i[3] - of.prefix;
            if (own > positions[i[0] * of.queries + i[2]]) {
              return Double.NEGATIVE_INFINITY;
            }
            int group = i[1] / of.group();
            return of.scale()
                * sum(
                    of.size,
                    d ->
                        query.at(i[0], i[1], i[2], d)
                            * (own < 0
                                ? prefixKey.at(group, i[3], d)
                                : ownKey.at(i[0], group, own, d)));
          });
    }

    Doubles weights() {
      Doubles scores = scores();
      int keys = of.prefix + of.own;
      double[][] rows = new double[of.rows * of.heads * of.queries][];
      return Doubles.of(
          shape(of.rows, of.heads, of.queries, keys),
          i -> {
            int row = (i[0] * of.heads + i[1]) * of.queries + i[2];
            if (rows[row] == null) {
              rows[row] = softmax(keys, k -> scores.at(i[0], i[1], i[2], k));
            }
            return rows[row][i[3]];
          });
    }

    Doubles output() {
      Doubles weights = weights();
      return Doubles.of(
          shape(of.rows, of.heads, of.queries, of.size),
          i -> {
            int group = i[1] / of.group();
            return sum(
                    of.prefix,
                    k -> weights.at(i[0], i[1], i[2], k) * prefixValue.at(group, k, i[3]))
                + sum(
                    of.own,
                    k ->
                        weights.at(i[0], i[1], i[2], of.prefix + k)
                            * ownValue.at(i[0], group, k, i[3]));
          });
    }
  }

  private NDArray turn(Doubles x, int[] positions, int rows, Dtype dtype) {
    NDArray angles =
        operators.ropeAngles(integers(positions, rows, positions.length / rows), 10000, 8);
    return operators.rope(
        array(x, dtype), operators.to(angles.cos(), dtype), operators.to(angles.sin(), dtype));
  }

  /** Each pair (d, d + half) as a complex number times e^(i angle). */
  private static Doubles turned(Doubles x, int[] positions) {
    int tokens = x.size(2);
    int half = x.size(3) / 2;
    return Doubles.of(
        shape(x.size(0), x.size(1), tokens, 2 * half),
        i -> {
          double angle = angle(positions[i[0] * tokens + i[2]], i[3], 2 * half);
          double real = x.at(i[0], i[1], i[2], i[3] % half);
          double imaginary = x.at(i[0], i[1], i[2], i[3] % half + half);
          return i[3] < half
              ? real * Math.cos(angle) - imaginary * Math.sin(angle)
              : real * Math.sin(angle) + imaginary * Math.cos(angle);
        });
  }

  private static double angle(int position, int dimension, int headSize) {
    return position * Math.pow(10000, -2.0 * (dimension % (headSize / 2)) / headSize);
  }

  private static double rms(Doubles x, double eps, int row, int token) {
    int hidden = x.size(2);
    return Math.sqrt(sum(hidden, k -> Math.pow(x.at(row, token, k), 2)) / hidden + eps);
  }

  private static double[] softmax(int count, IntToDoubleFunction score) {
    double[] scores = IntStream.range(0, count).mapToDouble(score).toArray();
    double largest = Arrays.stream(scores).max().orElse(0);
    double[] exponentials = new double[count];
    double sum = 0;
    for (int i = 0; i < count; i++) {
      exponentials[i] = Math.exp(scores[i] - largest);
      sum += exponentials[i];
    }
    for (int i = 0; i < count; i++) {
      exponentials[i] /= sum;
    }
    return exponentials;
  }

  private static double sum(int count, IntToDoubleFunction term) {
    return IntStream.range(0, count).mapToDouble(term).sum();
  }

  private Doubles random(Dtype dtype, int... shape) {
    return Doubles.random(random, dtype, shape);
  }

  private NDArray array(Doubles doubles, Dtype dtype) {
    return doubles.array(operators, manager, dtype);
  }

  private NDArray integers(int[] values, long... shape) {
    return manager.create(IntStream.of(values).asLongStream().toArray(), new Shape(shape));
  }

  private static float[] floats(NDArray array) {
    return operators.to(array, Dtype.FLOAT32).toFloatArray();
  }

  private static void check(Doubles expected, Dtype dtype, NDArray actual) {
    expected.assertGivenBy(operators, actual, tolerance(dtype));
  }

  /** bfloat16 has 8 bits: one rounding is off by 2^-9, and a few follow each other. */
  private static double tolerance(Dtype dtype) {
    return dtype == Dtype.FLOAT32 ? 1e-5 : 0x1p-6;
  }
}
