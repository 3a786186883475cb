package io.sinklens.tensor;

import static io.sinklens.tensor.Doubles.shape;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

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
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every operator against its definition in plain Java, in both types networks compute in. */
class OperatorsTest {
  private static final List<Dtype> COMPUTED = List.of(Dtype.FLOAT32, Dtype.BFLOAT16);

  private static Operators operators;

  private NDManager manager = NDManager.newBaseManager(TestDevice.get(), "PyTorch");
  private Random random = new Random(1);

  @BeforeAll
  static void load() {
    operators = Operators.load(TestDevice.get());
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
    NDArray view = operators.viewRange(mapped, 2, 6, new Shape(2, 2));
    assertThat(view.toFloatArray()).containsExactly(2.5f, 3.5f, 4.5f, 5.5f);
    operators.putRows(view, 1, manager.create(new float[] {9, 9}, new Shape(1, 2)));

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
  void keepsRoomForNumbersOfEachType(Dtype dtype) {
    NDArray room = operators.empty(manager, new Shape(2, 3), dtype);
    assertThat(room.getShape()).isEqualTo(new Shape(2, 3));
    assertThat(room.getManager()).isSameAs(manager);

    NDArray numbers = manager.create(new float[] {1, 2, 3, 4, 5, 0x1.01p0f}, new Shape(2, 3));
    operators.putRows(room, 0, numbers);

    float rounded = dtype == Dtype.BFLOAT16 ? 1 : 0x1.01p0f;
    assertThat(floats(room)).containsExactly(1, 2, 3, 4, 5, rounded);
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
  @ValueSource(ints = {1, 2, 3, 4, 5, 8, 11, 12, 13, 63, 64, 65, 79, 80, 81, 129})
  void multipliesRowsWhateverTheirNumber(int rows) {
    for (Dtype dtype : List.of(Dtype.FLOAT32, Dtype.BFLOAT16)) {
      Doubles x = random(dtype, 1, rows, 32);
      Doubles weight = random(dtype, 5, 32);
      Doubles bias = random(dtype, 5);
      check(
          Doubles.of(
              shape(1, rows, 5),
              i -> bias.at(i[2]) + sum(32, k -> x.at(0, i[1], k) * weight.at(i[2], k))),
          dtype,
          operators.linear(array(x, dtype), array(weight, dtype), array(bias, dtype)));
    }
  }

  /** More outputs than a block has, few rows and more, and weights that are not small. */
  @ParameterizedTest
  @CsvSource({
    "1, 1023, 16",
    "4, 1025, 16",
    "5, 1024, 16",
    "5, 2500, 16",
    "17, 1030, 16",
    "3, 1100, 960"
  })
  void multipliesByLargeWeights(int rows, int outputs, int inputs) {
    for (Dtype dtype : COMPUTED) {
      Doubles x = random(dtype, rows, inputs);
      Doubles weight = // So small that sums are about 1.
          Doubles.of(
              shape(outputs, inputs),
              i -> Doubles.rounded(random.nextGaussian() / Math.sqrt(inputs), dtype));
      Doubles bias = random(dtype, outputs);
      Doubles products =
          Doubles.of(
              shape(rows, outputs), i -> sum(inputs, k -> x.at(i[0], k) * weight.at(i[1], k)));

      check(products, dtype, operators.linear(array(x, dtype), array(weight, dtype)));
      check(
          Doubles.of(shape(rows, outputs), i -> products.at(i) + bias.at(i[1])),
          dtype,
          operators.linear(array(x, dtype), array(weight, dtype), array(bias, dtype)));
    }
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

    Doubles bias = random(dtype, 5);
    Doubles products =
        Doubles.of(
            shape(2, 6, 5),
            i ->
                sum(
                    12,
                    k ->
                        pixels.at(i[0], k / 4, i[1] / 2 * 2 + k / 2 % 2, i[1] % 2 * 2 + k % 2)
                            * weight.at(i[2], k / 4, k / 2 % 2, k % 2)));

    check(products, dtype, operators.patches(array(pixels, dtype), array(weight, dtype), 2));
    check(
        Doubles.of(shape(2, 6, 5), i -> products.at(i) + bias.at(i[2])),
        dtype,
        operators.patches(array(pixels, dtype), array(weight, dtype), array(bias, dtype), 2));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void beginsEveryRowWithAToken(Dtype dtype) {
    Doubles x = random(dtype, 2, 3, 4);
    Doubles token = random(dtype, 4);

    check(
        Doubles.of(shape(2, 4, 4), i -> i[1] == 0 ? token.at(i[2]) : x.at(i[0], i[1] - 1, i[2])),
        dtype,
        operators.prependToken(array(x, dtype), array(token, dtype)));
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

  @RepeatedTest(10)
  void putsPartsBehindOneAnother(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int parts = 1 + random.nextInt(5);
    int width = 1 + random.nextInt(6);
    int[] owners = // of each row, the part
        IntStream.range(0, parts)
            .flatMap(part -> IntStream.generate(() -> part).limit(1 + random.nextInt(4)))
            .toArray();
    for (Dtype dtype : COMPUTED) {
      Doubles all = random(dtype, owners.length, width);
      List<NDArray> arrays = new ArrayList<>();
      for (int part = 0; part < parts; part++) {
        int each = part;
        int begin = (int) IntStream.of(owners).filter(owner -> owner < each).count();
        int rows = (int) IntStream.of(owners).filter(owner -> owner == each).count();
        arrays.add(array(Doubles.of(shape(rows, width), i -> all.at(begin + i[0], i[1])), dtype));
      }

      check(all, dtype, operators.concat(arrays));
    }
  }

  @RepeatedTest(10)
  void viewsAndReplacesRows(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int rows = 1 + random.nextInt(8);
    int begin = random.nextInt(rows);
    int end = begin + 1 + random.nextInt(rows - begin);
    int width = 1 + random.nextInt(5);
    for (Dtype dtype : COMPUTED) {
      Doubles before = random(dtype, rows, width, 2);
      Doubles put = random(dtype, end - begin, width, 2);
      NDArray x = array(before, dtype);
      NDArray view = operators.rows(x, begin, end);
      check(
          Doubles.of(shape(end - begin, width, 2), i -> before.at(begin + i[0], i[1], i[2])),
          dtype,
          view);

      operators.putRows(x, begin, array(put, dtype));

      check(
          Doubles.of(
              shape(rows, width, 2),
              i -> i[0] < begin || i[0] >= end ? before.at(i) : put.at(i[0] - begin, i[1], i[2])),
          dtype,
          x);
      check(put, dtype, view);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void copiesAndPrependsRows(Dtype dtype) {
    Doubles earlier = random(dtype, 4, 3);
    Doubles later = random(dtype, 2, 3);
    NDArray source = array(earlier, dtype);

    NDArray copy = operators.copyRows(source, 2);
    operators.putRows(source, 0, array(random(dtype, 4, 3), dtype));

    check(Doubles.of(shape(2, 3), earlier::at), dtype, copy);
    try (NDManager other = manager.newSubManager()) {
      NDArray x = array(later, dtype);
      x.attach(other);
      NDArray joined = operators.prepend(x, copy);
      assertThat(joined.getManager()).isSameAs(other);
      check(
          Doubles.of(shape(4, 3), i -> i[0] < 2 ? earlier.at(i) : later.at(i[0] - 2, i[1])),
          dtype,
          joined);
    }
  }

  @RepeatedTest(10)
  void findsAndSpoilsRowsThatAreNotFinite(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int rows = 1 + random.nextInt(8);
    int hidden = 1 + random.nextInt(6);
    double[] large = {-0x1p127, 0x1p127}; // Whose sums overflow.
    for (Dtype dtype : COMPUTED) {
      Doubles x = Doubles.of(shape(rows, hidden), i -> large[random.nextInt(2)]);
      Doubles spoilt = withNumbersThatAreNotFinite(x);

      assertThat(operators.finiteRows(array(x, dtype))).doesNotContain(false);
      boolean[] finite = operators.finiteRows(array(spoilt, dtype));

      assertThat(finite).hasSize(rows);
      for (int r = 0; r < rows; r++) {
        int row = r;
        assertThat(finite[r])
            .isEqualTo(
                IntStream.range(0, hidden).allMatch(d -> Double.isFinite(spoilt.at(row, d))));
      }
      int[] failed = IntStream.range(0, rows).filter(r -> !finite[r]).toArray();
      float[] marked = floats(operators.spoilRows(array(x, dtype), failed));
      for (int i = 0; i < marked.length; i++) {
        assertThat((double) marked[i])
            .isEqualTo(
                finite[i / hidden] ? (Double) x.at(i / hidden, i % hidden) : (Double) Double.NaN);
      }
    }
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

  /** Against the operators it is made of, each held against doubles elsewhere. */
  @ParameterizedTest
  @EnumSource(Activation.class)
  void addsWhatAGatedMlpMakesOfTheNorm(Activation activation) {
    for (Dtype dtype : COMPUTED) {
      NDArray x = array(random(dtype, 5, 24), dtype);
      NDArray norm = array(random(dtype, 24), dtype);
      NDArray gate = array(random(dtype, 40, 24), dtype);
      NDArray up = array(random(dtype, 40, 24), dtype);
      NDArray down = array(random(dtype, 24, 40), dtype);

      NDArray normed = operators.rmsNorm(x, norm, 1e-5);
      NDArray gated = activation.apply(operators, operators.linear(normed, gate));
      NDArray inside = gated.mul(operators.linear(normed, up));
      float[] expected = floats(operators.addLinear(x, inside, down));

      assertThat(floats(operators.addGatedMlp(x, norm, 1e-5, gate, up, down, activation)))
          .containsExactly(expected);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void addsAProduct(Dtype dtype) {
    Doubles x = random(dtype, 3, 8);
    Doubles y = random(dtype, 3, 12);
    Doubles weight = random(dtype, 8, 12);

    check(
        x.with(i -> x.at(i) + sum(12, k -> y.at(i[0], k) * weight.at(i[1], k))),
        dtype,
        operators.addLinear(array(x, dtype), array(y, dtype), array(weight, dtype)));
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

  @Test
  void turnsEachSectionOfFrequenciesByItsOwnPosition() {
    List<Integer> sections = List.of(1, 2, 1); // Head size 8.
    long[] positions = {3, 0, 7, 1, 2, 5}; // [axis, token]
    double theta = 100;
    int[] axes = {0, 1, 1, 2};

    check(
        Doubles.of(
            shape(2, 8),
            i -> positions[2 * axes[i[1] % 4] + i[0]] * Math.pow(theta, -(i[1] % 4) / 4.0)),
        Dtype.FLOAT32,
        operators.sectionedRopeAngles(manager.create(positions, new Shape(3, 2)), theta, sections));
  }

  @Test
  void turnsQuartersOfAHeadByRowAndColumn() {
    long[] places = {0, 0, 3, 1, 2, 70};

    check(
        Doubles.of(
            shape(3, 8),
            i -> {
              int frequency = i[1] % 4;
              return places[2 * i[0] + frequency / 2] * Math.pow(100, -(frequency % 2) / 2.0);
            }),
        Dtype.FLOAT32,
        operators.planeRopeAngles(manager.create(places, new Shape(3, 2)), 100, 8));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void negatesTheSineOfFirstHalves(Dtype dtype) {
    Doubles angles = random(Dtype.FLOAT32, 5, 8);

    check(
        Doubles.of(shape(5, 8), i -> (i[1] < 4 ? -1 : 1) * Math.sin(angles.at(i))),
        dtype,
        operators.ropeSin(array(angles, Dtype.FLOAT32), dtype));
  }

  @RepeatedTest(10)
  void turnsTheHalvesOfEveryHead(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int[] positions = random.ints(1 + random.nextInt(6), 0, 20).toArray();
    int heads = 1 + random.nextInt(4);
    int size = 2 * (1 + random.nextInt(8));
    for (Dtype dtype : COMPUTED) {
      Doubles x = random(dtype, positions.length, heads, size);

      check(turned(x, positions), dtype, turn(array(x, dtype), positions, size, dtype));
    }
  }

  @Test
  void turnsBfloatsInTheTypeOfTheirAngles() {
    int[] positions = {5, 9};
    Doubles x = random(Dtype.BFLOAT16, 2, 3, 8);

    check(
        turned(x, positions),
        Dtype.FLOAT32,
        turn(array(x, Dtype.BFLOAT16), positions, 8, Dtype.FLOAT32));
  }

  // --- Attention

  /** Queries that stand among others, and keys in a cache that has room for more. */
  record Attention(
      Dtype dtype, int groups, int group, int size, int before, int queries, int slots, int room) {
    static Attention random(Random random, Dtype dtype) {
      return new Attention(
          dtype,
          1 + random.nextInt(3),
          1 + random.nextInt(4),
          2 * (1 + random.nextInt(8)),
          random.nextInt(4),
          1 + random.nextInt(6),
          1 + random.nextInt(60),
          random.nextInt(6));
    }

    int heads() {
      return groups * group;
    }

    int end() {
      return before + queries;
    }

    double scale() {
      return 1 / Math.sqrt(size);
    }
  }

  @RepeatedTest(30)
  void attendsToTheKeysAMaskLeaves(RepetitionInfo repetition) {
    for (Dtype dtype : COMPUTED) {
      random = new Random(repetition.getCurrentRepetition());
      Attention of = Attention.random(random, dtype);
      Operands operands = new Operands(of, randomMask(of));

      check(operands.output(), dtype, attend(operands, operands.mask(manager), manager));
    }
  }

  @RepeatedTest(30)
  void writesTheSameAttentionOut(RepetitionInfo repetition) {
    for (Dtype dtype : COMPUTED) {
      random = new Random(100 + repetition.getCurrentRepetition());
      Attention of = Attention.random(random, dtype);
      Operands operands = new Operands(of, randomMask(of));

      NDArray scores = attentionScores(operands, operands.mask(manager));
      check(operands.scores(), dtype, scores.squeeze(0));
      NDArray weights = operators.softmax(scores);
      check(operands.weights(), dtype, weights.squeeze(0));
      check(
          operands.output(),
          dtype,
          operators.weightedValues(weights, alone(operands.values, dtype), 0));
    }
  }

  @RepeatedTest(20)
  void attendsToEveryKeyUnderAMaskOfOneElement(RepetitionInfo repetition) {
    for (Dtype dtype : COMPUTED) {
      random = new Random(200 + repetition.getCurrentRepetition());
      Attention of = Attention.random(random, dtype);
      Operands operands = new Operands(of, new boolean[of.queries][of.slots]);
      NDArray nothing = operators.to(manager.create(new float[1], new Shape(1, 1, 1)), dtype);

      check(operands.scores(), dtype, attentionScores(operands, nothing).squeeze(0));
      check(operands.output(), dtype, attend(operands, nothing, manager));
    }
  }

  @RepeatedTest(20)
  void sumsValuesUnderAnyWeights(RepetitionInfo repetition) {
    for (Dtype dtype : COMPUTED) {
      random = new Random(300 + repetition.getCurrentRepetition());
      Attention of = Attention.random(random, dtype);
      Doubles values = withRoom(of, random(dtype, of.groups, of.slots + of.room, of.size));
      Doubles weights = // Of either sign, as no softmax gives them.
          Doubles.of(
              shape(of.heads(), of.queries, of.slots),
              i -> Doubles.rounded(random.nextGaussian() / of.slots, dtype));

      check(
          weighted(of, weights, values),
          dtype,
          operators.weightedValues(alone(weights, Dtype.FLOAT32), alone(values, dtype), 0));
    }
  }

  static Stream<Attention> causalAttentions() {
    // Around a block of 128 queries, and two.
    return Stream.of(1, 2, 3, 100, 127, 128, 129, 200, 255, 256, 257, 300)
        .flatMap(
            queries ->
                Stream.of(
                    new Attention(Dtype.FLOAT32, 4, 1, 8, 0, queries, queries, 0),
                    new Attention(Dtype.FLOAT32, 2, 3, 4, 5, queries, queries, 7),
                    new Attention(Dtype.FLOAT32, 2, 2, 8, 3, queries, queries + 35, 4),
                    new Attention(Dtype.BFLOAT16, 2, 1, 8, 0, queries, queries + 130, 0),
                    new Attention(Dtype.BFLOAT16, 2, 4, 8, 2, queries, queries, 3),
                    new Attention(Dtype.BFLOAT16, 1, 2, 16, 0, queries, queries, 0)));
  }

  @ParameterizedTest
  @MethodSource("causalAttentions")
  void attendsToEarlierKeys(Attention of) {
    boolean[][] hidden = new boolean[of.queries][of.slots];
    for (int q = 0; q < of.queries; q++) {
      Arrays.fill(hidden[q], of.slots - of.queries + q + 1, of.slots, true);
    }
    Operands operands = new Operands(of, hidden);
    NDArray query = array(operands.query, of.dtype);
    NDArray keys = alone(operands.keys, of.dtype);
    NDArray values = alone(operands.values, of.dtype);

    check(
        operands.output(),
        of.dtype,
        operators.causalAttend(
            query, of.before, of.end(), keys, values, 0, of.slots - of.queries, of.scale()));
  }

  static Stream<int[]> wholeAttentions() { // Rows, heads, queries, keys, head size.
    return Stream.of(
        new int[] {1, 4, 3, 5, 8},
        new int[] {3, 8, 4, 37, 16},
        new int[] {2, 6, 2, 9, 8},
        new int[] {5, 4, 1, 20, 8},
        new int[] {1, 2, 40, 600, 16},
        new int[] {2, 4, 5, 1, 8},
        // Around a block of 256 queries, and two.
        new int[] {1, 1, 255, 255, 4},
        new int[] {2, 2, 256, 256, 4},
        new int[] {2, 1, 257, 257, 8},
        new int[] {1, 3, 300, 20, 4},
        new int[] {1, 1, 513, 513, 4});
  }

  @ParameterizedTest
  @MethodSource("wholeAttentions")
  void attendsToEveryKey(int[] sizes) {
    int keys = sizes[3];
    int size = sizes[4];
    double scale = 1 / Math.sqrt(size);
    for (Dtype dtype : COMPUTED) {
      Doubles query = random(dtype, sizes[0], sizes[1], sizes[2], size);
      Doubles key = random(dtype, sizes[0], sizes[1], keys, size);
      Doubles value = random(dtype, sizes[0], sizes[1], keys, size);

      check(
          Doubles.of(
              shape(sizes[0], sizes[1], sizes[2], size),
              i -> {
                double[] weights =
                    softmax(
                        keys,
                        t ->
                            scale
                                * sum(
                                    size,
                                    d -> query.at(i[0], i[1], i[2], d) * key.at(i[0], i[1], t, d)));
                return sum(keys, t -> weights[t] * value.at(i[0], i[1], t, i[3]));
              }),
          dtype,
          operators.attention(array(query, dtype), array(key, dtype), array(value, dtype), scale));
    }
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

  // --- Key-value cache

  @RepeatedTest(20)
  void appendsTokensToTheirSlots(RepetitionInfo repetition) {
    for (Dtype dtype : COMPUTED) {
      random = new Random(repetition.getCurrentRepetition());
      int places = 1 + random.nextInt(4);
      int heads = 1 + random.nextInt(3);
      int size = 1 + random.nextInt(8);
      int capacity = 1 + random.nextInt(6);
      List<Integer> ends = new ArrayList<>(); // Place and slot in one number, each but once.
      IntStream.range(0, places * capacity).forEach(ends::add);
      Collections.shuffle(ends, random);
      List<Integer> to = ends.subList(0, random.nextInt(places * capacity + 1)); // None, too.
      Doubles keysBefore = random(dtype, places, heads, capacity, size);
      Doubles valuesBefore = random(dtype, places, heads, capacity, size);
      Doubles newKeys = withNumbersThatAreNotFinite(random(dtype, to.size(), heads, size));
      Doubles newValues = withNumbersThatAreNotFinite(random(dtype, to.size(), heads, size));
      NDArray keys = array(keysBefore, dtype);
      NDArray values = array(valuesBefore, dtype);

      operators.cacheAppend(
          keys,
          values,
          array(newKeys, dtype),
          array(newValues, dtype),
          manager.create(to.stream().mapToLong(end -> end / capacity).toArray()),
          manager.create(to.stream().mapToLong(end -> end % capacity).toArray()));

      check(appended(keysBefore, newKeys, to), dtype, keys);
      check(appended(valuesBefore, newValues, to), dtype, values);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void copiesTheFirstSlotsIntoAnotherCache(Dtype dtype) {
    Doubles kept = random(dtype, 3, 2, 5, 4);
    Doubles before = random(dtype, 2, 2, 7, 4);
    NDArray source = array(kept, dtype);
    NDArray keys = array(before, dtype);

    NDArray slots = operators.copySlots(source, 2, 3);
    operators.putSlots(
        source, 2, operators.copySlots(array(before, dtype), 0, 5)); // Later changes.
    operators.putSlots(keys, 1, slots);

    check(Doubles.of(shape(2, 3, 4), i -> kept.at(2, i[0], i[1], i[2])), dtype, slots);
    check(
        before.with(i -> i[0] == 1 && i[2] < 3 ? kept.at(2, i[1], i[2], i[3]) : before.at(i)),
        dtype,
        keys);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void clearsSlotsOfOneImage(Dtype dtype) {
    Doubles before = Doubles.of(shape(3, 2, 5, 4), i -> Double.NaN);
    NDArray keys = array(before, dtype);

    operators.clearSlots(keys, 1, 2);

    float[] after = floats(keys);
    for (int i = 0; i < after.length; i++) {
      boolean cleared = i / (2 * 5 * 4) == 1 && i / 4 % 5 >= 2;
      assertThat(Float.compare(after[i], cleared ? 0 : Float.NaN)).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void writesNoughtForWhatIsNotFinite(Dtype dtype) {
    NDArray keys = operators.empty(manager, new Shape(1, 1, 2, 4), dtype);
    NDArray values = operators.empty(manager, new Shape(1, 1, 2, 4), dtype);
    float[] bad = {
      Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 0x1p127f, 1, 2, 3, -0x1p127f
    };
    NDArray numbers = operators.to(manager.create(bad, new Shape(2, 1, 4)), dtype);

    operators.cacheAppend(
        keys,
        values,
        numbers,
        numbers,
        manager.create(new long[2]),
        manager.create(new long[] {0, 1}));

    assertThat(floats(keys)).containsExactly(0, 0, 0, 0x1p127f, 1, 2, 3, -0x1p127f);
    assertThat(floats(values)).containsExactly(0, 0, 0, 0x1p127f, 1, 2, 3, -0x1p127f);
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

  @RepeatedTest(10)
  void putsTokensOutOfReachOfSomeRows(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int rows = 1 + random.nextInt(5);
    int vocabulary = 3 + random.nextInt(30);
    Doubles logits = random(Dtype.FLOAT32, rows, vocabulary);
    long[] bound = someOf(rows);
    long[] stops = someOf(vocabulary);
    NDArray array = array(logits, Dtype.FLOAT32);

    NDArray permitted = operators.forbid(array, manager.create(bound), manager.create(stops));

    check(
        Doubles.of(
            shape(rows, vocabulary),
            i -> holds(bound, i[0]) && holds(stops, i[1]) ? -Float.MAX_VALUE : logits.at(i)),
        Dtype.FLOAT32,
        permitted);
    check(logits, Dtype.FLOAT32, array);
  }

  // --- Sinks

  @RepeatedTest(10)
  void measuresHowFarDimensionsStandOut(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int tokens = 1 + random.nextInt(6);
    int hidden = 1 + random.nextInt(64);
    int[] dimensions = random.ints(1 + random.nextInt(3), 0, hidden).toArray();
    double eps = 0.5;
    for (Dtype dtype : COMPUTED) {
      Doubles x = random(dtype, tokens, hidden);

      check(
          Doubles.of(
              shape(tokens),
              i ->
                  IntStream.of(dimensions).mapToDouble(d -> Math.abs(x.at(i[0], d))).max().orElse(0)
                      / rms(x, eps, i[0])),
          Dtype.FLOAT32,
          operators.sinkValues(array(x, dtype), integers(dimensions, dimensions.length), eps));
    }
  }

  @Test
  void measuresLargeBfloatsInFloat32() {
    Doubles x = Doubles.of(shape(1, 1000), i -> i[1] == 7 ? 0x1p50 : 0x1p44);

    check(
        Doubles.of(shape(1), i -> 0x1p50 / rms(x, 0, 0)),
        Dtype.FLOAT32,
        operators.sinkValues(array(x, Dtype.BFLOAT16), integers(new int[] {3, 7}, 2), 1e-6));
  }

  @RepeatedTest(10)
  void measuresValuesBehindTheOutputProjection(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int keyValueHeads = 1 + random.nextInt(3);
    int group = 1 + random.nextInt(3);
    int heads = keyValueHeads * group;
    int headSize = 1 + random.nextInt(6);
    int hidden = 1 + random.nextInt(12);
    int tokens = 1 + random.nextInt(6);
    for (Dtype dtype : COMPUTED) {
      Doubles values = random(dtype, tokens, keyValueHeads, headSize);
      Doubles output = random(dtype, hidden, heads * headSize);

      check(
          Doubles.of(
              shape(heads, tokens),
              i -> {
                double squares = 0;
                for (int out = 0; out < hidden; out++) {
                  double sum = 0;
                  for (int d = 0; d < headSize; d++) {
                    sum += values.at(i[1], i[0] / group, d) * output.at(out, i[0] * headSize + d);
                  }
                  squares += sum * sum;
                }
                return Math.sqrt(squares);
              }),
          dtype,
          operators.valueNorms(array(values, dtype), array(output, dtype)));
    }
  }

  @RepeatedTest(20)
  void groupsTheKeysOfAPrefix(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int keys = 1 + random.nextInt(12);
    int choices = 1 + random.nextInt(3);
    int imageStart = random.nextInt(keys + 1);
    int capacity = keys + random.nextInt(5);
    int places = 1 + random.nextInt(3);
    int place = random.nextInt(places);
    Doubles values = Doubles.of(shape(keys), i -> random.nextInt(5)); // Some as large as the least.
    Doubles least = Doubles.of(shape(choices), i -> random.nextInt(5));
    NDArray groups = manager.full(new Shape(places, choices, 3, capacity), 7f);
    NDArray counts = manager.full(new Shape(places, choices), 7f);

    operators.keyGroups(
        array(values, Dtype.FLOAT32),
        array(least, Dtype.FLOAT32),
        imageStart,
        groups,
        counts,
        place);

    Doubles expected =
        Doubles.of(
            shape(places, choices, 3, capacity),
            i -> {
              if (i[0] != place || i[3] >= keys) {
                return i[0] == place ? 0 : 7;
              }
              boolean sink = values.at(i[3]) >= least.at(i[1]);
              boolean image = i[3] >= imageStart;
              int group = image ? (sink ? 0 : 1) : (sink ? 2 : -1);
              return i[2] == group ? 1 : 0;
            });
    check(expected, Dtype.FLOAT32, groups);
    check(
        Doubles.of(
            shape(places, choices),
            i -> i[0] == place ? sum(capacity, t -> expected.at(place, i[1], 0, t)) : 7),
        Dtype.FLOAT32,
        counts);
  }

  @RepeatedTest(20)
  void marksTextSinksAfterThePrefix(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int images = 1 + random.nextInt(3);
    int choices = 1 + random.nextInt(3);
    int capacity = 1 + random.nextInt(8);
    List<Integer> ends = new ArrayList<>(); // Place and slot in one number, each but once.
    IntStream.range(0, images * capacity).forEach(ends::add);
    Collections.shuffle(ends, random);
    List<Integer> marked = ends.subList(0, 1 + random.nextInt(images * capacity));
    Doubles before = groups(images, choices, capacity, capacity);
    Doubles values = Doubles.of(shape(marked.size()), i -> random.nextInt(5));
    Doubles least =
        Doubles.of(
            shape(marked.size()),
            i -> random.nextInt(4) == 0 ? Double.POSITIVE_INFINITY : random.nextInt(5));
    NDArray groups = array(before, Dtype.FLOAT32);

    operators.markSinks(
        groups,
        manager.create(marked.stream().mapToLong(end -> end / capacity).toArray()),
        manager.create(marked.stream().mapToLong(end -> end % capacity).toArray()),
        array(values, Dtype.FLOAT32),
        array(least, Dtype.FLOAT32));

    check(
        before.with(
            i -> {
              int token = marked.indexOf(i[0] * capacity + i[3]);
              if (i[2] != 2 || token < 0) {
                return before.at(i);
              }
              return values.at(token) >= least.at(token) ? 1 : 0;
            }),
        Dtype.FLOAT32,
        groups);
  }

  @Test
  void marksNoTokenWhoseValueIsNotANumber() {
    NDArray groups = manager.ones(new Shape(1, 1, 3, 2));

    operators.markSinks(
        groups,
        manager.create(new long[] {0}),
        manager.create(new long[] {1}),
        manager.create(new float[] {Float.NaN}),
        manager.create(new float[] {Float.NEGATIVE_INFINITY}));

    assertThat(groups.toFloatArray()).containsExactly(1, 1, 1, 1, 1, 0);
  }

  // --- Interventions

  /** Weights on the first keys of a cache, some of them 0, and the groups those keys are in. */
  private final class Weighed {
    private final int images;
    private final int place = random.nextInt(3);
    private final int heads = 1 + random.nextInt(4);
    private final int queries = 1 + random.nextInt(5);
    private final int keys = 1 + random.nextInt(20);
    private final Doubles weights;
    private final Doubles groups; // [place, choice, group, slot]
    private final int[] choice; // image · query

    Weighed(int images, int choices) {
      this.images = images;
      weights =
          Doubles.of(
              shape(images, heads, queries, keys),
              i -> random.nextInt(4) == 0 ? 0 : (float) (random.nextDouble() / keys));
      groups = groups(place + images + 1, choices, keys, keys + random.nextInt(4));
      choice = random.ints((long) images * queries, 0, choices).toArray();
    }

    double group(int image, int query, int group, int slot) {
      return groups.at(place + image, choice[image * queries + query], group, slot);
    }

    Doubles sums() {
      return Doubles.of(
          shape(images, heads, queries, 3),
          i -> sum(keys, t -> weights.at(i[0], i[1], i[2], t) * group(i[0], i[2], i[3], t)));
    }

    NDArray weightsArray() {
      return array(weights, Dtype.FLOAT32);
    }

    NDArray groupsArray() {
      return array(groups, Dtype.FLOAT32);
    }

    NDArray choiceArray() {
      return integers(choice, images, queries);
    }
  }

  @RepeatedTest(30)
  void addsAttentionUpByGroupOfKeys(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1 + random.nextInt(3), 1 + repetition.getCurrentRepetition() % 3);

    check(
        of.sums(),
        Dtype.FLOAT32,
        operators.groupSums(of.weightsArray(), of.groupsArray(), of.place, of.choiceArray()));
  }

  @RepeatedTest(50)
  void choosesHeadsByTheSettingsOfEveryRow(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int images = 1 + random.nextInt(3);
    int heads = 1 + random.nextInt(5);
    int queries = 1 + random.nextInt(5);
    int choices = 1 + random.nextInt(3);
    int place = random.nextInt(3);
    Doubles sums =
        Doubles.of(
            shape(images, heads, queries, 3),
            i -> random.nextInt(6) == 0 ? 0 : (float) (random.nextDouble() / 2));
    boolean references = random.nextBoolean();
    Doubles settings = // The epsilon large, so that it shows.
        Doubles.of(
            shape(images, queries, 6),
            i ->
                switch (i[2]) {
                  case 0 -> references ? random.nextInt(2) : 0;
                  case 4 -> random.nextInt(2);
                  case 5 -> 0.2f;
                  default -> (float) random.nextDouble();
                });
    Doubles visualSinks = Doubles.of(shape(place + images, choices), i -> random.nextInt(2));
    int[] choice = random.ints((long) images * queries, 0, choices).toArray();

    float[] selected =
        operators
            .selectHeads(
                array(sums, Dtype.FLOAT32),
                array(settings, Dtype.FLOAT32),
                references ? 1 : 0,
                array(visualSinks, Dtype.FLOAT32),
                place,
                integers(choice, images, queries))
            .toFloatArray();

    for (int i = 0; i < images * heads * queries; i++) {
      int image = i / (heads * queries);
      int h = i / queries % heads;
      int q = i % queries;
      double sinks = sums.at(image, h, q, 0);
      double nonsinks = sums.at(image, h, q, 1);
      double attention = sinks + nonsinks;
      double margin =
          settings.at(image, q, 0) > 0
              ? settings.at(image, q, 2) - sinks / (attention + 0.2)
              : nonsinks - settings.at(image, q, 1) * attention;
      double imageMargin = attention - settings.at(image, q, 3);
      if (nonsinks > 0 && (Math.abs(margin) < 1e-5 || Math.abs(imageMargin) < 1e-5)) {
        continue; // Rounding may decide either way.
      }
      boolean expected =
          nonsinks > 0
              && margin >= 0
              && imageMargin >= 0
              && (visualSinks.at(place + image, choice[image * queries + q]) > 0
                  || settings.at(image, q, 4) > 0);
      assertThat(selected[i])
          .as("head %d of query %d on image %d", h, q, image)
          .isEqualTo(expected ? 1f : 0f);
    }
  }

  @RepeatedTest(50)
  void movesAShareOfEverySinksAttentionToTheImage(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1 + random.nextInt(3), 1 + repetition.getCurrentRepetition() % 3);
    Doubles sums = of.sums();
    Doubles selected =
        Doubles.of(
            shape(of.images, of.heads, of.queries),
            i -> sums.at(i[0], i[1], i[2], 1) > 0 && random.nextBoolean() ? 1 : 0);
    Doubles share =
        Doubles.of(
            shape(of.images, of.queries),
            i -> random.nextInt(4) == 0 ? random.nextInt(2) : random.nextFloat());

    NDArray moved =
        operators.redistribute(
            of.weightsArray(),
            array(sums, Dtype.FLOAT32),
            of.groupsArray(),
            of.place,
            of.choiceArray(),
            array(selected, Dtype.FLOAT32),
            array(share, Dtype.FLOAT32));

    check(
        of.weights.with(
            i -> {
              double weight = of.weights.at(i);
              double taken = selected.at(i[0], i[1], i[2]) * share.at(i[0], i[2]);
              if (taken == 0) {
                return weight;
              }
              double budget = taken * (sums.at(i[0], i[1], i[2], 0) + sums.at(i[0], i[1], i[2], 2));
              if (of.group(i[0], i[2], 0, i[3]) + of.group(i[0], i[2], 2, i[3]) > 0) {
                return weight * (1 - taken);
              }
              return of.group(i[0], i[2], 1, i[3]) > 0
                  ? weight + budget * weight / sums.at(i[0], i[1], i[2], 1)
                  : weight;
            }),
        Dtype.FLOAT32,
        moved);
    float[] before = of.weightsArray().toFloatArray();
    float[] after = moved.toFloatArray();
    for (int i = 0; i < of.images * of.heads * of.queries; i++) {
      int image = i / (of.heads * of.queries);
      int query = i % of.queries;
      if (selected.at(image, i / of.queries % of.heads, query) * share.at(image, query) == 0) {
        assertThat(Arrays.copyOfRange(after, i * of.keys, (i + 1) * of.keys))
            .isEqualTo(Arrays.copyOfRange(before, i * of.keys, (i + 1) * of.keys));
      }
    }
  }

  @RepeatedTest(30)
  void hidesKeysAsIfTheyWereNotThere(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1, 1);
    int prefix = 1 + random.nextInt(of.keys);
    int rows = 1 + random.nextInt(3);
    Doubles kept = Doubles.of(shape(rows, prefix), i -> i[0] > 0 && random.nextInt(3) == 0 ? 0 : 1);
    int[] ofQueries = random.ints(of.queries, 0, rows).toArray();

    NDArray left =
        operators.knockOut(
            of.weightsArray().squeeze(0),
            array(kept, Dtype.FLOAT32),
            integers(ofQueries, of.queries));

    Doubles factors =
        Doubles.of(
            shape(of.queries, of.keys), i -> i[1] < prefix ? kept.at(ofQueries[i[0]], i[1]) : 1);
    check(
        Doubles.of(
            shape(of.heads, of.queries, of.keys),
            i -> {
              int query = i[1];
              if (sum(of.keys, t -> 1 - factors.at(query, t)) == 0) {
                return of.weights.at(0, i[0], i[1], i[2]);
              }
              double sum =
                  sum(of.keys, t -> of.weights.at(0, i[0], query, t) * factors.at(query, t));
              return sum == 0
                  ? 0
                  : of.weights.at(0, i[0], i[1], i[2]) * factors.at(query, i[2]) / sum;
            }),
        Dtype.FLOAT32,
        left);
    float[] before = of.weightsArray().toFloatArray();
    float[] after = left.toFloatArray();
    for (int i = 0; i < before.length; i++) {
      if (ofQueries[i / of.keys % of.queries] == 0) { // Keeps everything.
        assertThat(after[i]).isEqualTo(before[i]);
      }
    }
  }

  @RepeatedTest(10)
  void averagesSomeQueriesOverHeads(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1, 1);
    int[] queries = random.ints(1 + random.nextInt(4), 0, of.queries).toArray();
    int begin = random.nextInt(of.keys);
    int end = begin + 1 + random.nextInt(of.keys - begin);

    check(
        Doubles.of(
            shape(queries.length, end - begin),
            i -> sum(of.heads, h -> of.weights.at(0, h, queries[i[0]], begin + i[1])) / of.heads),
        Dtype.FLOAT32,
        operators.meanOverHeads(
            of.weightsArray().squeeze(0), integers(queries, queries.length), begin, end));
  }

  @RepeatedTest(10)
  void scalesTheKeysOfAPrefixByHead(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1, 1);
    int prefix = 1 + random.nextInt(of.keys);
    Doubles factors = random(Dtype.FLOAT32, of.heads, prefix);

    check(
        Doubles.of(
            shape(of.heads, of.queries, prefix),
            i -> of.weights.at(0, i[0], i[1], i[2]) * factors.at(i[0], i[2])),
        Dtype.FLOAT32,
        operators.scaleKeys(of.weightsArray().squeeze(0), array(factors, Dtype.FLOAT32)));
  }

  @RepeatedTest(10)
  void notesSumsAndSelectionOfSomeQueries(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    int heads = 1 + random.nextInt(4);
    int queries = 1 + random.nextInt(5);
    int images = 1 + random.nextInt(3);
    Doubles sums = random(Dtype.FLOAT32, images, heads, queries, 3);
    Doubles selected = Doubles.of(shape(images, heads, queries), i -> random.nextInt(2));
    int[] noted = random.ints(1 + random.nextInt(4), 0, images * queries).toArray();

    check(
        Doubles.of(
            shape(noted.length, heads, 4),
            i -> {
              int image = noted[i[0]] / queries;
              int query = noted[i[0]] % queries;
              return i[2] == 3
                  ? selected.at(image, i[1], query)
                  : sums.at(image, i[1], query, i[2]);
            }),
        Dtype.FLOAT32,
        operators.noteQueries(
            array(sums, Dtype.FLOAT32),
            array(selected, Dtype.FLOAT32),
            integers(noted, noted.length)));
  }

  @RepeatedTest(10)
  void keepsAFailedQueryToItself(RepetitionInfo repetition) {
    random = new Random(repetition.getCurrentRepetition());
    Weighed of = new Weighed(1 + random.nextInt(3), 1 + repetition.getCurrentRepetition() % 2);
    int failed = random.nextInt(of.images * of.queries);
    NDArray spoilt =
        array(
            of.weights.with(
                i -> i[0] * of.queries + i[2] == failed ? Double.NaN : of.weights.at(i)),
            Dtype.FLOAT32);
    NDArray selected = manager.ones(new Shape(of.images, of.heads, of.queries));
    NDArray share = manager.ones(new Shape(of.images, of.queries));
    NDArray kept = array(Doubles.of(shape(1, of.keys), i -> random.nextInt(2)), Dtype.FLOAT32);
    NDArray rows = integers(new int[of.queries], of.queries);
    List<List<NDArray>> results = new ArrayList<>();
    for (NDArray weights : List.of(of.weightsArray(), spoilt)) {
      NDArray groups = of.groupsArray();
      NDArray sums = operators.groupSums(weights, groups, of.place, of.choiceArray());
      results.add(
          List.of(
              sums,
              operators.redistribute(
                  weights, sums, groups, of.place, of.choiceArray(), selected, share),
              operators.knockOut(weights.get(failed / of.queries), kept, rows)));
    }

    for (int operator = 0; operator < 3; operator++) {
      NDArray healthy = results.get(0).get(operator);
      int width = (int) healthy.getShape().get(healthy.getShape().dimension() - 1);
      float[] expected = healthy.toFloatArray();
      float[] actual = results.get(1).get(operator).toFloatArray();
      for (int i = 0; i < expected.length; i++) {
        int image = operator == 2 ? failed / of.queries : i / width / of.queries / of.heads;
        if (image * of.queries + i / width % of.queries == failed) {
          assertThat(actual[i]).isNaN();
        } else {
          assertThat(actual[i]).isEqualTo(expected[i]);
        }
      }
    }
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
    Attention of = new Attention(Dtype.FLOAT32, 4, 2, 32, 0, 16, 80, 0);
    Operands operands = new Operands(of, randomMask(of));
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
      return attend(operands, operands.mask(scratch), scratch).toFloatArray();
    }
  }

  private static NDArray attend(Operands operands, NDArray mask, NDManager owner) {
    Attention of = operands.of;
    return operators.attend(
        operands.query.array(operators, owner, of.dtype),
        of.before,
        of.end(),
        operands.keys.array(operators, owner, of.dtype).expandDims(0),
        operands.values.array(operators, owner, of.dtype).expandDims(0),
        0,
        1,
        of.slots,
        mask,
        of.scale());
  }

  private NDArray attentionScores(Operands operands, NDArray mask) {
    Attention of = operands.of;
    return operators.attentionScores(
        array(operands.query, of.dtype),
        of.before,
        of.end(),
        alone(operands.keys, of.dtype),
        0,
        1,
        of.slots,
        mask,
        of.scale());
  }

  /** Random operands, and what they must give; what must not be read is no number. */
  private final class Operands {
    private final Attention of;
    private final boolean[][] hidden; // [query][slot]
    private final Doubles query;
    private final Doubles keys;
    private final Doubles values;

    Operands(Attention of, boolean[][] hidden) {
      this.of = of;
      this.hidden = hidden;
      Doubles queries = random(of.dtype, of.queries, of.heads(), of.size);
      query =
          Doubles.of(
              shape(of.end() + 2, of.heads(), of.size),
              i ->
                  i[0] < of.before || i[0] >= of.end()
                      ? Double.NaN
                      : queries.at(i[0] - of.before, i[1], i[2]));
      keys = withRoom(of, random(of.dtype, of.groups, of.slots + of.room, of.size));
      values = withRoom(of, random(of.dtype, of.groups, of.slots + of.room, of.size));
    }

    NDArray mask(NDManager owner) {
      return Doubles.of(
              shape(1, of.queries, of.slots),
              i -> hidden[i[1]][i[2]] ? Double.NEGATIVE_INFINITY : 0)
          .array(operators, owner, of.dtype);
    }

    Doubles scores() {
      return Doubles.of(
          shape(of.heads(), of.queries, of.slots),
          i ->
              hidden[i[1]][i[2]]
                  ? Double.NEGATIVE_INFINITY
                  : of.scale()
                      * sum(
                          of.size,
                          d ->
                              query.at(of.before + i[1], i[0], d)
                                  * keys.at(i[0] / of.group, i[2], d)));
    }

    Doubles weights() {
      Doubles scores = scores();
      double[][] ofQueries = new double[of.heads() * of.queries][];
      return Doubles.of(
          shape(of.heads(), of.queries, of.slots),
          i -> {
            int query = i[0] * of.queries + i[1];
            if (ofQueries[query] == null) {
              ofQueries[query] = softmax(of.slots, t -> scores.at(i[0], i[1], t));
            }
            return ofQueries[query][i[2]];
          });
    }

    Doubles output() {
      return weighted(of, weights(), values);
    }
  }

  private static Doubles weighted(Attention of, Doubles weights, Doubles values) {
    return Doubles.of(
        shape(of.queries, of.heads() * of.size),
        i -> {
          int head = i[1] / of.size;
          return sum(
              of.slots,
              t -> weights.at(head, i[0], t) * values.at(head / of.group, t, i[1] % of.size));
        });
  }

  private static Doubles withRoom(Attention of, Doubles cache) {
    return Doubles.of(
        shape(of.groups, of.slots + of.room, of.size),
        i -> i[1] < of.slots ? cache.at(i) : Double.NaN);
  }

  /** Every query sees some keys, and at least one. */
  private boolean[][] randomMask(Attention of) {
    boolean[][] hidden = new boolean[of.queries][of.slots];
    for (boolean[] ofQuery : hidden) {
      for (int slot = 0; slot < of.slots; slot++) {
        ofQuery[slot] = random.nextInt(3) == 0;
      }
      ofQuery[random.nextInt(of.slots)] = false;
    }
    return hidden;
  }

  /** A cache after tokens went in. */
  private static Doubles appended(Doubles before, Doubles tokens, List<Integer> to) {
    return before.with(
        i -> {
          int token = to.indexOf(i[0] * before.size(2) + i[2]);
          double number = token < 0 ? before.at(i) : tokens.at(token, i[1], i[3]);
          return token < 0 || Double.isFinite(number) ? number : 0;
        });
  }

  private Doubles withNumbersThatAreNotFinite(Doubles x) {
    double[] bad = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};
    return x.with(i -> random.nextInt(8) == 0 ? bad[random.nextInt(3)] : x.at(i));
  }

  /** Each key in one of three groups or in none; beyond the last no numbers. */
  private Doubles groups(int places, int choices, int keys, int capacity) {
    int[][] group = new int[places * choices][keys];
    for (int[] ofChoice : group) {
      Arrays.setAll(ofChoice, key -> random.nextInt(4));
    }
    return Doubles.of(
        shape(places, choices, 3, capacity),
        i -> i[3] < keys ? (group[i[0] * choices + i[1]][i[3]] == i[2] ? 1 : 0) : Double.NaN);
  }

  /** As the only image. */
  private NDArray alone(Doubles x, Dtype dtype) {
    return array(x, dtype).expandDims(0);
  }

  /** At least one of so many indices, rising. */
  private long[] someOf(int count) {
    long one = random.nextInt(count);
    return LongStream.range(0, count).filter(i -> i == one || random.nextBoolean()).toArray();
  }

  private static boolean holds(long[] indices, long index) {
    return LongStream.of(indices).anyMatch(each -> each == index);
  }

  private NDArray turn(NDArray x, int[] positions, int headSize, Dtype dtype) {
    NDArray angles = operators.ropeAngles(integers(positions, positions.length), 10000, headSize);
    return operators.rope(x, operators.to(angles.cos(), dtype), operators.ropeSin(angles, dtype));
  }

  /** Each pair (d, d + half) as a complex number times e^(i angle). */
  private static Doubles turned(Doubles x, int[] positions) {
    int half = x.size(2) / 2;
    return Doubles.of(
        shape(x.size(0), x.size(1), 2 * half),
        i -> {
          double angle = angle(positions[i[0]], i[2], 2 * half);
          double real = x.at(i[0], i[1], i[2] % half);
          double imaginary = x.at(i[0], i[1], i[2] % half + half);
          return i[2] < half
              ? real * Math.cos(angle) - imaginary * Math.sin(angle)
              : real * Math.sin(angle) + imaginary * Math.cos(angle);
        });
  }

  private static double angle(int position, int dimension, int headSize) {
    return position * Math.pow(10000, -2.0 * (dimension % (headSize / 2)) / headSize);
  }

  private static double rms(Doubles x, double eps, int... token) {
    int hidden = x.size(token.length);
    int[] indices = Arrays.copyOf(token, token.length + 1);
    double squares = 0;
    for (int k = 0; k < hidden; k++) {
      indices[token.length] = k;
      squares += Math.pow(x.at(indices), 2);
    }
    return Math.sqrt(squares / hidden + eps);
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
