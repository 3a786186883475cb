package io.sinklens.job;

import java.util.Arrays;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;

/**
 * How S3 is reached where nobody has said otherwise.
 *
 * <p>Hadoop's own defaults wait for more than a day on a server that always answers "slow down",
 * and do not know the credential files and web identities that other AWS programs take.
 */
final class S3Defaults {
  /** A server that is out of order for a minute is waited for, and one that hangs given up. */
  private static final Map<String, String> VALUES =
      Map.of(
          "fs.s3a.attempts.maximum",
          "3",
          "fs.s3a.retry.throttle.limit",
          "9", // The waits double from 100 ms on: 51 seconds in all, with 20 of them 29 hours.
          "fs.s3a.connection.establish.timeout",
          "15s",
          "fs.s3a.connection.timeout",
          "60s",
          "fs.s3a.directory.operations.purge.uploads",
          "true", // What a killed run has begun to upload goes with the wave it was for.
          "fs.s3a.aws.credentials.provider",
          "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider,"
              + "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider,"
              + "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider");

  private S3Defaults() {}

  /** Sets what is not set, neither here nor in a file such as {@code core-site.xml}. */
  static Configuration in(Configuration hadoop) {
    VALUES.forEach(
        (name, value) -> {
          String[] sources = hadoop.getPropertySources(name);
          if (sources == null || Arrays.stream(sources).allMatch("core-default.xml"::equals)) {
            hadoop.set(name, value, "Sinklens");
          }
        });
    return hadoop;
  }
}
