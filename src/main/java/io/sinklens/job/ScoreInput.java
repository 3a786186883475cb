package io.sinklens.job;

import io.sinklens.benchmark.Benchmark;
import io.sinklens.benchmark.Scorer;
import io.sinklens.table.FilePart;
import io.sinklens.table.RowFile;
import io.sinklens.table.RowFile.Splitting;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.jspecify.annotations.Nullable;

/**
 * Predictions that were found fit to be scored.
 *
 * @param parts of files, in their order
 * @param files their paths, in their order
 * @param rows how many there are, or about how many
 * @param layout where rows hold what
 * @param manifest of the run that wrote them, null where they are no annotations of ours
 */
record ScoreInput(
    List<FilePart> parts,
    List<String> files,
    long rows,
    RowLayout layout,
    @Nullable Manifest manifest) {
  /** What is taken of a folder. */
  private static final Pattern NAMES = Pattern.compile(".*\\.(parquet|jsonl|json|ndjson)(\\.gz)?");

  /**
   * Looks for the files.
   *
   * @param path a file, a folder, a pattern, or an output of ours
   * @throws IllegalArgumentException in one line, if there are no rows or columns are missing
   * @throws UncheckedIOException in one line, if something cannot be read
   */
  static ScoreInput find(String path, Benchmark benchmark, Scorer scorer, Configuration hadoop) {
    Finder finder = new Finder(path, hadoop);
    try {
      Optional<Manifest> manifest = finder.manifest();
      return manifest.isPresent()
          ? finder.annotations(manifest.get(), benchmark, scorer)
          : finder.predictions(benchmark, scorer);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot read %s: %s".formatted(path, SparkFailures.oneLine(e)), e);
    }
  }

  /** Looks at one place. */
  private record Finder(String path, Configuration hadoop) {

    /** Of an output of ours; nothing where there is something else. */
    Optional<Manifest> manifest() throws IOException {
      Path file = new Path(path, "manifest.json");
      if (path.matches(".*[*?\\[{].*") || !file.getFileSystem(hadoop).exists(file)) {
        return Optional.empty();
      }
      Optional<Manifest> manifest = new OutputFolder(path, hadoop).manifest();
      if (manifest.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot score %s: its manifest.json is not of an output of this version"
                .formatted(path));
      }
      return manifest;
    }

    ScoreInput annotations(Manifest manifest, Benchmark benchmark, Scorer scorer)
        throws IOException {
      OutputFolder output = new OutputFolder(path, hadoop);
      List<RowFile> files = new ArrayList<>();
      for (int wave : new TreeSet<>(manifest.waveNumbers())) {
        files.addAll(open(list(new Path(output.wavePath(wave))), Splitting.ALLOWED));
      }
      requireRows(files);
      List<String> there = files.get(0).columns(); // All waves have the same.
      Set<String> wanted = new LinkedHashSet<>(scorer.columns());
      wanted.addAll(scorer.optionalColumns());
      AnnotationLayout layout = AnnotationLayout.find(wanted, there, manifest);
      Set<String> missing = new LinkedHashSet<>(scorer.columns());
      missing.removeAll(layout.sources().keySet());
      if (!missing.isEmpty()) {
        List<String> carried = AnnotationLayout.carried(there);
        throw new IllegalArgumentException(
            "Cannot score %s as %s: %s missing; it carries %s; annotate with output.keep-columns"
                .formatted(
                    path,
                    benchmark.name(),
                    named(missing),
                    carried.isEmpty() ? "no columns" : String.join(", ", carried)));
      }
      return of(files, layout, manifest);
    }

    ScoreInput predictions(Benchmark benchmark, Scorer scorer) throws IOException {
      List<RowFile> files =
          open(files(), benchmark.id().isEmpty() ? Splitting.FORBIDDEN : Splitting.ALLOWED);
      requireRows(files);
      Set<String> needed = new LinkedHashSet<>(benchmark.id());
      needed.addAll(scorer.columns());
      needed.add(RowLayout.Predictions.PREDICTION);
      for (RowFile file : files) {
        Set<String> missing = new LinkedHashSet<>(needed);
        missing.removeAll(file.columns());
        if (!missing.isEmpty() && !file.columns().isEmpty()) {
          throw new IllegalArgumentException(
              "Cannot score %s as %s: %s missing; it has %s"
                  .formatted(
                      file.path().replaceFirst("^file:/+", "/"),
                      benchmark.name(),
                      named(missing),
                      String.join(", ", file.columns())));
        }
      }
      needed.addAll(scorer.optionalColumns());
      return of(files, new RowLayout.Predictions(benchmark.id(), needed), null);
    }

    private static String named(Set<String> columns) {
      return columns.size() == 1
          ? "column %s is".formatted(columns.iterator().next())
          : "columns %s are".formatted(String.join(", ", columns));
    }

    private void requireRows(List<RowFile> files) {
      if (files.stream().allMatch(file -> file.parts().isEmpty())) {
        throw noRows(path);
      }
    }

    private static ScoreInput of(
        List<RowFile> files, RowLayout layout, @Nullable Manifest manifest) {
      return new ScoreInput(
          files.stream().flatMap(file -> file.parts().stream()).toList(),
          files.stream().map(RowFile::path).toList(),
          files.stream().mapToLong(RowFile::rows).sum(),
          layout,
          manifest);
    }

    private List<FileStatus> files() throws IOException {
      Path pattern = new Path(path);
      FileStatus[] found = pattern.getFileSystem(hadoop).globStatus(pattern);
      if (found == null || found.length == 0) {
        throw new FileNotFoundException("no such file");
      }
      List<FileStatus> files = new ArrayList<>();
      for (FileStatus each : found) {
        files.addAll(each.isDirectory() ? list(each.getPath()) : List.of(each));
      }
      if (files.isEmpty()) {
        throw new FileNotFoundException("no Parquet or JSONL files are there");
      }
      return files;
    }

    /** What lies in a folder and below, in the order of names. */
    private List<FileStatus> list(Path folder) throws IOException {
      FileSystem system = folder.getFileSystem(hadoop);
      String root = system.makeQualified(folder).toString();
      List<FileStatus> files = new ArrayList<>();
      RemoteIterator<LocatedFileStatus> all = system.listFiles(folder, true);
      while (all.hasNext()) {
        FileStatus file = all.next();
        String below = file.getPath().toString().substring(root.length());
        if (NAMES.matcher(below).matches() && !Pattern.matches(".*/[._].*", below)) {
          files.add(file);
        }
      }
      files.sort(Comparator.comparing(FileStatus::getPath));
      return files;
    }

    private List<RowFile> open(List<FileStatus> files, Splitting splitting) {
      return files.stream().map(file -> RowFile.open(file, splitting, hadoop)).toList();
    }
  }

  static IllegalArgumentException noRows(String path) {
    return new IllegalArgumentException("Cannot score %s: it has no rows".formatted(path));
  }
}
