package io.sinklens.job;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.engine.EngineException;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.ProbedAnnotator;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.preprocessing.HostileImages;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What bad rows and bad checkpoints get from a whole run with a real, tiny model. */
class HostileInputTest {
  private static final StructType IMAGE =
      new StructType().add("bytes", DataTypes.BinaryType).add("path", DataTypes.StringType);
  private static final StructType INPUT =
      new StructType()
          .add("id", DataTypes.StringType)
          .add("image", DataTypes.createArrayType(IMAGE))
          .add("question", DataTypes.StringType);

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private final Map<String, byte[]> seeds = HostileImages.seeds();
  private final List<Row> rows = new ArrayList<>();
  private TinyCheckpoint checkpoint;

  @BeforeEach
  void copyTheCheckpoint() throws IOException {
    Files.createDirectories(folder.resolve("images/deep"));
    Files.createDirectories(folder.resolve("model"));
    checkpoint = TinyCheckpoint.copyTo(folder.resolve("model"));
  }

  @Test
  void failsEachBadRowWithItsKindAndReasonAndAnswersTheOthers() throws IOException {
    byte[] png = seed("rgb.png");
    bytes("good", png);
    bytes("good jpeg", seed("baseline.jpg"));
    bytes("truncated", Arrays.copyOf(png, png.length / 2));
    bytes("empty", new byte[0]);
    bytes("html", "<html>404</html>".getBytes(UTF_8));
    bytes("heif", "\0\0\0\u0018ftypheic".getBytes(UTF_8));
    bytes("too large", corpus("png that inflates to 400 million pixels"));
    add("no question", null, image(png, null));
    add("blank question", " \n", image(png, null));
    add("long question", "Why? ".repeat(300), image(png, null));
    add("several images", "Why?", image(png, null), image(png, null));
    add("no image", "Why?");

    Files.write(folder.resolve("images/deep/photo.jpg"), png);
    Files.write(folder.resolve("secret.png"), png);
    Files.createSymbolicLink(folder.resolve("images/out.png"), folder.resolve("secret.png"));
    Files.createSymbolicLink(folder.resolve("images/outside"), folder);
    path("file of a wrong name", "deep/photo.jpg");
    path("file not there", "deep/absent.jpg");
    path("above", "../secret.png");
    path("above in between", "deep/../../secret.png");
    path("absolute", folder.resolve("secret.png").toString());
    path("file uri", "file://" + folder.resolve("secret.png"));
    path("http", "http://localhost/secret.png");
    path("jar", "jar:file:/x.jar!/secret.png");
    path("percent encoded", "%2e%2e/secret.png");
    path("backslashes", "..\\secret.png");
    path("nul", "deep/photo.jpg\0.png");
    path("link", "out.png");
    path("through a link", "outside/secret.png");
    path("very long", "x".repeat(5000));

    AnnotateJob.Result result = run("input.images=" + folder.resolve("images"));

    assertThat(result.answered() + result.failed()).isEqualTo(rows.size());
    String forbidden = " must be relative to input.images, without ..";
    assertThat(outcomes())
        .containsExactlyInAnyOrder(
            "good: answered",
            "good jpeg: answered",
            "file of a wrong name: answered",
            "truncated: IMAGE_UNREADABLE Cannot decode the image: PNG: Unexpected end of ZLIB input"
                + " stream",
            "empty: IMAGE_UNREADABLE Cannot decode the image: it is empty",
            "html: IMAGE_UNREADABLE Cannot decode the image: not an image: starts with"
                + " \"<html>404</html>\"",
            "heif: IMAGE_UNREADABLE Cannot decode the image: not an image: starts with"
                + " 000000186674797068656963",
            "too large: IMAGE_TOO_LARGE Cannot decode the image: 20000 x 20000 pixels are more than"
                + " the maximum of 100000",
            "no question: QUESTION_MISSING Cannot ask: the question is null",
            "blank question: QUESTION_MISSING Cannot ask: the question is blank",
            "long question: PROMPT_TOO_LONG Cannot fit the prompt: 1251 tokens and up to 2 new ones"
                + " exceed the context of 512",
            "several images: UNSUPPORTED_INPUT The row has 2 images, not one",
            "no image: IMAGE_MISSING The row has no image",
            "file not there: IMAGE_MISSING There is no image file deep/absent.jpg",
            "percent encoded: IMAGE_MISSING There is no image file %2e%2e/secret.png",
            "above: IMAGE_FORBIDDEN Image path ../secret.png" + forbidden,
            "above in between: IMAGE_FORBIDDEN Image path deep/../../secret.png" + forbidden,
            "absolute: IMAGE_FORBIDDEN Image path " + folder.resolve("secret.png") + forbidden,
            "file uri: IMAGE_FORBIDDEN Image path file://"
                + folder.resolve("secret.png")
                + forbidden,
            "http: IMAGE_FORBIDDEN Image path http://localhost/secret.png" + forbidden,
            "jar: IMAGE_FORBIDDEN Image path jar:file:/x.jar!/secret.png" + forbidden,
            "backslashes: IMAGE_FORBIDDEN Image path ..\\secret.png" + forbidden,
            "nul: IMAGE_FORBIDDEN Image path deep/photo.jpg?.png must not hold control characters",
            "link: IMAGE_FORBIDDEN Image path out.png is a link to outside input.images",
            "through a link: IMAGE_FORBIDDEN Image path outside/secret.png is a link to outside"
                + " input.images",
            "very long: IMAGE_UNREADABLE Cannot read image file "
                + "x".repeat(200)
                + "...: FileSystemException");
  }

