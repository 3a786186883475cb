package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.dataset.Question;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.ModelAnnotator;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.TaskContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole jobs on a cluster of several processes, with the bundled model. */
class ClusterTest {
  private static final String DEMO = "io/sinklens/demo/";
  private static final String QUICK_START = " -XX:TieredStopAtLevel=1";

  @TempDir private static Path shared;
  @TempDir private Path folder;
  private static StandaloneCluster cluster;
  private static SparkSession spark;

  @BeforeAll
  static void startCluster() throws IOException {
    LocalSpark.stop();
    cluster = StandaloneCluster.start(shared);
    spark = session();
  }

  @AfterAll
  static void stopCluster() throws IOException {
    spark.stop();
    cluster.close();
  }

  /**
   * The bundled model on the processor, whatever GPU it was asked for; writes down what is asked
   * for, in a file a process.
   *
   * @param notes the folder of these files
   * @param pause milliseconds it rests before each annotation
   */
  private record OnTheProcessor(String notes, int pause) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      note("load " + settings.model().device());
      Annotator model = ModelAnnotator.load(settings.onDevice("cpu").annotator());
      return new Annotator() {
        @Override
        public ModelFacts facts() {
          return model.facts();
        }

        @Override
        public Iterator<Annotation> annotate(Iterator<Question> questions) {
          note("task " + TaskContext.get().taskAttemptId());
          return slowly(model.annotate(questions));
        }

        @Override
        public void close() {
          model.close();
        }
      };
    }

    private Iterator<Annotation> slowly(Iterator<Annotation> annotations) {
      return new Iterator<>() {
        @Override
        public boolean hasNext() {
          return annotations.hasNext();
        }

        @Override
        public Annotation next() {
          LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(pause));
          return annotations.next();
        }
      };
    }

    private void note(String line) {
      Path file = Path.of(notes).resolve(String.valueOf(ProcessHandle.current().pid()));
      try {
        Files.writeString(file, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot write " + file, e);
      }
    }

    /** The processes of the tasks so far. */
    List<Long> tasks() {
      return read().entrySet().stream()
          .filter(notes -> notes.getValue().stream().anyMatch(line -> line.startsWith("task")))
          .map(Map.Entry::getKey)
          .toList();
    }

    /** What each process has written. */
    Map<Long, List<String>> read() {
      try (Stream<Path> files = Files.list(Path.of(notes))) {
        return files.collect(
            Collectors.toMap(
                file -> Long.parseLong(file.getFileName().toString()), ClusterTest::lines));
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot read " + notes, e);
      }
    }
  }

  @Test
  void givesEveryExecutorAGpuOfItsOwnAndItsTasksOneModel() {
    OnTheProcessor factory = factory(0);

    Result result = new AnnotateJob(job(24), factory, JobProgress.NONE).run(spark);

    assertThat(result.answered()).isEqualTo(2 * 24);
    Map<Long, List<String>> notes = factory.read();
    assertThat(notes).hasSize(StandaloneCluster.WORKERS);
    assertThat(
            notes.values().stream().flatMap(List::stream).filter(line -> line.startsWith("load")))
        .containsExactlyInAnyOrder("load gpu:0", "load gpu:1");
    assertThat(notes.values())
        .allSatisfy(
            lines -> assertThat(lines).filteredOn(line -> line.startsWith("task")).hasSize(2));
  }

  @Test
  void losesNoRowAndWritesNoneTwiceWhenAnExecutorIsKilled() throws Exception {
    OnTheProcessor factory = factory(100); // A task's share then takes over two seconds.
    long seed = System.nanoTime();
    ExecutorLog executors = new ExecutorLog();
    spark.sparkContext().addSparkListener(executors);

    CompletableFuture<Result> run =
        CompletableFuture.supplyAsync(
            () -> new AnnotateJob(job(48), factory, JobProgress.NONE).run(spark));
    while (!run.isDone() && factory.tasks().isEmpty()) {
      Thread.sleep(20);
    }
    Thread.sleep(new Random(seed).nextInt(1500));
    assertThat(run).isNotDone();
    ProcessHandle.of(factory.tasks().get(0)).orElseThrow().destroyForcibly();
    Result result = run.get(5, TimeUnit.MINUTES);

    assertThat(result.answered()).as("seed %d", seed).isEqualTo(2 * 48);
    assertThat(executors.removed.poll(1, TimeUnit.MINUTES)).isNotNull();
    assertThat(executors.added.poll(1, TimeUnit.MINUTES)).isNotNull();
    assertThat(
            spark
                .read()
                .parquet(folder.resolve("out/annotations").toString())
                .select("sample_id", "variant")
                .distinct()
                .count())
        .as("seed %d", seed)
        .isEqualTo(2 * 48);
  }

  /**
   * Never gives a row's annotations to the first who asks for them.
   *
   * @param marker is there once somebody has asked
   */
  private record StuckOnce(String row, String marker) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      return new ChangedAnnotator(new Shouting("stuck").open(settings), this::hold);
    }

    private Annotation hold(Annotation annotation) {
      if (annotation.sampleId().equals(row) && isFirst()) {
        while (true) { // As native code does, which no interrupt reaches.
          LockSupport.parkNanos(TimeUnit.SECONDS.toNanos(1));
          Thread.interrupted();
        }
      }
      return annotation;
    }

    private boolean isFirst() {
      try {
        Files.createFile(Path.of(marker));
        return true;
      } catch (FileAlreadyExistsException e) {
        return false;
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot write " + marker, e);
      }
    }
  }

  @Test
  void replacesAnExecutorWhoseRowNeverEnds() throws Exception {
    new AnnotateJob(
            job(24, "output.path=" + folder.resolve("other")),
            new Shouting("stuck"),
            JobProgress.NONE)
        .run(spark);
    List<String> sound = answers("other");
    Path marker = folder.resolve("marker");
    ExecutorLog executors = new ExecutorLog();
    spark.sparkContext().addSparkListener(executors);

    Result result =
        new AnnotateJob(
                job(24, "run.max-stall-seconds=2"),
                new StuckOnce(sound.get(20).split(" ", 2)[0], marker.toString()),
                JobProgress.NONE)
            .run(spark);

    assertThat(marker).exists();
    assertThat(executors.removed.poll(1, TimeUnit.MINUTES)).isNotNull();
    assertThat(executors.added.poll(1, TimeUnit.MINUTES)).isNotNull();
    assertThat(result.answered() + result.failed()).isEqualTo(2 * 24);
    assertThat(answers("out")).hasSize(2 * 24).doesNotHaveDuplicates().isEqualTo(sound);
  }

  /** Id, variant and answer of every row, in order. */
  private List<String> answers(String output) {
    return spark
        .read()
        .parquet(folder.resolve(output + "/annotations").toString())
        .orderBy("sample_id", "variant")
        .selectExpr("concat_ws(' ', sample_id, variant, status, answer)")
        .as(Encoders.STRING())
        .collectAsList();
  }

  /** Executors that go, and those that come after one has gone. */
  private static final class ExecutorLog extends SparkListener {
    private volatile boolean lost;
    private final LinkedBlockingQueue<String> removed = new LinkedBlockingQueue<>();
    private final LinkedBlockingQueue<String> added = new LinkedBlockingQueue<>();

    @Override
    public void onExecutorRemoved(SparkListenerExecutorRemoved event) {
      lost = true;
      removed.add(event.executorId());
    }

    @Override
    public void onExecutorAdded(SparkListenerExecutorAdded event) {
      if (lost) {
        added.add(event.executorId());
      }
    }
  }

  @Test
  void runsThroughSparkSubmitWithOurJarsAndThoseOfSpark() throws Exception {
    Path job = Files.writeString(folder.resolve("job.yaml"), jobFile());

    Path metrics = folder.resolve("metrics");
    Path logs = folder.resolve("logs");
    Path settings =
        Files.write(
            folder.resolve("spark.conf"),
            MetricFiles.settings(metrics).entrySet().stream()
                .map(entry -> entry.getKey() + " " + entry.getValue())
                .toList());

    Checkout checkout = Checkout.make(folder.resolve("home"), StandaloneCluster.classPath());
    ToolProvider.findFirst("jar")
        .orElseThrow()
        .run(
            System.out,
            System.err,
            "--create",
            "--file",
            checkout.jar().toString(),
            "-C",
            StandaloneCluster.classes().toString(),
            ".");

    Checkout.Ended ended =
        checkout.submit(
            cluster.sparkHome(),
            Map.of("SPARK_LOCAL_IP", "127.0.0.1", "SINKLENS_LOG_DIR", logs.toString()),
            List.of(
                "--master",
                cluster.master(),
                "--properties-file",
                settings.toString(),
                "--total-executor-cores",
                String.valueOf(2 * StandaloneCluster.WORKERS),
                "--conf",
                "spark.scheduler.minRegisteredResourcesRatio=1",
                "--conf",
                "spark.sql.shuffle.partitions=2",
                "--conf",
                "spark.sql.codegen.wholeStage=false",
                "--conf",
                "spark.ui.enabled=false",
                "--conf",
                "spark.executor.extraJavaOptions=" + QUICK_START.strip(),
                "--driver-java-options",
                QUICK_START.strip(),
                "--",
                "annotate",
                job.toString(),
                "--limit",
                "24"));

    assertThat(ended.exit()).as(ended.err()).isZero();
    assertThat(ended.out())
        .startsWith("Annotated 24 rows under 2 variants in ")
        .contains(": 48 answered, 0 failed\n");
    JsonNode manifest = new ObjectMapper().readTree(folder.resolve("out/manifest.json").toFile());
    assertThat(manifest.path("status").asText()).isEqualTo("complete");
    assertThat(manifest.path("counts").path("answered").asInt()).isEqualTo(48);
    assertThat(MetricFiles.read(metrics))
        .containsEntry("rows.answered", 48.0)
        .containsEntry("model.loads", (double) StandaloneCluster.WORKERS)
        .hasEntrySatisfying("passes.tokens", tokens -> assertThat(tokens).isPositive())
        .hasEntrySatisfying("queue.images", images -> assertThat(images).isGreaterThan(3))
        .hasEntrySatisfying("memory.resident-bytes", bytes -> assertThat(bytes).isGreaterThan(4e8));
    try (Stream<Path> files = Files.walk(logs)) {
      assertThat(files.filter(Files::isRegularFile).toList())
          .hasSize(1 + StandaloneCluster.WORKERS)
          .allSatisfy(
              file ->
                  assertThat(file)
                      .content()
                      .contains(
                          file.endsWith("driver.jsonl")
                              ? "\"event\":\"run ends\""
                              : "\"event\":\"model loaded\""));
    }
  }

  /**
   * A session whose driver is here, set up as {@code jobs/submit} does, with half of each worker
   * and its GPU.
   */
  private static SparkSession session() {
    SparkSession.Builder builder =
        SparkSession.builder()
            .master(cluster.master())
            .config("spark.ui.enabled", false)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.executor.memory", "1g")
            .config("spark.executor.cores", 2)
            .config("spark.cores.max", 2 * StandaloneCluster.WORKERS)
            .config("spark.executor.extraClassPath", System.getProperty("java.class.path"))
            .config("spark.executor.defaultJavaOptions", jvmOptions() + QUICK_START)
            .config("spark.scheduler.minRegisteredResourcesRatio", 1)
            .config("spark.sql.shuffle.partitions", 2)
            .config("spark.sql.codegen.wholeStage", false)
            .config("spark.sql.codegen.factoryMode", "NO_CODEGEN");
    properties("conf/spark-defaults.conf").forEach(builder::config);
    properties("conf/spark-gpu.conf").forEach(builder::config);
    return builder.getOrCreate();
  }

  private static Map<String, String> properties(String file) {
    Properties properties = new Properties();
    try (Reader reader = Files.newBufferedReader(Path.of(file))) {
      properties.load(reader);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
    return properties.stringPropertyNames().stream()
        .collect(Collectors.toMap(name -> name, name -> properties.getProperty(name).strip()));
  }

  private static String jvmOptions() {
    return lines(Path.of("conf/jvm.options")).stream()
        .filter(line -> !line.startsWith("#"))
        .collect(Collectors.joining(" "));
  }

  private static List<String> lines(Path file) {
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  private OnTheProcessor factory(int pause) {
    try {
      return new OnTheProcessor(Files.createDirectory(folder.resolve("notes")).toString(), pause);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot make a folder", e);
    }
  }

  private Settings job(int rows, String... overlays) {
    List<String> all = new ArrayList<>(List.of("run.wave-rows=50"));
    all.addAll(List.of(overlays));
    return new Settings(JobFile.parse(jobFile(), all), rows, AnnotateJob.Restart.NOT_ASKED, null);
  }

  private String jobFile() {
    Path demo = StandaloneCluster.classes().resolve(DEMO);
    return """
    input:
      path: %s
      columns: {id: question_id, image-id: image_id, answers: answer, mask: mask}
      filter: category = 'caption'
    output: {path: %s}
    model: {path: %s, dtype: float32}
    generation: {max-new-tokens: 8}
    """
        .formatted(
            demo.resolve("scenes.parquet"), folder.resolve("out"), demo.resolve("checkpoint"));
  }
}
