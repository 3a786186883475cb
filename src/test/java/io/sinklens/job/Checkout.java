package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A folder with the scripts as they lie in a checkout, in which everything is built already. */
record Checkout(Path home) {
  private static final List<String> FILES =
      List.of("jobs/submit", "jobs/setup", "conf/spark-defaults.conf", "conf/jvm.options");

  /** How a script ended, and what it printed. */
  record Ended(int exit, String out, String err) {}

  /** Makes one, with a class path to run with. */
  static Checkout make(Path home, List<Path> classPath) throws IOException {
    for (String file : FILES) {
      Files.createDirectories(home.resolve(file).getParent());
      Files.copy(Path.of(file), home.resolve(file), StandardCopyOption.COPY_ATTRIBUTES);
    }
    Files.createDirectories(home.resolve("conf/models"));
    Files.createDirectories(home.resolve("src/main"));
    Files.createFile(home.resolve("pom.xml"));
    Files.createDirectories(home.resolve("target"));
    Files.writeString(
        home.resolve("target/class-path.txt"),
        String.join(":", classPath.stream().map(Path::toString).toList()));
    Files.createFile(home.resolve("target/launcher.jar"));
    Files.createFile(home.resolve("target/launcher.built"));
    return new Checkout(home);
  }

  /** The program's own jar, empty at first. */
  Path jar() {
    return home.resolve("target/launcher.jar");
  }

  /** Runs {@code jobs/submit} with a Spark, or without one, and more of an environment. */
  Ended submit(@Nullable Path spark, Map<String, String> environment, List<String> arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(home.resolve("jobs/submit").toString()));
    command.addAll(arguments);
    Path out = home.resolve("stdout");
    Path err = home.resolve("stderr");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
    builder.environment().keySet().removeAll(List.of("SPARK_HOME", "SINKLENS_PROFILE", "MASTER"));
    builder.environment().putAll(environment);
    if (spark != null) {
      builder.environment().put("SPARK_HOME", spark.toString());
    }
    Process process = builder.start();
    try {
      assertThat(process.waitFor(5, TimeUnit.MINUTES)).isTrue();
    } finally {
      process.destroyForcibly();
    }
    return new Ended(process.exitValue(), Files.readString(out), Files.readString(err));
  }
}
