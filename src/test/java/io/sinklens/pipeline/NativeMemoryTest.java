package io.sinklens.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.model.TinyCheckpoint;
import io.sinklens.pipeline.RunSettings.Hook;
import io.sinklens.pipeline.RunSettings.Knockout;
import io.sinklens.pipeline.RunSettings.Variant;
import io.sinklens.tensor.TestDevice;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Tensors live outside the heap, where no collector cleans up. */
class NativeMemoryTest {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final int ROWS = 10_000;
  private static final int STAGE = 1_000;
  private static final int ROWS_OF_IMAGE = 20;

  /** A leak of the keys and values of every fifth image would be more. */
  private static final long MAX_GROWTH = 16L << 20;

  @Test
  void doesNotGrowOverTenThousandRows() throws IOException {
    assumeTrue(Files.isReadable(STATUS), "only Linux tells what a process holds");
    List<byte[]> images = new ArrayList<>();
    for (String name : List.of("wide.png", "tall.png", "shapes.png", "square.png")) {
      images.add(Files.readAllBytes(Path.of("src/test/resources/golden/images", name)));
    }
    try (ModelAnnotator annotator = annotator()) {
      List<Long> readings = new ArrayList<>();
      for (int from = 0; from < ROWS; from += STAGE) {
        assertThat(annotate(annotator, images, from, from + STAGE)).isEqualTo(2 * STAGE);
        readings.add(nativeBytes());
      }
      // The allocator keeps now more and now less, so the floor counts.
      long before = Collections.min(readings.subList(0, readings.size() / 2));
      long after = Collections.min(readings.subList(readings.size() / 2, readings.size()));
      assertThat(after - before).as("more than before, of %s", readings).isLessThan(MAX_GROWTH);
    }
  }

  private static int annotate(ModelAnnotator annotator, List<byte[]> images, int from, int to) {
    Iterator<Question> questions =
        new Iterator<>() {
          private int row = from;

          @Override
          public boolean hasNext() {
            return row < to;
          }

          @Override
          public Question next() {
            byte[] image = images.get(row / ROWS_OF_IMAGE % images.size());
            return new Question(
                String.valueOf(row),
                null,
                new ImageSource.Bytes(image),
                "Is there number %d?".formatted(row++ % ROWS_OF_IMAGE),
                List.of(),
                null,
                false);
          }
        };
    int rows = 0;
    for (Iterator<?> rest = annotator.annotate(questions); rest.hasNext(); rest.next()) {
      rows++;
    }
    return rows;
  }

  /** What the process holds of its own, without the Java heap. */
  private static long nativeBytes() throws IOException {
    System.gc();
    long heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getCommitted();
    for (String line : Files.readAllLines(STATUS)) {
      if (line.startsWith("RssAnon:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024 - heap;
      }
    }
    throw new IllegalStateException("No RssAnon in " + STATUS);
  }

  private static ModelAnnotator annotator() {
    return ModelAnnotator.load(
        new AnnotatorSettings(
            new RunSettings.Model(
                TinyCheckpoint.golden("llava-gqa").toString(),
                "auto",
                "plain",
                "auto",
                "auto",
                null,
                TestDevice.setting(),
                "float32",
                ""),
            new RunSettings.Generation(2, 2, 16384, List.of(), 0),
            List.of(variant("baseline", Hook.NONE), variant("var", Hook.VAR)),
            RunSettings.Statistics.SUMMARY,
            1_000_000));
  }

  private static Variant variant(String name, Hook hook) {
    List<Integer> dimensions = hook == Hook.NONE ? List.of() : List.of(7, 50);
    return new Variant(
        name, hook, "paper", dimensions, 3.0, "prompt", 0.5, 0.1, 0.6, true, Knockout.SINKS);
  }
}
