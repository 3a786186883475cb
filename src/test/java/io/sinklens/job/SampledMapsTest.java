package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sinklens.job.AnnotateJob.Restart;
import io.sinklens.job.AnnotateJob.Settings;
import io.sinklens.pipeline.RunSettings;
import io.sinklens.result.Annotation;
import io.sinklens.result.AttentionMaps;
import io.sinklens.result.AttentionRecord;
import io.sinklens.result.AttentionRecord.HeadStatistics;
import io.sinklens.result.AttentionRecord.LayerSinks;
import io.sinklens.result.Outcome;
import io.sinklens.table.AnnotationTable;
import io.sinklens.table.LocalSpark;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Stored attention maps of the bundled model: whose they are and what they hold. */
class SampledMapsTest {
  private static final int QUESTIONS = 18;
  private static final int SAMPLES = 5;

  /** What rounding to float16 can do to a sum of numbers that add up to at most 1. */
  private static final double ROUNDING = 0x1p-11;

  private static final SparkSession SPARK = LocalSpark.session();

  private static final Bundled BUNDLED = Bundled.unpack();

  @TempDir private static Path folder;
  private static List<Annotation> annotations = List.of();

  @BeforeAll
  static void annotate() {
    annotations = run("three", 3, "run.wave-rows=7");
  }

  @AfterAll
  static void delete() {
    BUNDLED.close();
  }

  @Test
  void storesMapsOfTheRowsWithTheSmallestHashesUnderEveryVariantThatLooks() {
    assertThat(annotations).hasSize(3 * QUESTIONS);
    Set<String> ids = annotations.stream().map(Annotation::sampleId).collect(Collectors.toSet());
    Set<String> expected =
        ids.stream()
            .sorted(Comparator.comparing(SampledMapsTest::sha256))
            .limit(SAMPLES)
            .collect(Collectors.toSet());

    assertThat(mapped(annotations, "baseline")).isEqualTo(expected);
    assertThat(mapped(annotations, "var")).isEqualTo(expected);
    assertThat(mapped(annotations, "plain")).isEmpty();
  }

  @Test
  void storesTheSameHoweverTheWorkIsCut() {
    assertSame(run("one", 1));
  }

  @Test
  void storesTheSameInsideAnotherJob() {
    RunSettings settings = settings("unused");
    Dataset<Row> questions = SPARK.read().parquet(settings.input().path());

    List<Annotation> annotated = sorted(Sinklens.annotate(questions, settings));

    assertSame(annotated);
  }

  /** Up to what float32 sums differ by when other rows run beside them. */
  private static void assertSame(List<Annotation> actual) {
    assertThat(actual)
        .usingRecursiveComparison()
        .withEqualsForType(SampledMapsTest::close, Float.class)
        .withEqualsForType(SampledMapsTest::close, Double.class)
        .isEqualTo(annotations);
  }

  private static boolean close(Number a, Number b) {
    double larger = Math.max(Math.abs(a.doubleValue()), Math.abs(b.doubleValue()));
    return Math.abs(a.doubleValue() - b.doubleValue()) <= 1e-5 + ROUNDING * larger;
  }

  @Test
  void sumsUpToTheAttentionOnTheImage() {
    for (Annotation annotation : withMaps()) {
      AttentionRecord attention = attention(annotation);
      AttentionMaps maps = Objects.requireNonNull(attention.maps());
      assertThat(maps.before()).hasSize(attention.headSelection().layers());
      for (HeadStatistics layer : attention.headStatistics()) {
        double mean =
            layer.imageAttention().stream().mapToDouble(Float::doubleValue).average().orElse(-1);
        assertThat(sum(maps.before().get(layer.layer()))).isCloseTo(mean, within(ROUNDING));
      }
    }
  }

