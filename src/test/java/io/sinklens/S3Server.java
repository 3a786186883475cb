package io.sinklens;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.S3Object;

/**
 * A real S3 server on this machine, S3Proxy in a process of its own; all tests of a JVM share it.
 */
public final class S3Server {
  public static final String ACCESS_KEY = "planted-access-key";
  public static final String SECRET_KEY = "planted/secret+key";

  private static final int SECONDS_TO_START = 60;

  private final int port;
  private final S3Client client;
  private final AtomicInteger buckets = new AtomicInteger();

  private static final class Shared {
    private static final S3Server SERVER = new S3Server();
  }

  private S3Server() {
    try {
      port = freePort();
      start();
    } catch (IOException | InterruptedException e) {
      throw new IllegalStateException("Cannot start the S3 server", e);
    }
    client =
        S3Client.builder()
            .endpointOverride(endpoint())
            .region(Region.US_EAST_1)
            .forcePathStyle(true)
            .credentialsProvider(
                StaticCredentialsProvider.create(
                    AwsBasicCredentials.create(ACCESS_KEY, SECRET_KEY)))
            .build();
  }

  /** The server, started at the first call. */
  public static S3Server shared() {
    return Shared.SERVER;
  }

  private void start() throws IOException, InterruptedException {
    Path folder = Files.createTempDirectory("s3-server");
    Path settings =
        Files.writeString(
            folder.resolve("settings"),
            """
            s3proxy.endpoint=http://127.0.0.1:%d
            s3proxy.authorization=aws-v2-or-v4
            s3proxy.identity=%s
            s3proxy.credential=%s
            jclouds.provider=transient
            jclouds.identity=any
            jclouds.credential=any
            """
                .formatted(port, ACCESS_KEY, SECRET_KEY));
    Path log = folder.resolve("log");
    Process server =
        new ProcessBuilder(
                ProcessHandle.current().info().command().orElseThrow(),
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1",
                "-jar",
                Objects.requireNonNull(System.getProperty("s3.server.jar")),
                "--properties",
                settings.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    Runtime.getRuntime().addShutdownHook(new Thread(server::destroyForcibly));
    for (int i = 0; !listens(); i++) {
      assertThat(server.isAlive() && i < SECONDS_TO_START * 10).as("See %s", log).isTrue();
      server.waitFor(100, TimeUnit.MILLISECONDS);
    }
  }

  private boolean listens() {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      return socket.isConnected();
    } catch (IOException e) {
      return false;
    }
  }

  /** A port that nobody listens on. */
  public static int freePort() {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public int port() {
    return port;
  }

  public URI endpoint() {
    return URI.create("http://127.0.0.1:" + port);
  }

  /** A new bucket, of which the configuration knows where it is and how to enter. */
  public String newBucket(Configuration hadoop) {
    return newBucket(hadoop, port);
  }

  /**
   * A new bucket, reached through another port.
   *
   * <p>Hadoop keeps what it knows of a bucket, so that tests share a session and no bucket.
   */
  public String newBucket(Configuration hadoop, int through) {
    String bucket = "bucket-" + buckets.incrementAndGet();
    client.createBucket(request -> request.bucket(bucket));
    configure(bucket, through, Map.of("access.key", ACCESS_KEY, "secret.key", SECRET_KEY), hadoop);
    return bucket;
  }

  /** Lets the configuration know where a bucket is, and what else is said of it. */
  public static void configure(
      String bucket, int port, Map<String, String> settings, Configuration hadoop) {
    String prefix = "fs.s3a.bucket." + bucket + ".";
    hadoop.set(prefix + "endpoint", "http://127.0.0.1:" + port);
    hadoop.set(prefix + "endpoint.region", "us-east-1");
    hadoop.set(prefix + "path.style.access", "true");
    // Waits of tests are short; how often is tried stays as it is.
    hadoop.set(prefix + "retry.interval", "20ms");
    hadoop.set(prefix + "retry.throttle.interval", "5ms");
    settings.forEach((name, value) -> hadoop.set(prefix + name, value));
  }

  /** The names of all objects in a bucket. */
  public List<String> names(String bucket) {
    return client.listObjectsV2Paginator(request -> request.bucket(bucket)).contents().stream()
        .map(S3Object::key)
        .toList();
  }

  /** Uploads that were begun and neither finished nor given up. */
  public int uploads(String bucket) {
    return client.listMultipartUploads(request -> request.bucket(bucket)).uploads().size();
  }

  public byte[] read(String bucket, String name) {
    return client.getObjectAsBytes(request -> request.bucket(bucket).key(name)).asByteArray();
  }

  public void write(String bucket, String name, byte[] content) {
    client.putObject(request -> request.bucket(bucket).key(name), RequestBody.fromBytes(content));
  }

  public void delete(String bucket, String name) {
    client.deleteObject(request -> request.bucket(bucket).key(name));
  }

  /** Puts a file, or all below a folder, under a name. */
  public void upload(String bucket, Path source, String name) throws IOException {
    try (var files = Files.walk(source)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String below = source.relativize(file).toString();
        write(bucket, below.isEmpty() ? name : name + "/" + below, Files.readAllBytes(file));
      }
    }
  }
}
