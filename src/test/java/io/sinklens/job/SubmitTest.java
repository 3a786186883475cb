package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code jobs/submit} hands to {@code spark-submit}, which here only prints it. */
class SubmitTest {
  private static final List<String> CLASS_PATH =
      List.of(
          "spark-core_2.13-4.1.3.jar",
          "jackson-core-2.21.2.jar",
          "log4j-1.2-api-2.24.3.jar",
          "pytorch-native-cpu-2.7.1-linux-x86_64.jar",
          "jackson-dataformat-yaml-2.21.2.jar");

  @TempDir private Path folder;
  private Path spark;
  private Path job;
  private Checkout checkout;

  @BeforeEach
  void build() throws IOException {
    spark = folder.resolve("spark");
    Files.createDirectories(spark.resolve("jars"));
    provide("spark-core_2.13-4.1.0.jar", "jackson-core-2.21.0.jar", "log4j-1.2-api-2.23.0.jar");
    StandaloneCluster.writeScript(spark.resolve("bin/spark-submit"), "printf '%s\\n' \"$@\"\n");
    job = Files.createFile(folder.resolve("job.yaml"));
    checkout =
        Checkout.make(
            folder.resolve("home"), CLASS_PATH.stream().map(Path.of("/lib")::resolve).toList());
  }

  @Test
  void bringsTheJarsThatSparkLacks() throws Exception {
    Submitted submitted = submit("--jars", "mine.jar", "--", "annotate", job.toString());

    assertThat(submitted.options)
        .containsEntry(
            "--jars",
            "/lib/pytorch-native-cpu-2.7.1-linux-x86_64.jar,"
                + "/lib/jackson-dataformat-yaml-2.21.2.jar,mine.jar")
        .containsEntry("--class", "io.sinklens.cli.SinklensCommand")
        .doesNotContainKey("--files");
    assertThat(submitted.program)
        .containsExactly(checkout.jar().toString(), "annotate", job.toString());
  }

  @Test
  void takesACommandWithoutOptionsOfSpark() throws Exception {
    Submitted submitted = submit("inspect", "/models/a b", "--verbose");

    assertThat(submitted.program)
        .containsExactly(checkout.jar().toString(), "inspect", "/models/a b", "--verbose");
    assertThat(submitted.options).containsEntry("--name", "sinklens inspect");
  }

  @Test
  void setsWhatNeitherTheCallerNorHisFileSays() throws Exception {
    Path mine = folder.resolve("mine.conf");
    Files.writeString(mine, "# mine\nspark.executorEnv.GOMP_SPINCOUNT = 7\nspark.a  b c\n");

    Submitted submitted =
        submit(
            "--properties-file",
            mine.toString(),
            "--conf",
            "spark.speculation=true",
            "--conf=spark.executor.cores=3",
            "--",
            "annotate",
            job.toString());

    assertThat(submitted.options).containsEntry("--properties-file", mine.toString());
    assertThat(submitted.conf)
        .containsEntry("spark.speculation", "true")
        .containsEntry("spark.executor.cores", "3")
        .containsEntry("spark.executorEnv.OMP_NUM_THREADS", "3")
        .containsEntry("spark.executorEnv.OMP_WAIT_POLICY", "PASSIVE")
        .containsEntry("spark.executorEnv.DJL_CACHE_DIR", "/cache/djl")
        .containsEntry("spark.sql.parquet.columnarReaderBatchSize", "8")
        .containsEntry("spark.plugins", SinklensPlugin.class.getName())
        .doesNotContainKeys("spark.executorEnv.GOMP_SPINCOUNT", "spark.a");
    for (String process : List.of("driver", "executor")) {
      assertThat(submitted.conf.get("spark.%s.defaultJavaOptions".formatted(process)))
          .startsWith("--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens")
          .endsWith("-Dai.djl.offline=true");
    }
  }

  @Test
  void givesTheModelTheOneCoreOfAnExecutorOnYarn() throws Exception {
    assertThat(submit("--master", "yarn", "--", "annotate", job.toString()).conf)
        .containsEntry("spark.executorEnv.OMP_NUM_THREADS", "1");
    assertThat(submit("--master", "spark://host:7077", "--", "annotate", job.toString()).conf)
        .doesNotContainKey("spark.executorEnv.OMP_NUM_THREADS");
  }

  @Test
  void sendsTheJobFileToADriverThatRunsElsewhere() throws Exception {
    Submitted submitted =
        submit(
            "--master=yarn",
            "--deploy-mode",
            "cluster",
            "--files",
            "mine.txt",
            "--",
            "annotate",
            job.toString(),
            "--limit",
            "3");

    assertThat(submitted.options).containsEntry("--files", job.toRealPath() + ",mine.txt");
    assertThat(submitted.program).endsWith("annotate", "job.yaml", "--limit", "3");
  }