  @Test
  void accountsForEveryRowOfAHostileDataset() {
    HostileImages.corpus()
        .forEach(
            (name, file) -> {
              if (file.length < 100_000) {
                bytes(name, file);
              }
            });
    seeds.forEach(
        (name, file) -> {
          bytes(name, file);
          bytes(name + " cut", Arrays.copyOf(file, file.length / 3));
        });

    AnnotateJob.Result result = run();

    assertThat(result.answered() + result.failed()).isEqualTo(rows.size()).isGreaterThan(150);
    assertThat(result.failures())
        .containsOnlyKeys("IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")
        .allSatisfy((kind, count) -> assertThat(count).isGreaterThan(5));
    assertThat(outcomes())
        .hasSameSizeAs(rows)
        .contains("rgb.png: answered", "lossy.webp: answered");
    assertThat(folder.resolve("out/_SUCCESS")).exists();
  }

  @Test
  void failsRowsThatDoNotFitIntoMemory() {
    bytes("webp", corpus("webp of 16383 x 16383 lossy"));
    bytes("good", seed("rgb.png"));

    run("run.max-image-pixels=300000000");

    assertThat(outcomes())
        .contains("good: answered")
        .anyMatch(
            outcome ->
                outcome.matches(
                    "webp: OUT_OF_MEMORY Cannot decode the image: 16383 x 16383 pixels take"
                        + " [0-9]+ MiB, and the heap has [0-9]+"));
  }

  @Test
  void failsRowsWhoseLogitsAreNotFinite() throws IOException {
    checkpoint.filled("language_model.lm_head.weight", Float.NaN);
    bytes("row", seed("rgb.png"));

    run();

    assertThat(outcomes())
        .containsExactly(
            "row: NUMERIC_FAILURE Model gave logits that are not finite for answer token 0");
  }

