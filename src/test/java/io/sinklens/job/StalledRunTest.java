package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.pipeline.Annotator;
import io.sinklens.pipeline.AnnotatorFactory;
import io.sinklens.pipeline.JobFile;
import io.sinklens.pipeline.ProbedAnnotator;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.Serializable;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs on one machine in which something never ends, and the same command afterwards. */
class StalledRunTest {
  private static final int ROWS = 12;
  private static final int VARIANTS = 2;

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private Trap trap;

  /**
   * Holds who comes by while it is set, as native code does, which no interrupt reaches.
   *
   * @param file is there while it is set
   */
  record Trap(String file) implements Serializable {
    void set() throws IOException {
      Files.createFile(Path.of(file));
    }

    void release() throws IOException {
      Files.deleteIfExists(Path.of(file));
    }

    void comeBy() {
      while (Files.exists(Path.of(file))) {
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(50));
        Thread.interrupted();
      }
    }
  }

  @BeforeEach
  void setTheTrap() throws IOException {
    trap = new Trap(folder.resolve("trap").toString());
    trap.set();
  }

  @AfterEach
  void letGo() throws IOException {
    trap.release();
  }

  /** Never gives one row's annotations while the trap is set. */
  private record NeverEnding(String row, Trap trap) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      return new ChangedAnnotator(new Shouting("never").open(settings), this::hold);
    }

    private Annotation hold(Annotation annotation) {
      if (annotation.sampleId().equals(row)) {
        trap.comeBy();
      }
      return annotation;
    }
  }

  /** A real model whose engine's thread never comes back from a pass while the trap is set. */
  private record StuckEngine(Trap trap) implements AnnotatorFactory {
    @Override
    public Annotator open(RunSettings settings) {
      return ProbedAnnotator.load(settings, tokens -> trap.comeBy());
    }
  }

  /** Local files of which those called {@code stuck} cannot be opened while the trap is set. */
  public static final class StuckFiles extends RawLocalFileSystem {
    @Override
    public URI getUri() {
      return URI.create("stuck:///");
    }

    @Override
    public String getScheme() {
      return getUri().getScheme();
    }

    @Override
    public FSDataInputStream open(org.apache.hadoop.fs.Path file, int buffer) throws IOException {
      if (file.getName().equals("stuck")) {
        new Trap(Path.of(file.toUri().getPath()).resolveSibling("trap").toString()).comeBy();
      }
      return super.open(file, buffer);
    }
  }

  @Test
  void endsAndKeepsWhatIsCommittedAndGoesOn() throws IOException {
    RunSettings other = settings(questions(), "output.path=" + folder.resolve("other"));
    run(other, new Shouting("never"));
    // A third wave begins when one of the first two is committed.
    Row held = written("other").where("wave = 2").first();
    String id = held.getAs("sample_id");
    RunSettings run = settings(questions());
    NeverEnding factory = new NeverEnding(id, trap);

    assertThatThrownBy(() -> run(run, factory))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage(
            "Cannot finish wave 2: Nothing has moved for 2 s while row %s was waited for"
                + " (run.max-stall-seconds)",
            id);

    JsonNode manifest = new ObjectMapper().readTree(folder.resolve("out/manifest.json").toFile());
    assertThat(manifest.path("status").asText()).isNotEqualTo("complete");
    int committed = manifest.path("waves").size();
    assertThat(committed).isPositive();

    trap.release();
    AnnotateJob.Result result = run(run, factory);

    assertThat(result.formerWaves()).isEqualTo(committed);
    assertThat(result.answered()).isEqualTo(ROWS * VARIANTS);
    assertThat(rows("out")).isEqualTo(rows("other"));
  }

  @Test
  void endsWhereAnImageFileCannotBeRead() throws IOException {
    spark.sparkContext().hadoopConfiguration().set("fs.stuck.impl", StuckFiles.class.getName());
    for (String name : List.of("fine", "stuck")) {
      Files.writeString(folder.resolve(name), "image");
    }
    String input =
        input("SELECT * FROM VALUES (1, 'fine', 'Q'), (2, 'stuck', 'Q') AS t(id, image, question)");
    RunSettings run =
        settings(input, "input.columns.answers=null", "input.images=stuck://" + folder);

    assertThatThrownBy(() -> run(run, new Shouting("files")))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageEndingWith(
            "Nothing has moved for 2 s while the image of row 2 was read (run.max-stall-seconds)");

    trap.release();
    assertThat(run(run, new Shouting("files")).answered()).isEqualTo(2 * VARIANTS);
    assertThat(rows("out")).hasSize(2 * VARIANTS);
  }

  @Test
  void endsWhereTheEngineIsStuckAndLoadsAnother() {
    String image = Path.of("src/test/resources/golden/images/wide.png").toAbsolutePath().toString();
    String input =
        input(
            "SELECT id, content AS image, 'Why?' AS question FROM VALUES (1), (2) AS t(id)"
                + " CROSS JOIN binaryFile.`%s`".formatted(image));
    RunSettings run =
        settings(
            input,
            "input.columns.answers=null",
            "model.path=" + TinyCheckpoint.golden("llava-mha").toAbsolutePath(),
            "model.dtype=float32",
            "model.device=cpu",
            "generation.max-new-tokens=2",
            "variants=[{name: plain, hook: none}, {name: again, hook: none}]",
            "statistics.level=none");
    int loads = ExecutorAnnotator.loads();

    assertThatThrownBy(() -> run(run, new StuckEngine(trap)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageEndingWith(
            "Nothing has moved for 2 s while row 1 was waited for (run.max-stall-seconds)");
    assertThat(ExecutorAnnotator.loads()).isEqualTo(loads + 1);

    // The one that is stuck holds its thread for ever, and must not hold up anybody.
    AnnotateJob.Result result = run(run, new StuckEngine(new Trap(folder + "/nothing")));

    assertThat(ExecutorAnnotator.loads()).isEqualTo(loads + 2);
    assertThat(result.answered()).isEqualTo(2 * VARIANTS);
    assertThat(rows("out")).hasSize(2 * VARIANTS);
  }

  private AnnotateJob.Result run(RunSettings run, AnnotatorFactory factory) {
    return new AnnotateJob(new Settings(run, null, Restart.NOT_ASKED, 1), factory, JobProgress.NONE)
        .run(spark);
  }

  private List<Row> rows(String output) {
    return written(output).drop("wave").orderBy("sample_id", "variant").collectAsList();
  }

  private Dataset<Row> written(String output) {
    return spark.read().parquet(folder.resolve(output + "/annotations").toString());
  }

  /** Twelve questions about as many images. */
  private String questions() {
    return input(
        """
        SELECT id, CAST(concat('image ', id) AS BINARY) AS image, 'Why?' AS question,
          'so' AS answer FROM range(%d)
        """
            .formatted(ROWS));
  }

  private String input(String query) {
    Path path = folder.resolve("input");
    if (!Files.exists(path)) {
      spark.sql(query).coalesce(1).write().parquet(path.toString());
    }
    return path.toString();
  }

  private RunSettings settings(String input, String... overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.path=" + input);
    all.add("input.columns.id=id");
    all.add("output.path=" + folder.resolve("out"));
    all.add("model.path=/models/any");
    all.add("run.wave-rows=4");
    all.add("run.max-stall-seconds=2");
    all.addAll(Arrays.asList(overlays));
    return JobFile.parse("", all);
  }
}
