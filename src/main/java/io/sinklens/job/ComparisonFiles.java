package io.sinklens.job;

import io.sinklens.benchmark.BenchmarkComparison;
import io.sinklens.benchmark.PairedTest;
import io.sinklens.benchmark.PublishedNumber;
import io.sinklens.benchmark.VariantComparison;
import io.sinklens.benchmark.VariantComparison.Difference;
import io.sinklens.report.ComparisonReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.jspecify.annotations.Nullable;

/** Comparisons as they are stored: for people, for programs, and as a table. */
record ComparisonFiles(List<BenchmarkComparison> comparisons, int resamples, long seed) {
  private static final MessageType SCHEMA =
      MessageTypeParser.parseMessageType(
          "message comparison {"
              + " required binary benchmark (STRING);"
              + " required binary mode (STRING);"
              + " required binary baseline_variant (STRING);"
              + " required binary variant (STRING);"
              + " required binary number (STRING);"
              + " optional double baseline;"
              + " optional double value;"
              + " optional double difference;"
              + " optional double low;"
              + " optional double high;"
              + " required int64 rows;"
              + " required int64 clusters;"
              + " required binary test (STRING);"
              + " required double p;"
              + " required double p_holm;"
              + " required boolean significant;"
              + " optional binary published_source (STRING);"
              + " optional double published_baseline;"
              + " optional double published_var; }");

  CompareJob.Result write(Path folder) throws IOException {
    List<String> markdown = ComparisonReport.markdown(comparisons, resamples, seed);
    Path text = folder.resolve("comparison.md");
    Files.write(text, markdown);
    Path json = folder.resolve("comparison.json");
    Map<String, Object> values = values();
    Files.writeString(json, Manifest.tree(values).toPrettyString() + "\n");
    Path table = folder.resolve("comparison.parquet");
    writeTable(table);
    return new CompareJob.Result(markdown, values, List.of(text, json, table));
  }

  private Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put("resamples", resamples);
    values.put("seed", seed);
    values.put("confidence", 0.95);
    values.put("significance", PairedTest.SIGNIFICANCE);
    values.put("comparisons", comparisons.stream().map(ComparisonFiles::values).toList());
    return values;
  }

  private static Map<String, @Nullable Object> values(BenchmarkComparison each) {
    VariantComparison comparison = each.comparison();
    Map<String, @Nullable Object> values = new LinkedHashMap<>();
    values.put("benchmark", each.benchmark());
    values.put("mode", each.mode());
    values.put("baseline", each.baseline());
    values.put("variant", each.variant());
    values.put("rows", comparison.rows());
    values.put("clusters", comparison.clusters());
    List<Map<String, @Nullable Object>> numbers = new ArrayList<>();
    comparison.numbers().forEach((name, number) -> numbers.add(values(each, name, number)));
    values.put("numbers", numbers);
    Map<String, @Nullable Object> test = new LinkedHashMap<>();
    test.put("name", comparison.test().name());
    if (comparison.test().counts() != null) {
      test.put("only_baseline_right", comparison.test().counts().onlyFirstRight());
      test.put("only_variant_right", comparison.test().counts().onlySecondRight());
    }
    test.put("p", comparison.test().pValue());
    test.put("p_holm", each.adjustedPValue());
    test.put("significant", each.isSignificant());
    values.put("test", test);
    return values;
  }

  private static Map<String, @Nullable Object> values(
      BenchmarkComparison each, String name, Difference number) {
    Map<String, @Nullable Object> values = new LinkedHashMap<>();
    values.put("number", name);
    values.put("baseline", finite(number.first()));
    values.put("value", finite(number.second()));
    values.put("difference", finite(number.value()));
    values.put("low", number.low());
    values.put("high", number.high());
    List<Map<String, @Nullable Object>> published = new ArrayList<>();
    for (PublishedNumber of : each.published(name)) {
      Map<String, @Nullable Object> line = new LinkedHashMap<>();
      line.put("source", of.source());
      line.put("model", of.model());
      line.put("split", of.split());
      line.put("baseline", of.baseline());
      line.put("var", each.isVar() ? of.var() : null);
      published.add(line);
    }
    values.put("published", published);
    return values;
  }

  private static @Nullable Double finite(double value) {
    return Double.isFinite(value) ? value : null;
  }

  private void writeTable(Path file) throws IOException {
    try (ParquetWriter<Group> table =
        ParquetFile.create(file.toUri().toString(), SCHEMA, new Configuration())) {
      for (BenchmarkComparison each : comparisons) {
        for (Map.Entry<String, Difference> number : each.comparison().numbers().entrySet()) {
          table.write(row(each, number.getKey(), number.getValue()));
        }
      }
    }
  }

  private static Group row(BenchmarkComparison each, String name, Difference number) {
    VariantComparison comparison = each.comparison();
    Group row =
        new SimpleGroup(SCHEMA)
            .append("benchmark", each.benchmark())
            .append("mode", each.mode())
            .append("baseline_variant", each.baseline())
            .append("variant", each.variant())
            .append("number", name)
            .append("rows", (long) comparison.rows())
            .append("clusters", (long) comparison.clusters())
            .append("test", comparison.test().name())
            .append("p", comparison.test().pValue())
            .append("p_holm", each.adjustedPValue())
            .append("significant", each.isSignificant());
    append(row, "baseline", number.first());
    append(row, "value", number.second());
    append(row, "difference", number.value());
    append(row, "low", number.low());
    append(row, "high", number.high());
    List<PublishedNumber> published = each.published(name);
    if (!published.isEmpty()) {
      row.append("published_source", published.get(0).source());
      append(row, "published_baseline", published.get(0).baseline());
      append(row, "published_var", each.isVar() ? published.get(0).var() : null);
    }
    return row;
  }

  private static void append(Group row, String column, @Nullable Double value) {
    if (value != null && Double.isFinite(value)) {
      row.append(column, value);
    }
  }
}
