package io.sinklens.job;

import io.sinklens.tensor.Operators;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A standalone master and two workers on the loopback address, each a process of its own, from the
 * jars that Maven has. Worker N believes that this machine has one GPU, number N.
 */
final class StandaloneCluster implements AutoCloseable {
  static final int WORKERS = 2;
  private static final Path JAVA = Path.of(System.getProperty("java.home"), "bin", "java");
  private static final Pattern ADDRESS = Pattern.compile("spark://127\\.0\\.0\\.1:\\d+");
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** What Spark does not bring. */
  private static final Pattern OURS =
      Pattern.compile(
          ".*/(ai/djl|com/twelvemonkeys|info/picocli|net/java/dev/jna|org/jspecify|org/yaml"
              + "|com/fasterxml/jackson/dataformat)/.*");

  private final Path folder;
  private final List<Process> processes = new ArrayList<>();
  private final String master;

  private StandaloneCluster(Path folder) throws IOException {
    this.folder = folder;
    installSpark();
    Path log = start("master", List.of(), "master.Master", "--port", "0", "--webui-port", "0");
    master = await(log);
    for (int i = 0; i < WORKERS; i++) {
      startWorker(i);
    }
  }

  /** Starts one, with its files in a folder. */
  static StandaloneCluster start(Path folder) throws IOException {
    return new StandaloneCluster(folder);
  }

  /** The address of the master. */
  String master() {
    return master;
  }

  /** A folder like one of Spark's distribution: its jars, and a {@code spark-submit}. */
  Path sparkHome() {
    return folder.resolve("spark");
  }

  /** Where workers keep what executors print. */
  Path work() {
    return folder.resolve("work");
  }

  /** The jars the program runs with, of Spark and others. */
  static List<Path> classPath() throws IOException {
    String paths = Files.readString(classes().resolveSibling("class-path.txt"));
    return Arrays.stream(paths.strip().split(":", -1)).map(Path::of).toList();
  }

  /** The program's classes. */
  static Path classes() {
    try {
      return Path.of(Operators.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException("Cannot find the classes", e);
    }
  }

  /** Writes a script for the shell. */
  static void writeScript(Path file, String text) throws IOException {
    Files.createDirectories(file.getParent());
    Files.writeString(file, "#!/usr/bin/env bash\n" + text);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @Override
  public void close() throws IOException {
    List<ProcessHandle> all =
        processes.stream()
            .flatMap(each -> Stream.concat(each.descendants(), Stream.of(each.toHandle())))
            .toList();
    all.forEach(ProcessHandle::destroyForcibly);
    for (ProcessHandle each : all) {
      each.onExit().orTimeout(30, TimeUnit.SECONDS).join();
    }
    try (Stream<Path> links = Files.list(sparkHome().resolve("jars"))) {
      for (Path link : links.toList()) {
        Files.delete(link); // JUnit would warn of each.
      }
    }
  }

  private void installSpark() throws IOException {
    Path jars = Files.createDirectories(sparkHome().resolve("jars"));
    for (Path jar : classPath()) {
      if (!OURS.matcher(jar.toString()).matches()) {
        Files.createSymbolicLink(jars.resolve(jar.getFileName()), jar);
      }
    }
    // What Spark's own script does: it asks for a command line, whose parts end with zeros, and
    // runs it.
    writeScript(
        sparkHome().resolve("bin/spark-submit"),
        """
        export SPARK_SCALA_VERSION=%s
        mapfile -d '' -t command < <(%s -Xmx64m -cp "$SPARK_HOME/jars/*" org.apache.spark.launcher.Main org.apache.spark.deploy.SparkSubmit "$@")
        exec "${command[1]#$'\\n'}" "${command[@]:2}"
        """
            .formatted(scalaVersion(), JAVA));
  }

  private void startWorker(int number) throws IOException {
    Path properties =
        Files.writeString(
            folder.resolve("worker-%d.conf".formatted(number)),
            """
            spark.worker.resource.gpu.amount 1
            spark.worker.resource.gpu.discoveryScript %s
            """
                .formatted(Path.of("conf/gpu-discovery").toAbsolutePath()));
    Path bin = folder.resolve("gpu-" + number);
    writeScript(bin.resolve("nvidia-smi"), "echo " + number + "\n");
    start(
        "worker-" + number,
        List.of("PATH=" + bin + ":" + System.getenv("PATH")),
        "worker.Worker",
        "--cores",
        "4",
        "--memory",
        "2g",
        "--webui-port",
        "0",
        "--work-dir",
        work().toString(),
        "--properties-file",
        properties.toString(),
        master);
  }

  /** Starts a process of Spark's, and says what it writes to. */
  private Path start(String name, List<String> environment, String main, String... arguments)
      throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                JAVA.toString(),
                "-Xmx192m",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                sparkHome().resolve("jars") + "/*",
                "org.apache.spark.deploy." + main,
                "--host",
                "127.0.0.1"));
    command.addAll(List.of(arguments));
    Path log = folder.resolve(name + ".log");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().put("SPARK_HOME", sparkHome().toString());
    builder.environment().put("SPARK_SCALA_VERSION", scalaVersion());
    for (String each : environment) {
      String[] parts = each.split("=", 2);
      builder.environment().put(parts[0], parts[1]);
    }
    processes.add(builder.start());
    return log;
  }

  private static String scalaVersion() {
    return scala.util.Properties.versionNumberString().replaceFirst("\\.\\d+$", "");
  }

  private String await(Path log) throws IOException {
    Instant end = Instant.now().plus(PATIENCE);
    while (Instant.now().isBefore(end)) {
      Matcher address = ADDRESS.matcher(Files.readString(log));
      if (address.find()) {
        return address.group();
      }
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
    }
    close();
    throw new IllegalStateException("No master has started; it said: " + Files.readString(log));
  }
}
