package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;

import io.sinklens.dataset.RowFailedException;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Every file is decoded or fails its row, soon, and never takes much memory. */
class HostileImagesTest {
  private static final int FUZZED_FILES = 10_000;
  private static final long MAX_PIXELS = 100_000;
  private static final int MAX_SECONDS = 10;

  /** What may be allocated in all for one file, in bytes. */
  private static final long MAX_ALLOCATED = 96 << 20;

  /** The reader of WebP makes this much garbage for a pixel, and keeps little of it. */
  private static final long GARBAGE_FOR_A_WEBP_PIXEL = 4096;

  private static final String OUTCOMES =
      """
      empty: IMAGE_UNREADABLE
      zeros: IMAGE_UNREADABLE
      html: IMAGE_UNREADABLE
      svg: IMAGE_UNREADABLE
      zip: IMAGE_UNREADABLE
      shell: IMAGE_UNREADABLE
      only magic JPEG: IMAGE_UNREADABLE
      magic and zeros JPEG: IMAGE_UNREADABLE
      magic and ones JPEG: IMAGE_UNREADABLE
      only magic PNG: IMAGE_UNREADABLE
      magic and zeros PNG: IMAGE_UNREADABLE
      magic and ones PNG: IMAGE_UNREADABLE
      only magic GIF: IMAGE_UNREADABLE
      magic and zeros GIF: IMAGE_UNREADABLE
      magic and ones GIF: IMAGE_UNREADABLE
      only magic BM: IMAGE_UNREADABLE
      magic and zeros BM: IMAGE_UNREADABLE
      magic and ones BM: IMAGE_UNREADABLE
      only magic II: IMAGE_UNREADABLE
      magic and zeros II: IMAGE_UNREADABLE
      magic and ones II: IMAGE_UNREADABLE
      only magic MM: IMAGE_UNREADABLE
      magic and zeros MM: IMAGE_UNREADABLE
      magic and ones MM: IMAGE_UNREADABLE
      png of two thousand million columns: IMAGE_TOO_LARGE
      png of negative size: IMAGE_UNREADABLE
      png without pixels: IMAGE_UNREADABLE
      png that inflates to 400 million pixels: IMAGE_TOO_LARGE
      png of one pixel that inflates to 400 MB: decoded 1 x 1
      png with 400 MB of compressed text: decoded 1 x 1
      png with 400 MB of international text: decoded 1 x 1
      png with 400 MB of colour profile: decoded 1 x 1
      png with a chunk of 2 GB announced: IMAGE_UNREADABLE
      png with a chunk that ends before it begins: IMAGE_UNREADABLE
      png with two headers: decoded 1 x 1
      png with a palette chunk of 2 GB announced: IMAGE_UNREADABLE
      png of 100000 chunks: decoded 1 x 1
      png of one column: decoded 1 x 65535
      png of one row: decoded 65535 x 1
      png with a zip behind it: decoded 24 x 20
      png with html in a comment: decoded 1 x 1
      png whose orientation points at itself: decoded 1 x 1
      gif of a huge screen: IMAGE_TOO_LARGE
      gif of a huge frame: IMAGE_TOO_LARGE
      gif with a frame far out: IMAGE_TOO_LARGE
      gif with a frame as large as is allowed: decoded 300 x 300
      gif without pixels: IMAGE_UNREADABLE
      gif of one column: decoded 1 x 65535
      gif of one row: decoded 65535 x 1
      gif of 200000 comments: decoded 1 x 1
      gif with html behind it: decoded 1 x 1
      tiff of four thousand million columns: IMAGE_UNREADABLE
      tiff of two thousand million columns: IMAGE_TOO_LARGE
      tiff of negative width: IMAGE_UNREADABLE
      tiff without pixels: IMAGE_UNREADABLE
      tiff of few bytes and many pixels: IMAGE_UNREADABLE
      tiff with 65535 samples a pixel: IMAGE_UNREADABLE
      tiff with samples of 65535 bits: IMAGE_UNREADABLE
      tiff with huge tiles: IMAGE_TOO_LARGE
      tiff with tiles of two thousand million columns: IMAGE_TOO_LARGE
      tiff with a strip of 2 GB: decoded 8 x 8
      tiff with a compressed strip of 2 GB: IMAGE_UNREADABLE
      tiff with a jpeg strip of 2 GB: IMAGE_UNREADABLE
      tiff with a thousand million strips: IMAGE_UNREADABLE
      tiff with four thousand million samples: IMAGE_UNREADABLE
      tiff with a thousand million letters: decoded 8 x 8
      tiff with a palette of a thousand million colours: IMAGE_UNREADABLE
      tiff with rows of no strip: IMAGE_UNREADABLE
      tiff whose directory follows itself: decoded 8 x 8
      tiff whose directory contains itself: decoded 8 x 8
      tiff whose exif contains itself: decoded 8 x 8
      tiff whose gps contains itself: decoded 8 x 8
      tiff of 65535 entries: IMAGE_UNREADABLE
      tiff of 64 pixels that inflates to 400 MB: decoded 8 x 8
      tiff around a huge baseline jpeg: IMAGE_TOO_LARGE
      tiff around a huge progressive jpeg: IMAGE_TOO_LARGE
      tiff with an old jpeg 2 GB away: IMAGE_UNREADABLE
      tiff of one column: decoded 1 x 65535
      tiff of one row: decoded 65535 x 1
      webp of a huge canvas: IMAGE_TOO_LARGE
      webp of a huge canvas animated: IMAGE_TOO_LARGE
      webp of 16384 x 16384 lossless: IMAGE_TOO_LARGE
      webp of 16383 x 16383 lossy: IMAGE_TOO_LARGE
      webp of a small canvas and huge lossless pixels: IMAGE_UNREADABLE
      webp of a small canvas and huge lossy pixels: IMAGE_UNREADABLE
      webp of a small frame and huge lossless pixels: IMAGE_UNREADABLE
      webp of a small frame and huge lossy pixels: IMAGE_UNREADABLE
      webp of a huge frame: IMAGE_TOO_LARGE
      webp of a frame far out: IMAGE_TOO_LARGE
      webp with an exif that points at itself: decoded 12 x 9
      webp with a chunk of 2 GB announced: IMAGE_UNREADABLE
      webp with a chunk of minus 8 bytes: IMAGE_UNREADABLE
      webp animated without a frame: IMAGE_UNREADABLE
      webp of ten thousand transforms: IMAGE_UNREADABLE
      webp of two pictures: IMAGE_UNREADABLE
      webp of nothing: IMAGE_UNREADABLE
      webp with a colour profile of zeros: IMAGE_UNREADABLE
      bmp of two thousand million columns: IMAGE_TOO_LARGE
      bmp of the lowest height: IMAGE_UNREADABLE
      bmp of negative width: IMAGE_UNREADABLE
      bmp of few bytes and many pixels: IMAGE_UNREADABLE
      bmp with two thousand million colours: IMAGE_UNREADABLE
      bmp of 65535 bits: IMAGE_UNREADABLE
      bmp around a png of another size: IMAGE_UNREADABLE
      bmp around a jpeg of another size: IMAGE_UNREADABLE
      bmp of skipping runs: IMAGE_UNREADABLE
      bmp of one column: decoded 1 x 65535
      bmp of one row: decoded 65535 x 1
      jpeg of 65500 x 65500: IMAGE_TOO_LARGE
      jpeg of 65535 x 65535: IMAGE_TOO_LARGE
      jpeg of few bytes and many pixels: decoded 300 x 300
      progressive jpeg of few bytes and many pixels: decoded 300 x 300
      jpeg without rows: IMAGE_UNREADABLE
      jpeg with a second frame: IMAGE_TOO_LARGE
      jpeg of 255 components: IMAGE_UNREADABLE
      jpeg said to be lossless: IMAGE_UNREADABLE
      large jpeg said to be lossless: IMAGE_UNREADABLE
      jpeg whose exif points at itself: decoded 24 x 20
      jpeg with html in a comment: decoded 24 x 20
      jpeg with a zip behind it: decoded 24 x 20
      jpeg of 100000 comments: decoded 24 x 20
      progressive jpeg of a thousand scans: IMAGE_TOO_LARGE
      """;