  @Test
  void takesFromSinksWhereHeadsWereCorrectedAndChangesNothingElse() {
    int corrected = 0;
    for (Annotation annotation : withMaps()) {
      AttentionRecord attention = attention(annotation);
      AttentionMaps maps = Objects.requireNonNull(attention.maps());
      for (LayerSinks sinks : attention.sinks()) {
        List<Float> before = maps.before().get(sinks.layer());
        List<Float> after = maps.after().get(sinks.layer());
        assertThat(before).hasSize(imageTokens(annotation));
        if (annotation.variant().equals("var") && anySelected(attention, sinks.layer())) {
          assertThat(sum(at(sinks.imagePositions(), after)))
              .isLessThan(sum(at(sinks.imagePositions(), before)));
          assertThat(sum(after)).isGreaterThan(sum(before) - ROUNDING);
          corrected++;
        } else {
          assertThat(after).isEqualTo(before);
        }
      }
      assertThat(maps.after().subList(0, 2)).isEqualTo(maps.before().subList(0, 2));
    }
    assertThat(corrected).isPositive();
  }

  private static List<Annotation> run(String name, int partitions, String... overlays) {
    RunSettings settings = settings(name, overlays);
    new AnnotateJob(new Settings(settings, null, Restart.NOT_ASKED, partitions)).run(SPARK);
    return sorted(SPARK.read().parquet(settings.output().path() + "/annotations"));
  }

  private static RunSettings settings(String output, String... overlays) {
    List<String> all = new ArrayList<>();
    all.add("input.filter=image_id < 'scene-7-000003'");
    all.add("output.keep-columns=[]");
    all.add("generation.max-new-tokens=3");
    all.add("model.dtype=float32");
    all.add("statistics={level: full, samples: %d}".formatted(SAMPLES));
    all.add(
        "variants=[{name: baseline, hook: observe}, {name: plain, hook: none}, {name: var, hook:"
            + " var}]");
    all.addAll(List.of(overlays));
    return BUNDLED.job(folder.resolve(output), all);
  }

  private static List<Annotation> sorted(Dataset<Row> rows) {
    return rows.orderBy("sample_id", "variant").collectAsList().stream()
        .map(AnnotationTable::fromRow)
        .toList();
  }

  private static List<Annotation> withMaps() {
    List<Annotation> mapped =
        annotations.stream()
            .filter(
                annotation ->
                    annotation.outcome() instanceof Outcome.Answered answered
                        && answered.attention() != null
                        && answered.attention().maps() != null)
            .toList();
    assertThat(mapped).hasSize(2 * SAMPLES);
    return mapped;
  }

  private static Set<String> mapped(List<Annotation> annotations, String variant) {
    Set<String> ids = new TreeSet<>();
    for (Annotation annotation : annotations) {
      if (annotation.variant().equals(variant)
          && annotation.outcome() instanceof Outcome.Answered answered
          && answered.attention() != null
          && answered.attention().maps() != null) {
        ids.add(annotation.sampleId());
      }
    }
    return ids;
  }

  private static AttentionRecord attention(Annotation annotation) {
    return Objects.requireNonNull(((Outcome.Answered) annotation.outcome()).attention());
  }

  private static boolean anySelected(AttentionRecord attention, int layer) {
    for (int t = 0; t < attention.headSelection().answerTokens(); t++) {
      for (int h = 0; h < attention.headSelection().heads(); h++) {
        if (attention.headSelection().selected(t, layer, h)) {
          return true;
        }
      }
    }
    return false;
  }

  private static int imageTokens(Annotation annotation) {
    return ((Outcome.Answered) annotation.outcome()).prompt().imageTokenCount();
  }

  private static List<Float> at(List<Integer> positions, List<Float> map) {
    return positions.stream().map(map::get).toList();
  }

  private static double sum(List<Float> numbers) {
    return numbers.stream().mapToDouble(Float::doubleValue).sum();
  }

  private static String sha256(String text) {
    try {
      return HexFormat.of()
          .formatHex(
              MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }
}
