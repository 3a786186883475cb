package io.sinklens.pipeline;

import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Addresses of files, such as {@code s3a://bucket/folder}, and what must not be shown of them. */
public final class Addresses {
  private static final Pattern SCHEME = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]+:/.*");

  /**
   * What could be user and password: a name alone is no secret. Up to the last {@code @}, since
   * AWS's secret keys hold slashes, and rather too much than too little.
   */
  private static final Pattern LOGIN = Pattern.compile("(?<=://)[^/@\\s\"]*:[^\\s\"]*@");

  /** Values of a query, such as the signature of an address that is signed, in a sentence. */
  private static final Pattern QUERY =
      Pattern.compile("([?&][A-Za-z0-9_.~%-]+=)[^&\\s\"]*[^&\\s\":;,.]");

  private Addresses() {}

  /** Whether a text names a file system, and is not a path of this machine. */
  public static boolean isAddress(String path) {
    return SCHEME.matcher(path).matches();
  }

  /**
   * Refuses an address on S3 or the web with a password or a query, before others write it into
   * logs. Neither has a meaning there.
   *
   * @param key what the address was given as
   */
  public static void requireNoSecrets(String key, @Nullable String address) {
    if (address != null
        && address.matches("(s3|http).*")
        && !withoutSecrets(address).equals(address)) {
      throw new IllegalArgumentException(
          ("Cannot use %s %s: an address must not hold a password or a query; credentials for S3 go into the"
                  + " environment, a profile, or spark.hadoop.fs.s3a.access.key and secret.key")
              .formatted(key, withoutSecrets(address)));
    }
  }

  /** Text without passwords, and without the values of queries. */
  public static String withoutSecrets(String text) {
    return QUERY.matcher(LOGIN.matcher(text).replaceAll("")).replaceAll("$1...");
  }
}
