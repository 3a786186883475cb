package io.sinklens.benchmark;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * A number that others have published, to be held against one's own: of {@code published.csv},
 * where they stand as they were printed.
 *
 * @param source who says so
 * @param model such as {@code llava-1.5-7b}
 * @param benchmark its name
 * @param mode in which it was scored
 * @param number its name in the summary
 * @param split of the benchmark it was measured on
 * @param baseline the model as it is, in the unit of the summary
 * @param var with VAR, or null where that was not measured
 */
public record PublishedNumber(
    String source,
    String model,
    String benchmark,
    String mode,
    String number,
    String split,
    double baseline,
    @Nullable Double var) {
  private static final String FILE = "published.csv";
  private static final int FIELDS = 9;

  private static final List<PublishedNumber> ALL = read();

  /** All that are known, in the order of the file. */
  public static List<PublishedNumber> all() {
    return ALL;
  }

  private static List<PublishedNumber> read() {
    List<PublishedNumber> all = new ArrayList<>();
    try (InputStream file = PublishedNumber.class.getResourceAsStream(FILE);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(file, StandardCharsets.UTF_8))) {
      lines.readLine(); // Names of the fields.
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        all.add(of(line.split(",", FIELDS)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + FILE, e);
    }
    return List.copyOf(all);
  }

  private static PublishedNumber of(String[] fields) {
    double scale = Double.parseDouble(fields[5]); // 100 for what is printed in percent.
    return new PublishedNumber(
        fields[0],
        fields[1],
        fields[2],
        fields[3],
        fields[4],
        fields[6],
        Double.parseDouble(fields[7]) / scale,
        fields[8].isEmpty() ? null : Double.parseDouble(fields[8]) / scale);
  }

  /**
   * Refuses a model of which nothing is known.
   *
   * @throws IllegalArgumentException naming those of which something is
   */
  public static void requireModel(String model) {
    TreeSet<String> models = new TreeSet<>();
    all().forEach(each -> models.add(each.model()));
    if (!models.contains(model)) {
      throw new IllegalArgumentException(
          "Nothing is published of model %s: use one of %s"
              .formatted(model, String.join(", ", models)));
    }
  }
}