  @Test
  void failsOnlyRowsWhoseOwnLogitsAreNotFinite() throws IOException, RowFailedException {
    List<String> questions = List.of("Why?", "How many?", "Quiz!", "What is it?");
    questions.forEach(question -> add(question, question, image(seed("rgb.png"), null)));
    bytes("beside", seed("baseline.jpg"));
    String[] variants = {
      "model.path=" + folder.resolve("model"),
      "variants=[{name: plain, hook: none}, {name: seen, hook: observe, sink-dimensions: [1, 2]}]",
      "generation.max-new-tokens=8"
    };
    run(variants);
    List<String> sound = answers();
    TinyCheckpoint.copyTo(Files.createDirectory(folder.resolve("spoilt")))
        .rowFilled(
            "language_model.model.embed_tokens.weight", tokenOnlyIn("Quiz!", questions), Float.NaN);
    variants[0] = "model.path=" + folder.resolve("spoilt");

    AnnotateJob.Result result = restart(new LoadModel(), variants);

    assertThat(result.failures()).containsExactly(Map.entry("NUMERIC_FAILURE", 2L));
    assertThat(result.answered()).isEqualTo(2L * rows.size() - 2);
    assertThat(answers())
        .hasSameSizeAs(sound)
        .filteredOn(row -> !row.startsWith("Quiz!"))
        .containsExactlyElementsOf(sound.stream().filter(row -> !row.startsWith("Quiz!")).toList());
  }

  /**
   * A real model that has room for passes of so many tokens.
   *
   * @param passTokens more are refused, as torch does where memory does not suffice
   */
  private record LittleRoom(int passTokens) implements AnnotatorFactory {
    private static final AtomicInteger REFUSED = new AtomicInteger();

    @Override
    public Annotator open(RunSettings settings) {
      return ProbedAnnotator.load(
          settings,
          tokens -> {
            if (tokens > passTokens) {
              REFUSED.incrementAndGet();
              throw new EngineException("[enforce fail] DefaultCPUAllocator: not enough memory");
            }
          });
    }
  }

