package io.sinklens.table;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.sinklens.S3Server;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.List;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a hostile path gets, in a store of objects and on a disk: nothing from outside the root. */
class ImageFilesTest {
  private static final String SECRET = "secret";

  @TempDir private static Path disk;
  private static final Configuration HADOOP = new Configuration();
  private static final S3Server SERVER = S3Server.shared();
  private static final String BUCKET = SERVER.newBucket(HADOOP);
  private static final String OTHER_BUCKET = SERVER.newBucket(HADOOP);

  /** Where images lie. */
  private enum Root {
    DISK {
      @Override
      String folder() {
        return disk.resolve("images").toString();
      }

      @Override
      void write(String path, String content) throws IOException {
        Path file = disk.resolve(path);
        Files.createDirectories(Objects.requireNonNull(file.getParent()));
        Files.writeString(file, content);
      }
    },
    STORE {
      @Override
      String folder() {
        return "s3a://" + BUCKET + "/images";
      }

      @Override
      void write(String path, String content) {
        SERVER.write(BUCKET, path, content.getBytes(UTF_8));
      }
    },
    WHOLE_BUCKET {
      @Override
      String folder() {
        return "s3a://" + BUCKET;
      }

      @Override
      void write(String path, String content) {
        SERVER.write(BUCKET, path.replaceFirst("^images/", ""), content.getBytes(UTF_8));
      }
    };

    abstract String folder();

    abstract void write(String path, String content) throws IOException;

    String read(String path) throws RowFailedException {
      return new String(new ImageFiles(folder(), HADOOP).read(path), UTF_8);
    }
  }

  @ParameterizedTest
  @EnumSource(Root.class)
  void takesNamesAsTheyAreSpelt(Root root) throws IOException, RowFailedException {
    String composed = Normalizer.normalize("sch\u00f6n.png", Normalizer.Form.NFC);
    List<String> names =
        List.of(
            "a b.png",
            "%2e%2e%2fa.png",
            "a%20b.png",
            "a.png?versionId=1",
            "a#b.png",
            "a+b.png",
            "deep/a:b.png",
            "..a/b..png",
            composed,
            Normalizer.normalize(composed, Normalizer.Form.NFD),
            "\ud83d\udcf7.png");
    for (String name : names) {
      root.write("images/" + name, "the image " + name);
    }

    for (String name : names) {
      assertThat(root.read(name)).isEqualTo("the image " + name);
    }
    assertThat(root.read("./deep//./a:b.png")).isEqualTo("the image deep/a:b.png");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../secret",
        "deep/../../secret",
        "..",
        "deep/..",
        "../images/a.png",
        "/secret",
        "//secret",
        "/",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "s3a://%other/secret",
        "S3A://%other/secret",
        "s3a:secret",
        "hdfs://localhost/secret",
        "http://127.0.0.1/secret",
        "data:image/png;base64,AAAA",
        "..\\secret",
        "C:\\secret",
        "a\0.png",
        "a\n.png",
        "\r/../secret",
        "a\u007f.png",
        "a\u0085.png"
      })
  void forbidsWhatCouldLeadOutside(String path) throws IOException {
    SERVER.write(OTHER_BUCKET, SECRET, SECRET.getBytes(UTF_8));
    String hostile = path.replace("%other", OTHER_BUCKET);
    for (Root root : Root.values()) {
      root.write("images/deep/a.png", "an image");
      root.write(SECRET, SECRET);
      assertFails(root, hostile, FailureKind.IMAGE_FORBIDDEN);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        ".",
        "./",
        "deep",
        "deep/",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "\uff0e\uff0e/secret", // Full-width dots, which normalisation would make dots.
        "\u2024\u2024/secret",
        "..;/secret",
        "absent.png"
      })
  void findsNothingWhereThereIsNone(String path) throws IOException {
    for (Root root : Root.values()) {
      root.write("images/deep/a.png", "an image");
      root.write(SECRET, SECRET);
      assertFails(root, path, FailureKind.IMAGE_MISSING);
    }
  }

  /** Amazon answers such names with the status of a broken request, which would end the task. */
  @Test
  void findsNothingUnderNamesThatNoStoreCanHold() throws IOException, RowFailedException {
    String longest = "\u00f6".repeat((1024 - "images/".length() - 1) / 2) + "x";
    Root.STORE.write("images/" + longest, "an image");

    assertThat(Root.STORE.read(longest)).isEqualTo("an image");
    assertFails(Root.STORE, longest + "x", FailureKind.IMAGE_MISSING);
    assertFails(Root.STORE, "x/".repeat(500_000), FailureKind.IMAGE_MISSING);
  }

  @Test
  void keepsPathsOutOfLogsThatTheyWouldForge() {
    assertThatExceptionOfType(RowFailedException.class)
        .isThrownBy(() -> Root.STORE.read("a\u2028sinklens: done" + "x".repeat(1_000)))
        .satisfies(
            e ->
                assertThat(e.getMessage())
                    .startsWith("There is no image file a?sinklens: done")
                    .hasSizeLessThan(300));
  }

  private static void assertFails(Root root, String path, FailureKind kind) {
    assertThatExceptionOfType(RowFailedException.class)
        .as("%s below %s", path, root)
        .isThrownBy(() -> root.read(path))
        .satisfies(
            e -> {
              assertThat(e.failure().kind()).as("%s below %s", path, root).isEqualTo(kind);
              assertThat(e.getMessage()).doesNotContainPattern("\\p{Cntrl}").hasSizeLessThan(400);
            });
  }
}
