package io.sinklens.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.S3Server;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command in a process of its own, with nothing on this machine but a profile. */
class S3CommandTest {
  private static final int ROWS = 3;

  /** What must not be found in anything a run leaves. */
  private static final List<String> SECRETS =
      List.of(
          S3Server.ACCESS_KEY,
          S3Server.SECRET_KEY,
          "planted-token",
          "planted-password",
          "planted-signature",
          "planted-wrong");

  @TempDir private Path folder;
  private final S3Server server = S3Server.shared();
  private String bucket = "";

  @Test
  void runsWithEverythingOnS3AndShowsNoSecret() throws Exception {
    putJob();
    String job = "s3a://%s/jobs/job.yaml".formatted(bucket);

    String said =
        run(
            command(job, "--dry-run"),
            command(job),
            command(job, "--verbose"),
            command("s3a://%s/jobs/absent.yaml".formatted(bucket)),
            command(job, "--verbose", "--set", "output.path=s3a://no-such-bucket/out"),
            command(job, "--verbose", "--set", "output.path=s3a://wrong-key/out"),
            command(job, "--verbose", "--set", "output.path=s3a://unreachable/out"),
            command(job, "--set", "model.path=s3a://%s/jobs".formatted(bucket), "--restart"),
            command(
                job,
                "--verbose",
                "--set",
                "input.path=s3a://me:planted-password/with+slash@%s/questions".formatted(bucket)),
            command(job, "--verbose", "--set", "input.path=http://me:planted-password@localhost/x"),
            command(
                job,
                "--verbose",
                "--set",
                "input.path=s3a://%s/x?X-Amz-Signature=planted-signature".formatted(bucket)));

    assertThat(said.lines().filter(line -> line.startsWith("ended with ")))
        .as(said)
        .containsExactly(
            "ended with 0",
            "ended with 0",
            "ended with 0",
            "ended with 1",
            "ended with 1",
            "ended with 1",
            "ended with 1",
            "ended with 1",
            "ended with 1",
            "ended with 1",
            "ended with 1");
    assertThat(said)
        .contains("rows         3 on 3 images")
        .contains("Annotated 3 rows under 2 variants", ": 6 answered, 0 failed")
        .contains("Of 1 wave, 1 had been annotated before")
        .contains("Cannot read job file s3a://%s/jobs/absent.yaml: no such file".formatted(bucket))
        .contains("Cannot reach output.path s3a://no-such-bucket/out: ")
        .containsPattern("Cannot reach output.path s3a://wrong-key/out: .*403")
        .containsPattern("Cannot reach output.path s3a://unreachable/out: .*refused")
        .contains("Cannot open checkpoint s3a://%s/jobs: it has no config.json".formatted(bucket))
        .contains("Cannot use input.path s3a://%s/questions: an address must not".formatted(bucket))
        .contains("Cannot use input.path http://localhost/x: an address must not")
        .contains("Cannot use input.path s3a://%s/x?X-Amz-Signature=...: an".formatted(bucket));
    assertThat(said.lines().filter(line -> line.startsWith("sinklens: Cannot"))).hasSize(8);

    assertShowsNoSecret("what was said", said);
    assertThat(folder.resolve("log")).isNotEmptyFile();
    try (Stream<Path> left = Files.walk(folder)) {
      for (Path file : left.filter(Files::isRegularFile).toList()) {
        if (!file.endsWith("profile")) {
          assertShowsNoSecret(
              file.toString(), Files.readString(file, StandardCharsets.ISO_8859_1) + file);
        }
      }
    }
    List<String> names = server.names(bucket);
    assertThat(names).contains("out/_SUCCESS");
    for (String name : names) {
      assertShowsNoSecret(
          name, new String(server.read(bucket, name), StandardCharsets.ISO_8859_1) + name);
    }
    String manifest = new String(server.read(bucket, "out/manifest.json"), StandardCharsets.UTF_8);
    assertThat(manifest).contains("\"path\" : \"s3a://%s/model\"".formatted(bucket));
    try (Stream<Path> copies = Files.list(folder.resolve("cache/checkpoints"))) {
      assertThat(copies.map(copy -> copy.getFileName() + ""))
          .filteredOn(name -> name.matches("model-[0-9a-f]{32}"))
          .hasSize(1);
    }
  }