  @Test
  void failsOnlyRowsThatTheEngineHasNoRoomForAlone() {
    for (String question : List.of("Why?", "How many?", "What?", "Who is it?", "Where?")) {
      add(question, question, image(seed("rgb.png"), null));
      add("grey " + question, question, image(seed("baseline.jpg"), null));
    }
    add("long", "Why? ".repeat(60), image(seed("rgb.png"), null));
    run("generation.max-new-tokens=8");
    List<String> sound = answers();
    LittleRoom.REFUSED.set(0);

    AnnotateJob.Result result = restart(new LittleRoom(100), "generation.max-new-tokens=8");

    assertThat(LittleRoom.REFUSED.get()).isGreaterThan(2); // Together, by halves, alone.
    assertThat(result.failures()).containsExactly(Map.entry("OUT_OF_MEMORY", 1L));
    assertThat(result.answered()).isEqualTo(rows.size() - 1);
    assertThat(outcomes())
        .contains(
            "long: OUT_OF_MEMORY Cannot run the row even alone: [enforce fail]"
                + " DefaultCPUAllocator: not enough memory");
    assertThat(answers())
        .hasSameSizeAs(sound)
        .filteredOn(row -> !row.startsWith("long"))
        .containsExactlyElementsOf(sound.stream().filter(row -> !row.startsWith("long")).toList());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          config.json | {} | config.json
          config.json | {"model_type": "llava", "quantization_config": {}} | quantised weights
          adapter_config.json | {} | it holds an adapter beside its weights
          tokenizer.json | [ | tokenizer.json: its JSON is malformed
          """)
  void stopsBeforeAnyWorkOnABadCheckpoint(String file, String content, String reason)
      throws IOException {
    bytes("row", seed("rgb.png"));
    Files.writeString(folder.resolve("model").resolve(file), content);

    assertStops(reason);
  }

  @Test
  void stopsBeforeAnyWorkOnWeightsThatAreCutShortOrCode() throws IOException {
    bytes("row", seed("rgb.png"));
    Path weights = folder.resolve("model/model.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
      file.setLength(file.length() - 1);
    }
    assertStops("is it truncated?");

    Files.delete(weights);
    Files.writeString(folder.resolve("model/pytorch_model.bin"), "cos\nsystem\n(S'exit'\ntR.");
    assertStops("pytorch_model.bin");
  }

  private void assertStops(String reason) {
    assertThatThrownBy(this::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason)
        .hasMessageNotContaining("\n");
    assertThat(folder.resolve("out")).doesNotExist();
  }

  private byte[] seed(String name) {
    return requireNonNull(seeds.get(name), name);
  }

  private static byte[] corpus(String name) {
    return requireNonNull(HostileImages.corpus().get(name), name);
  }

  private void bytes(String id, byte[] file) {
    add(id, "Why?", image(file, null));
  }

  private void path(String id, String path) {
    add(id, "Why?", image(null, path));
  }

  private static Row image(byte @Nullable [] file, @Nullable String path) {
    return RowFactory.create(file, path);
  }

  private void add(String id, @Nullable String question, Row... images) {
    rows.add(RowFactory.create(id, images, question));
  }

  private AnnotateJob.Result run(String... overlays) {
    return run(AnnotateJob.Settings.of(settings(overlays)), new LoadModel());
  }

  private AnnotateJob.Result restart(AnnotatorFactory factory, String... overlays) {
    return run(
        new AnnotateJob.Settings(settings(overlays), null, AnnotateJob.Restart.FROM_SCRATCH, null),
        factory);
  }

  private AnnotateJob.Result run(AnnotateJob.Settings settings, AnnotatorFactory factory) {
    return new AnnotateJob(settings, factory, JobProgress.NONE).run(spark);
  }

  private RunSettings settings(String... overlays) {
    String input = folder.resolve("input").toString();
    spark.createDataFrame(rows, INPUT).coalesce(1).write().mode("overwrite").parquet(input);
    List<String> all = new ArrayList<>();
    all.add("input.path=" + input);
    all.add("input.columns={id: id, answers: null}");
    all.add("output.path=" + folder.resolve("out"));
    all.add("model.path=" + folder.resolve("model"));
    all.add("model.dtype=float32");
    all.add("generation.max-new-tokens=2");
    all.add("variants=[{name: plain, hook: none}]");
    all.add("statistics.level=none");
    all.add("run.max-image-pixels=100000");
    all.addAll(Arrays.asList(overlays));
    return JobFile.parse("", all);
  }

  /** Id, variant and answer of every row, in order, as they stand in the output. */
  private List<String> answers() {
    return spark
        .read()
        .parquet(folder.resolve("out/annotations").toString())
        .orderBy("sample_id", "variant")
        .selectExpr(
            "concat_ws(' ', sample_id, variant, status, answer, to_json(answer_token_ids),"
                + " finish_reason)")
        .as(Encoders.STRING())
        .collectAsList();
  }

  /** Every row's status, kind and reason, as they stand in the output. */
  private List<String> outcomes() {
    return spark
        .read()
        .parquet(folder.resolve("out/annotations").toString())
        .select(
            functions.concat_ws(
                ": ",
                functions.col("sample_id"),
                functions.concat_ws(
                    " ",
                    functions.when(functions.col("status").equalTo("answered"), "answered"),
                    functions.col("failure.kind"),
                    functions.col("failure.message"))))
        .collectAsList()
        .stream()
        .map(row -> row.getString(0))
        .toList();
  }

  /** A token of a question's prompt that is in no other's, and that no row was answered with. */
  private int tokenOnlyIn(String question, List<String> questions) throws RowFailedException {
    Set<Integer> tokens = new TreeSet<>();
    Set<Integer> others = new TreeSet<>();
    try (ModelAnnotator annotator = ModelAnnotator.load(settings().annotator())) {
      for (String each : questions) {
        (each.equals(question) ? tokens : others)
            .addAll(annotator.ask(seed("rgb.png"), each, null).promptTokenIds());
      }
    }
    others.addAll(
        spark
            .read()
            .parquet(folder.resolve("out/annotations").toString())
            .selectExpr("explode(answer_token_ids)")
            .as(Encoders.INT())
            .collectAsList());
    tokens.removeAll(others);
    return tokens.iterator().next();
  }
}
