package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.FaultyProxy;
import io.sinklens.FaultyProxy.Fate;
import io.sinklens.S3Server;
import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Result;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.JobFile;
import io.sinklens.table.LocalSpark;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What becomes of a run whose S3 server is at fault. */
class S3FaultTest {
  /** A lease that could not be given back is watched for less than a minute. */
  private static final RunLease.Pace PACE =
      new RunLease.Pace(Duration.ofSeconds(1), Duration.ofSeconds(6), Duration.ofMillis(200));

  private static final int ROWS = 8;

  /** So few tries that a test need not wait for the last of them. */
  private static final Map<String, String> IMPATIENT =
      Map.of("attempts.maximum", "1", "retry.limit", "2", "retry.throttle.limit", "2");

  @TempDir private Path folder;
  private final SparkSession spark = LocalSpark.session();
  private final Configuration hadoop = spark.sparkContext().hadoopConfiguration();
  private final S3Server server = S3Server.shared();
  private Shouting annotator = new Shouting("");

  @BeforeEach
  void giveEveryTestAnAnnotatorOfItsOwn(TestInfo test) {
    annotator = new Shouting("S3 faults " + test.getDisplayName());
  }

  @Test
  void overcomesErrorsSlownessAndBrokenConnections() throws IOException {
    AtomicInteger requests = new AtomicInteger();
    AtomicBoolean manifestRefused = new AtomicBoolean();
    AtomicBoolean mended = new AtomicBoolean();
    FaultyProxy.Plan plan =
        (method, path) -> {
          if (method.equals("PUT")
              && path.endsWith("/manifest.json")
              && manifestRefused.compareAndSet(false, true)) {
            return new Fate.Answer(500);
          }
          int number = mended.get() ? 0 : requests.incrementAndGet();
          boolean content =
              !mended.get() && method.equals("GET") && path.matches(".*[.](parquet|png)");
          return number % 50 == 20
              ? new Fate.Answer(503)
              : number % 8 == 1
                  ? new Fate.Answer(500)
                  : number % 10 == 2
                      ? new Fate.Wait(200)
                      : content && number % 3 == 0 ? new Fate.Cut(700) : Fate.PASS;
        };
    try (FaultyProxy proxy = new FaultyProxy(server.port(), plan)) {
      String bucket = server.newBucket(hadoop, proxy.port());
      putQuestions(bucket);

      Result result = run(bucket);

      assertThat(proxy.spoiled()).isGreaterThan(20);
      assertThat(manifestRefused).isTrue();
      assertThat(result.answered()).isEqualTo(2 * ROWS);
      mended.set(true);
      assertHoldsEveryRowOnce(bucket);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {500, 503})
  void endsInOneLineAndLeavesWhatCanBeGoneOnWith(int status) throws IOException {
    AtomicBoolean broken = new AtomicBoolean();
    AtomicInteger manifests = new AtomicInteger();
    FaultyProxy.Plan plan =
        (method, path) -> {
          if (method.equals("PUT") && path.endsWith("/manifest.json")) {
            broken.compareAndSet(false, manifests.incrementAndGet() == 3);
          }
          return broken.get() && !method.equals("GET") && !method.equals("HEAD")
              ? new Fate.Answer(status)
              : Fate.PASS;
        };
    try (FaultyProxy proxy = new FaultyProxy(server.port(), plan)) {
      String bucket = server.newBucket(hadoop, proxy.port());
      S3Server.configure(bucket, proxy.port(), IMPATIENT, hadoop);
      putQuestions(bucket);

      long start = System.nanoTime();
      assertThatThrownBy(() -> run(bucket))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageMatching(
              "Cannot write manifest.json in s3a://%s/out: [^\n]*%d[^\n]*"
                  .formatted(bucket, status));
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofMinutes(1));
      assertThat(
              new ObjectMapper().readTree(server.read(bucket, "out/manifest.json")).path("waves"))
          .hasSize(1);

      broken.set(false);
      manifests.set(100);
      assertThat(run(bucket).formerWaves()).isEqualTo(1);
      assertHoldsEveryRowOnce(bucket);
    }
  }