  private final ImageDecoder decoder = new ImageDecoder(Exif.APPLY, MAX_PIXELS);
  private final ExecutorService worker =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread thread = new Thread(task, "decode");
            thread.setDaemon(true);
            return thread;
          });

  @AfterEach
  void stopTheWorker() {
    worker.shutdownNow();
  }

  @Test
  void decodesTheSeeds() {
    HostileImages.seeds()
        .forEach((name, file) -> assertThat(outcome(name, file)).as(name).startsWith("decoded "));
  }

  @Test
  void answersOrRefusesHostileFiles() {
    StringBuilder outcomes = new StringBuilder();
    HostileImages.corpus()
        .forEach((name, file) -> outcomes.append(name + ": " + outcome(name, file) + "\n"));

    assertThat(outcomes).hasToString(OUTCOMES);
  }

  @Test
  void answersOrRefusesFilesThatEndAnywhere() {
    HostileImages.seeds()
        .forEach(
            (name, file) -> {
              for (int length = 0; length < file.length; length += length < 200 ? 1 : 37) {
                outcome(name + " cut to " + length, Arrays.copyOf(file, length));
              }
            });
  }

  @Test
  void answersOrRefusesFilesWithABitFlipped() {
    HostileImages.seeds()
        .forEach(
            (name, file) -> {
              for (int at = 0; at < file.length; at += at < 100 ? 1 : 29) {
                byte[] flipped = file.clone();
                flipped[at] ^= (byte) (1 << at % 8);
                outcome(name + " with a bit flipped in byte " + at, flipped);
              }
            });
  }

  @Test
  void answersOrRefusesFuzzedFiles() {
    List<Map.Entry<String, byte[]>> seeds = new ArrayList<>(HostileImages.seeds().entrySet());
    int decoded = 0;
    for (int seed = 0; seed < FUZZED_FILES; seed++) {
      Random random = new Random(seed);
      Map.Entry<String, byte[]> from = seeds.get(random.nextInt(seeds.size()));
      byte[] other = seeds.get(random.nextInt(seeds.size())).getValue();
      byte[] file = HostileImages.mutated(from.getValue(), other, random);
      if (outcome("seed " + seed + " of " + from.getKey(), file).startsWith("decoded ")) {
        decoded++;
      }
    }
    assertThat(decoded).isBetween(FUZZED_FILES / 10, FUZZED_FILES * 9 / 10);
  }

  /** The size of the image, or the kind of failure; fails for anything else. */
  private String outcome(String name, byte[] file) {
    try {
      return worker.submit(() -> decode(name, file)).get(MAX_SECONDS, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new AssertionError(name + " takes more than " + MAX_SECONDS + " s", e);
    } catch (ExecutionException | InterruptedException e) {
      throw new AssertionError(name + " does more than fail its row", e);
    }
  }

  private String decode(String name, byte[] file) {
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
    String outcome;
    try {
      RgbImage image = decoder.decode(file);
      outcome = "decoded %d x %d".formatted(image.width(), image.height());
    } catch (RowFailedException e) {
      assertThat(e.getMessage()).as(name).startsWith("Cannot decode the image: ").hasLineCount(1);
      outcome = e.failure().kind().name();
    }
    assertThat(threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before)
        .as("bytes allocated for " + name)
        .isLessThan(
            MAX_ALLOCATED + (name.contains("webp") ? GARBAGE_FOR_A_WEBP_PIXEL * MAX_PIXELS : 0));
    return outcome;
  }
}
