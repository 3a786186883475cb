package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows are scored and summed up as the published scripts do it; see {@code scorer_golden.py}. */
class GoldenScorersTest {
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.USE_LONG_FOR_INTS);
  private static final double TOLERANCE = 1e-9;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "chair",
        "cv-bench",
        "gqa",
        "mme",
        "mmvp",
        "pope",
        "scienceqa",
        "textvqa",
        "vizwiz",
        "vqav2"
      })
  void scoresAsThePublishedScripts(String name) {
    List<JsonNode> lines = lines(name);
    List<JsonNode> rows = lines.subList(1, lines.size());
    assertThat(rows).hasSizeGreaterThanOrEqualTo(2000);
    Benchmark benchmark = Benchmarks.named(name);
    JsonNode summaries = lines.get(0).get("summaries");
    assertThat(summaries.fieldNames())
        .toIterable()
        .containsExactlyInAnyOrderElementsOf(benchmark.scorers().keySet());
    benchmark
        .scorers()
        .forEach(
            (mode, scorer) -> {
              Map<String, Object> summary = scorer.summary(tally(scorer, mode, rows));
              summaries
                  .get(mode)
                  .properties()
                  .forEach(
                      entry ->
                          same(
                              name + " " + mode + " " + entry.getKey(),
                              entry.getValue(),
                              summary.get(entry.getKey())));
            });
  }

  private static Tally tally(Scorer scorer, String mode, List<JsonNode> rows) {
    Tally tally = new Tally();
    Map<String, List<RowScore>> pairs = new LinkedHashMap<>();
    for (JsonNode row : rows) {
      JsonNode expected = row.get("scores").get(mode);
      if (expected == null) {
        continue; // the script was not asked
      }
      BenchmarkRow asked = asked(row);
      if (expected.isNull()) {
        assertThatThrownBy(() -> scorer.score(asked))
            .as("%s of %s", mode, row)
            .isInstanceOf(UnscorableRowException.class)
            .hasMessageContaining(asked.id());
        continue;
      }
      RowScore score = scorer.score(asked);
      assertThat(score.score())
          .as("%s of %s, taken for %s", mode, row, score.parsed())
          .isCloseTo(expected.doubleValue(), within(TOLERANCE));
      JsonNode parsed = row.path("parsed").get(mode);
      if (parsed != null) {
        assertThat(score.parsed()).as("%s of %s", mode, row).isEqualTo(parsed.textValue());
      }
      tally.add(score.counts());
      if (score.pair() != null) {
        pairs.computeIfAbsent(score.pair(), pair -> new ArrayList<>()).add(score);
      }
    }
    pairs.values().forEach(pair -> tally.add(scorer.scorePair(pair)));
    return tally;
  }

  private static BenchmarkRow asked(JsonNode row) {
    Map<String, Object> columns = new HashMap<>();
    row.get("columns")
        .properties()
        .forEach(column -> columns.put(column.getKey(), plain(column.getValue())));
    JsonNode prediction = row.get("prediction");
    return new BenchmarkRow(
        row.get("id").textValue(), columns, prediction == null ? null : prediction.textValue());
  }

  private static Object plain(JsonNode value) {
    return Objects.requireNonNull(JSON.convertValue(value, Object.class));
  }

  /** What the script prints must be there, and of a table nothing else. */
  private static void same(String where, JsonNode expected, @Nullable Object actual) {
    if (expected.isObject()) {
      assertThat(actual).as(where).isInstanceOf(Map.class);
      Map<?, ?> table = (Map<?, ?>) Objects.requireNonNull(actual);
      assertThat(table).as(where).hasSize(expected.size());
      expected
          .properties()
          .forEach(
              entry ->
                  same(where + " " + entry.getKey(), entry.getValue(), table.get(entry.getKey())));
    } else {
      assertThat(actual).as(where).isInstanceOf(Number.class);
      assertThat(((Number) Objects.requireNonNull(actual)).doubleValue())
          .as(where)
          .isCloseTo(expected.doubleValue(), within(TOLERANCE));
    }
  }

  private static List<JsonNode> lines(String name) {
    String file = "/golden/benchmarks/" + name + ".jsonl.gz";
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(
                    Objects.requireNonNull(
                        GoldenScorersTest.class.getResourceAsStream(file), file)),
                StandardCharsets.UTF_8))) {
      List<JsonNode> lines = new ArrayList<>();
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        lines.add(JSON.readTree(line));
      }
      return lines;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