  @Test
  void readsALeaseAgainThatIsRenewedWhileItIsRead() throws IOException {
    AtomicInteger renewals = new AtomicInteger();
    FaultyProxy.Plan plan =
        (method, path) -> {
          if (method.equals("GET") && path.endsWith("/_lease") && renewals.incrementAndGet() <= 2) {
            String bucket = path.split("/", 3)[1];
            String lease = new String(server.read(bucket, "out/_lease"), StandardCharsets.UTF_8);
            server.write(bucket, "out/_lease", (lease + "\n").getBytes(StandardCharsets.UTF_8));
          }
          return Fate.PASS;
        };
    try (FaultyProxy proxy = new FaultyProxy(server.port(), plan)) {
      String bucket = server.newBucket(hadoop, proxy.port());
      putQuestions(bucket);
      assertThat(run(bucket).answered()).isEqualTo(2 * ROWS);
      assertThat(renewals).hasValueGreaterThan(2);
    }
  }

  /** As if this run slept between its look at the lease and its request. */
  @Test
  void doesNotReplaceAManifestThatHasChangedSinceItLooked() throws IOException {
    byte[] other = "{\"of\": \"another run\"}".getBytes(StandardCharsets.UTF_8);
    AtomicInteger manifests = new AtomicInteger();
    FaultyProxy.Plan plan =
        (method, path) -> {
          if (method.equals("PUT")
              && path.endsWith("/manifest.json")
              && manifests.incrementAndGet() == 2) {
            server.write(path.split("/", 3)[1], "out/manifest.json", other);
          }
          return Fate.PASS;
        };
    try (FaultyProxy proxy = new FaultyProxy(server.port(), plan)) {
      String bucket = server.newBucket(hadoop, proxy.port());
      putQuestions(bucket);
      assertThatThrownBy(() -> run(bucket))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageMatching(
              "Cannot write manifest.json in s3a://%s/out: [^\n]*412[^\n]*".formatted(bucket));
      assertThat(server.read(bucket, "out/manifest.json")).isEqualTo(other);
    }
  }

  @Test
  void endsInOneLineWhereFilesOfAWaveCannotBeWritten() throws IOException {
    FaultyProxy.Plan plan =
        (method, path) -> path.contains(".parquet?") ? new Fate.Answer(500) : Fate.PASS;
    try (FaultyProxy proxy = new FaultyProxy(server.port(), plan)) {
      String bucket = server.newBucket(hadoop, proxy.port());
      S3Server.configure(bucket, proxy.port(), IMPATIENT, hadoop);
      putQuestions(bucket);
      assertThatThrownBy(() -> run(bucket))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageMatching("Cannot finish wave [0-9]+: [^\n]*500[^\n]*");
    }
  }

  @Test
  void saysInOneLineWhatCannotBeReached() {
    String nowhere = "nobody-listens";
    S3Server.configure(nowhere, S3Server.freePort(), IMPATIENT, hadoop);
    hadoop.set("fs.s3a.bucket.nobody-listens.access.key", S3Server.ACCESS_KEY);
    hadoop.set("fs.s3a.bucket.nobody-listens.secret.key", S3Server.SECRET_KEY);
    assertThatThrownBy(() -> run(nowhere))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageMatching(
            "Cannot reach output.path s3a://nobody-listens/out: [^\n]*[Rr]efused[^\n]*");
  }

  private void assertHoldsEveryRowOnce(String bucket) {
    assertThat(
            spark
                .read()
                .parquet("s3a://%s/out/annotations".formatted(bucket))
                .select("sample_id", "variant")
                .collectAsList())
        .hasSize(2 * ROWS)
        .doesNotHaveDuplicates();
  }

  private void putQuestions(String bucket) throws IOException {
    String questions = folder.resolve("questions").toString();
    spark
        .sql(
            """
            SELECT id, concat(id, '.png') AS image, concat('Is it ', id, '?') AS question, 'yes' AS answer
            FROM range(%d)
            """
                .formatted(ROWS))
        .coalesce(1)
        .write()
        .parquet(questions);
    server.upload(bucket, Path.of(questions), "questions");
    for (int i = 0; i < ROWS; i++) {
      byte[] image = "image %d ".formatted(i).repeat(200).getBytes(StandardCharsets.UTF_8);
      server.write(bucket, "images/%d.png".formatted(i), image);
    }
  }

  private Result run(String bucket) {
    List<String> settings =
        List.of(
            "input.path=s3a://%s/questions".formatted(bucket),
            "input.columns.id=id",
            "input.images=s3a://%s/images".formatted(bucket),
            "output.path=s3a://%s/out".formatted(bucket),
            "model.path=/models/any",
            "run.wave-rows=4");
    return new AnnotateJob(
            new Settings(JobFile.parse("", settings), null, Restart.NOT_ASKED, null),
            annotator,
            JobProgress.NONE,
            PACE)
        .run(spark);
  }
}