  private static void assertShowsNoSecret(String where, String content) {
    for (String secret : SECRETS) {
      assertThat(content.contains(secret)).as("%s shows %s", where, secret).isFalse();
    }
  }

  /** Job file, questions, images and checkpoint. */
  private void putJob() throws IOException, URISyntaxException {
    SparkSession spark = LocalSpark.session();
    bucket = server.newBucket(spark.sparkContext().hadoopConfiguration());
    List<Row> scenes =
        spark.read().parquet(bundled("scenes.parquet").toString()).limit(ROWS).collectAsList();
    for (Row scene : scenes) {
      byte[] image = scene.getStruct(scene.fieldIndex("image")).getAs("bytes");
      server.write(bucket, "images/%s.png".formatted(scene.<Object>getAs("question_id")), image);
    }
    String questions = folder.resolve("questions").toString();
    spark
        .read()
        .parquet(bundled("scenes.parquet").toString())
        .limit(ROWS)
        .selectExpr("question_id", "question", "answer", "concat(question_id, '.png') AS image")
        .write()
        .parquet(questions);
    server.upload(bucket, Path.of(questions), "questions");
    server.upload(bucket, bundled("checkpoint"), "model");
    server.write(
        bucket,
        "jobs/job.yaml",
        """
        input: {path: "s3a://%1$s/questions", images: "s3a://%1$s/images", columns: {id: question_id}}
        output: {path: "s3a://%1$s/out"}
        model: {path: "s3a://%1$s/model"}
        generation: {max-new-tokens: 2}
        """
            .formatted(bucket)
            .getBytes(StandardCharsets.UTF_8));
  }

  private static List<String> command(String job, String... options) {
    List<String> command = new ArrayList<>(List.of("annotate", job));
    command.addAll(Arrays.asList(options));
    command.add(SeveralCommands.NEXT);
    return command;
  }

  @SafeVarargs
  private String run(List<String>... commands) throws IOException, InterruptedException {
    Path profile =
        Files.writeString(
            folder.resolve("profile"),
            "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                .formatted(S3Server.ACCESS_KEY, S3Server.SECRET_KEY));
    Path logging =
        Files.writeString(
            folder.resolve("log4j2.properties"),
            """
            rootLogger.level = info
            rootLogger.appenderRef.file.ref = file
            appender.file.type = File
            appender.file.name = file
            appender.file.fileName = %s
            appender.file.layout.type = PatternLayout
            appender.file.layout.pattern = %%p %%c: %%m%%n%%ex
            """
                .formatted(folder.resolve("log")));
    String s3 = "-Dspark.hadoop.fs.s3a.";
    List<String> line =
        new ArrayList<>(
            List.of(
                ProcessHandle.current().info().command().orElseThrow(),
                "@conf/jvm.options",
                "-Xmx1g",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.configurationFile=" + logging,
                "-Dspark.master=local[2]",
                s3 + "endpoint=" + server.endpoint(),
                s3 + "endpoint.region=us-east-1",
                s3 + "path.style.access=true",
                s3 + "bucket.wrong-key.access.key=planted-wrong-key",
                s3 + "bucket.wrong-key.secret.key=planted-wrong-secret",
                s3 + "bucket.unreachable.endpoint=http://127.0.0.1:" + S3Server.freePort(),
                s3 + "bucket.unreachable.attempts.maximum=1",
                s3 + "bucket.unreachable.retry.limit=1",
                s3 + "bucket.unreachable.access.key=planted-wrong-key",
                s3 + "bucket.unreachable.secret.key=planted-wrong-secret",
                s3 + "bucket.unreachable.session.token=planted-token",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                SeveralCommands.class.getName()));
    for (List<String> command : commands) {
      line.addAll(command);
    }
    Path said = folder.resolve("said");
    ProcessBuilder process =
        new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(said.toFile());
    process.environment().put("AWS_SHARED_CREDENTIALS_FILE", profile.toString());
    process.environment().put("SINKLENS_CACHE", folder.resolve("cache").toString());
    process.start().waitFor();
    return Files.readString(said);
  }

  private static Path bundled(String name) throws URISyntaxException {
    return Path.of(
        Objects.requireNonNull(S3CommandTest.class.getResource("/io/sinklens/demo/" + name), name)
            .toURI());
  }
}