  @Test
  void sendsTheScriptThatFindsGpusToYarn() throws Exception {
    Path gpu = Path.of("conf/spark-gpu.conf").toAbsolutePath();

    Submitted submitted =
        submit("--master", "yarn", "--properties-file", gpu.toString(), "--", "annotate", "j.yaml");

    assertThat(submitted.options)
        .containsEntry("--files", checkout.home().toRealPath() + "/conf/gpu-discovery");
  }

  @Test
  void refusesADriverOnAStandaloneCluster() throws Exception {
    assertThat(refused("--master", "spark://h:7077", "--deploy-mode", "cluster", "--", "annotate"))
        .isEqualTo(
            "submit: cannot run the driver on a standalone cluster, which would not find the jars and"
                + " the job file of this machine; leave --deploy-mode cluster out");
  }

  @Test
  void refusesASparkOfAnotherLineAndAJacksonThatDoesNotFit() throws Exception {
    provide("jackson-core-2.20.1.jar");
    Files.delete(spark.resolve("jars/jackson-core-2.21.0.jar"));
    assertThat(refused("annotate", "job.yaml"))
        .isEqualTo(
            "submit: %s has Jackson 2.20.1 and no jackson-dataformat-yaml, and Sinklens has that of 2.21.2; add a jackson-dataformat-yaml of Spark's Jackson to %s/jars"
                .formatted(spark, spark));

    Files.delete(spark.resolve("jars/spark-core_2.13-4.1.0.jar"));
    provide("spark-core_2.13-4.0.1.jar");
    assertThat(refused("annotate", "job.yaml"))
        .isEqualTo(
            "submit: %s has no spark-core_2.13 of version 4.1, for which Sinklens is built; SINKLENS_PROFILE=spark35 builds for Spark 3.5, without it for 4.1"
                .formatted(spark));
  }

  @Test
  void saysWhereSparkWasLookedFor() throws Exception {
    spark = folder.resolve("nowhere");

    assertThat(refused("annotate", "job.yaml"))
        .isEqualTo(
            "submit: cannot find %s/bin/spark-submit; set SPARK_HOME to a Spark 4.1, or use jobs/sinklens, which needs none"
                .formatted(spark));
  }

  @Test
  void asksForTheEndOfSparksOptions() throws Exception {
    Checkout.Ended ended =
        checkout.submit(spark, Map.of(), List.of("--master", "yarn", "annotate", "job.yaml"));

    assertThat(ended.exit()).isEqualTo(2);
    assertThat(ended.err()).startsWith("submit: options of spark-submit end with --\nusage: ");
  }

  @Test
  void asksForACommand() throws Exception {
    Checkout.Ended ended = checkout.submit(spark, Map.of(), List.of("--master", "yarn", "--"));

    assertThat(ended.exit()).isEqualTo(2);
    assertThat(ended.err()).startsWith("usage: submit [SPARK OPTION... --] COMMAND ...");
  }

  /** What spark-submit was given: options, those of them that set something, and the rest. */
  private record Submitted(
      Map<String, String> options, Map<String, String> conf, List<String> program) {}

  private Submitted submit(String... arguments) throws Exception {
    Checkout.Ended ended =
        checkout.submit(spark, Map.of("DJL_CACHE_DIR", "/cache/djl"), List.of(arguments));
    assertThat(ended.exit()).as(ended.err()).isZero();
    Map<String, String> options = new TreeMap<>();
    Map<String, String> conf = new TreeMap<>();
    List<String> left = new ArrayList<>(Arrays.asList(ended.out().stripTrailing().split("\n", -1)));
    while (left.get(0).startsWith("--")) {
      String name = left.remove(0);
      String value = left.remove(0);
      if (name.equals("--conf")) {
        conf.put(value.replaceFirst("=.*", ""), value.replaceFirst("^[^=]*=", ""));
      } else {
        options.put(name, value);
      }
    }
    return new Submitted(options, conf, left);
  }

  private String refused(String... arguments) throws Exception {
    Checkout.Ended ended = checkout.submit(spark, Map.of(), List.of(arguments));
    assertThat(ended.exit()).isEqualTo(1);
    assertThat(ended.out()).isEmpty();
    return ended.err().stripTrailing();
  }

  private void provide(String... jars) throws IOException {
    for (String jar : jars) {
      Files.createFile(spark.resolve("jars").resolve(jar));
    }
  }
}
