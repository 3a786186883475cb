package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sinklens.pipeline.CheckpointCache.RemoteFile;
import io.sinklens.pipeline.CheckpointCache.Source;
import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointCacheTest {
  private static final String ADDRESS = "s3a://models/tiny";

  @TempDir private Path folder;
  private CheckpointCache cache = new CheckpointCache(Path.of("unused"));
  private final Stored stored = new Stored();

  /** Files by name, and how often one was opened. */
  private static final class Stored implements Source {
    private final Map<String, String> contents = new TreeMap<>();
    private final List<String> opened = Collections.synchronizedList(new ArrayList<>());
    private int lostBytes;

    @Override
    public List<RemoteFile> files() {
      return contents.entrySet().stream()
          .map(
              file ->
                  new RemoteFile(
                      file.getKey(),
                      file.getValue().length(),
                      Integer.toHexString(file.getValue().hashCode())))
          .toList();
    }

    @Override
    public InputStream open(String name) {
      opened.add(name);
      byte[] content = contents.getOrDefault(name, "").getBytes(StandardCharsets.UTF_8);
      return new ByteArrayInputStream(content, 0, content.length - lostBytes);
    }
  }

  @BeforeEach
  void storeACheckpoint() {
    cache = new CheckpointCache(folder.resolve("cache"));
    stored.contents.put("config.json", "{}");
    stored.contents.put("tokenizer.model", "tokens");
    stored.contents.put("model.safetensors", "weights");
    stored.contents.put("vision/config.json", "{1}");
    stored.contents.put("vision/pytorch_model.bin", "pickled");
  }

  @Test
  void copiesOnceAndOnlyWhatIsRead() throws IOException {
    stored.contents.put("pytorch_model.bin", "the same weights");
    stored.contents.put("README.md", "words");
    stored.contents.put("onnx/model.bin", "no checkpoint");

    Path copy = cache.copyOf(ADDRESS, stored);

    assertThat(copy.getFileName() + "").matches("tiny-[0-9a-f]{32}");
    assertThat(stored.opened)
        .containsExactlyInAnyOrder(
            "config.json",
            "model.safetensors",
            "tokenizer.model",
            "vision/config.json",
            "vision/pytorch_model.bin");
    assertThat(copy.resolve("model.safetensors")).hasContent("weights");
    assertThat(copy.resolve("vision/pytorch_model.bin")).hasContent("pickled");

    stored.opened.clear();
    assertThat(new CheckpointCache(cache.folder()).copyOf(ADDRESS, stored)).isEqualTo(copy);
    assertThat(stored.opened).isEmpty();
  }

  @Test
  void makesADamagedCopyAnew() throws IOException {
    Path copy = cache.copyOf(ADDRESS, stored);
    Path weights = copy.resolve("model.safetensors");
    List<Callable<Object>> damages =
        List.of(
            () -> Files.writeString(weights, "weihgts"),
            () -> Files.writeString(weights, "short"),
            () -> {
              Files.delete(weights);
              return "deleted";
            },
            () -> Files.writeString(copy.resolve(".sinklens-files.json"), "["),
            () -> {
              Files.delete(copy.resolve(".sinklens-files.json"));
              return "deleted";
            });
    for (Callable<Object> damage : damages) {
      stored.opened.clear();
      try {
        damage.call();
      } catch (Exception e) {
        throw new AssertionError(e);
      }
      Files.setLastModifiedTime(copy, FileTime.fromMillis(0));
      assertThat(cache.copyOf(ADDRESS, stored)).isEqualTo(copy);
      assertThat(stored.opened).contains("model.safetensors");
      assertThat(weights).hasContent("weights");
    }
  }

  @Test
  void keepsACopyThatWasOnlyTouched() throws IOException {
    Path copy = cache.copyOf(ADDRESS, stored);
    Files.setLastModifiedTime(copy.resolve("config.json"), FileTime.fromMillis(1));
    stored.opened.clear();
    assertThat(cache.copyOf(ADDRESS, stored)).isEqualTo(copy);
    assertThat(stored.opened).isEmpty();
  }

  @Test
  void copiesAChangedCheckpointElsewhere() {
    Path copy = cache.copyOf(ADDRESS, stored);
    stored.contents.put("model.safetensors", "Weights");
    assertThat(cache.copyOf(ADDRESS, stored)).isNotEqualTo(copy);
    assertThat(copy.resolve("model.safetensors")).hasContent("weights");
  }

  @Test
  void usesNoPartOfACopyThatWasCutShort() throws IOException {
    stored.lostBytes = 2;
    assertThatThrownBy(() -> cache.copyOf(ADDRESS, stored))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageMatching(
            "Cannot read checkpoint s3a://models/tiny: of the \\d bytes of .* came \\d");
    try (Stream<Path> left = Files.list(cache.folder())) {
      assertThat(left.map(Path::toString)).allMatch(name -> name.matches(".*[.](new|lock)"));
    }
    stored.lostBytes = 0;
    assertThat(cache.copyOf(ADDRESS, stored).resolve("config.json")).hasContent("{}");
    try (Stream<Path> left = Files.list(cache.folder())) {
      assertThat(left.map(Path::toString)).noneMatch(name -> name.endsWith(".new"));
    }
  }

  @Test
  void letsOneOfSeveralThreadsCopy() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<Path>> copies =
          threads.invokeAll(Collections.nCopies(4, () -> cache.copyOf(ADDRESS, stored)));
      Path first = copies.get(0).get();
      for (Future<Path> copy : copies) {
        assertThat(copy.get()).isEqualTo(first);
      }
      assertThat(stored.opened).hasSize(5).hasSameSizeAs(new HashSet<>(stored.opened));
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void refusesWhatIsNoCheckpoint() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                cache.copyOf(
                    "s3a://key:se/cret@models/none?sig=secret",
                    new Source() {
                      @Override
                      public List<RemoteFile> files() throws IOException {
                        throw new FileNotFoundException("none");
                      }

                      @Override
                      public InputStream open(String name) {
                        throw new IllegalStateException();
                      }
                    }))
        .withMessage("Cannot open checkpoint s3a://models/none?sig=...: there is no such folder");
    stored.contents.remove("config.json");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> cache.copyOf(ADDRESS, stored))
        .withMessage("Cannot open checkpoint s3a://models/tiny: it has no config.json");
    assertThat(stored.opened).isEmpty();
  }
}
