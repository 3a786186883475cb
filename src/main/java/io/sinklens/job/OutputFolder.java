package io.sinklens.job;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.apache.hadoop.fs.Options.CreateFileOptionKeys.FS_OPTION_CREATE_CONDITIONAL_OVERWRITE;
import static org.apache.hadoop.fs.Options.CreateFileOptionKeys.FS_OPTION_CREATE_CONDITIONAL_OVERWRITE_ETAG;

import io.sinklens.pipeline.Addresses;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CommonPathCapabilities;
import org.apache.hadoop.fs.EtagSource;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Options.Rename;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/** The folder that a run writes: its waves, its manifest, and the file that says it is done. */
final class OutputFolder {
  private static final String ANNOTATIONS = "annotations";
  private static final String MANIFEST = "manifest.json";
  private static final String LEASE = "_lease";

  /** What a run writes before it takes a file's name; its run is part of the name. */
  private static final Pattern DRAFT = Pattern.compile("\\.(manifest\\.json|_lease)(\\..*)?\\.new");

  private static final String SUCCESS = "_SUCCESS";

  /** Tries to read what is replaced again and again, seconds apart. */
  private static final int READS = 3;

  /** What the demo adds; ours only beside a manifest, for others may call a picture so. */
  static final String CONTACT_SHEET = "contact-sheet.png";

  /** All that a run may leave here; a folder with anything else is somebody's, and stays. */
  private static final Set<String> OURS = Set.of(ANNOTATIONS, MANIFEST, LEASE, SUCCESS, "samples");

  private final String shown;
  private final Path folder;
  private final Configuration hadoop;

  OutputFolder(String path, Configuration hadoop) {
    this.shown = Addresses.withoutSecrets(path);
    this.folder = new Path(path);
    this.hadoop = hadoop;
  }

  String wavePath(int wave) {
    return new Path(annotations(), waveName(wave)).toString();
  }

  private static String waveName(int wave) {
    return String.format(Locale.ROOT, "wave=%05d", wave);
  }

  String annotationsPath() {
    return annotations().toString();
  }

  private Path annotations() {
    return new Path(folder, ANNOTATIONS);
  }

  /** Whether a path is this folder or lies in it. */
  boolean holds(Path path) {
    try {
      String here = files().makeQualified(folder).toUri().toString();
      String other = path.getFileSystem(hadoop).makeQualified(path).toUri().toString();
      return other.equals(here) || other.startsWith(here + "/");
    } catch (IOException e) {
      throw unreachable(e);
    }
  }

  /** Whether the path is taken by a file. */
  boolean isFile() {
    try {
      return files().getFileStatus(folder).isFile();
    } catch (FileNotFoundException e) {
      return false;
    } catch (IOException e) {
      throw unreachable(e);
    }
  }

  /** Names that are not of a run of ours. */
  List<String> foreign() {
    List<String> foreign = new ArrayList<>();
    boolean manifest = entries().stream().anyMatch(OutputFolder::isManifest);
    for (FileStatus entry : entries()) {
      String name = entry.getPath().getName();
      if (name.equals(ANNOTATIONS) && entry.isDirectory()) {
        for (FileStatus wave : list(entry.getPath())) {
          if (!wave.getPath().getName().matches("wave=[0-9]{5,}|_.*|\\..*\\.crc")) {
            foreign.add(ANNOTATIONS + "/" + wave.getPath().getName());
          }
        }
      } else if (!isOurs(name.replaceFirst("^\\.(.*)\\.crc$", "$1"))
          && !(manifest && name.equals(CONTACT_SHEET) && entry.isFile())) {
        foreign.add(name);
      }
    }
    return foreign;
  }

  private static boolean isOurs(String name) {
    return OURS.contains(name) || DRAFT.matcher(name).matches();
  }

  /** The manifest that lies here; nothing where there is none that this version could write. */
  Optional<Manifest> manifest() {
    return read(MANIFEST).flatMap(Manifest::read);
  }

  /** What the lease says that lies here, or nothing. */
  String lease() {
    return read(LEASE).orElse("");
  }

  private Optional<String> read(String name) {
    return read(name, READS);
  }

  private Optional<String> read(String name, int tries) {
    try (InputStream content = plainFiles().open(new Path(folder, name))) {
      return Optional.of(new String(content.readAllBytes(), UTF_8));
    } catch (FileNotFoundException e) {
      return Optional.empty();
    } catch (IOException e) {
      if (tries > 1 && isReplacedMeanwhile(e)) {
        return read(name, tries - 1);
      }
      throw new UncheckedIOException(
          "Cannot read %s in %s: %s".formatted(name, shown, SparkFailures.oneLine(e)), e);
    }
  }

  /** Of a lease that is renewed between S3A's look at it and its read; S3A may not be there. */
  private static boolean isReplacedMeanwhile(IOException e) {
    return e.getClass().getSimpleName().equals("RemoteFileChangedException");
  }

  /** Whether waves, or a manifest of whatever kind, lie here: more than a run that hardly began. */
  boolean hasResults() {
    return entries().stream()
        .map(entry -> entry.getPath().getName())
        .anyMatch(name -> name.equals(ANNOTATIONS) || name.equals(MANIFEST));
  }

  /** Whether the write of a wave has ended well. */
  boolean hasWave(int wave) {
    try {
      return files().exists(new Path(wavePath(wave), SUCCESS));
    } catch (IOException e) {
      throw unreachable(e);
    }
  }

  /**
   * Deletes what runs of ours have left, but for manifest, lease and some waves.
   *
   * @throws RunLease.LostException when that is another run's business now
   */
  void keepOnly(Set<Integer> waves, RunLease lease) {
    lease.requireHeld();
    if (!foreign().isEmpty()) {
      throw new IllegalStateException("Cannot clear %s: it holds %s".formatted(shown, foreign()));
    }
    Set<String> kept = waves.stream().map(OutputFolder::waveName).collect(Collectors.toSet());
    try {
      for (FileStatus entry : entries()) {
        if (entry.getPath().getName().equals(ANNOTATIONS) && !kept.isEmpty()) {
          for (FileStatus wave : list(entry.getPath())) {
            if (!kept.contains(wave.getPath().getName())) {
              files().delete(wave.getPath(), true);
            }
          }
        } else if (!Set.of(MANIFEST, LEASE).contains(name(entry))) {
          files().delete(entry.getPath(), true);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot clear output.path %s: %s".formatted(shown, SparkFailures.oneLine(e)), e);
    }
  }

  /** Replaces the manifest as a whole: a reader sees the old one or the new one. */
  void write(Manifest manifest, RunLease lease) {
    replace(MANIFEST, manifest.toJson(), lease);
  }

  /** Replaces the lease. */
  void writeLease(RunLease lease, String content) {
    replace(LEASE, content, lease);
  }

  private void replace(String name, String content, RunLease lease) {
    Path target = new Path(folder, name);
    byte[] bytes = content.getBytes(UTF_8);
    try {
      // An object of a store appears when its stream is closed, and is renamed by copying.
      if (files().hasPathCapability(folder, CommonPathCapabilities.ABORTABLE_STREAM)) {
        put(target, bytes, lease);
      } else {
        rename(bytes, target, lease);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot write %s in %s: %s".formatted(name, shown, SparkFailures.oneLine(e)), e);
    }
  }

  /**
   * Puts an object in the place of the one that is there now, and of no other where the store can
   * be told so: a writer that slept since it looked at its lease replaces nothing of a successor's.
   */
  private void put(Path target, byte[] content, RunLease lease) throws IOException {
    FSDataOutputStreamBuilder<?, ?> builder = files().createFile(target).overwrite(true);
    if (files().hasPathCapability(folder, FS_OPTION_CREATE_CONDITIONAL_OVERWRITE_ETAG)) {
      String etag = etag(target);
      if (etag.isEmpty()) {
        builder.must(FS_OPTION_CREATE_CONDITIONAL_OVERWRITE, true);
      } else {
        builder.must(FS_OPTION_CREATE_CONDITIONAL_OVERWRITE_ETAG, etag);
      }
    }
    FSDataOutputStream object = builder.build();
    try {
      object.write(content);
      lease.requireHeld();
    } catch (IOException | RuntimeException e) {
      object.abort();
      throw e;
    }
    try {
      object.close();
    } catch (IOException e) {
      // A request that is tried again is refused when it was carried out and its answer was lost.
      if (!read(target.getName()).equals(Optional.of(new String(content, UTF_8)))) {
        lease.requireHeld();
        throw e;
      }
    }
  }

  /** What names an object's content in its store; empty if it is not there. */
  private String etag(Path object) throws IOException {
    try {
      return files().getFileStatus(object) instanceof EtagSource source
          ? Objects.requireNonNullElse(source.getEtag(), "")
          : "";
    } catch (FileNotFoundException e) {
      return "";
    }
  }

  /**
   * Writes a draft, looks whether the lease still holds, and gives the draft the file's name. A run
   * that takes over deletes drafts before it reads anything: one whose writer slept since it looked
   * cannot take the name any more.
   */
  private void rename(byte[] content, Path target, RunLease lease) throws IOException {
    FileSystem files = plainFiles();
    Path draft = new Path(folder, ".%s.%s.new".formatted(target.getName(), lease.run()));
    try (OutputStream file = files.create(draft, true)) {
      file.write(content);
    }
    lease.requireHeld();
    if (files instanceof RawLocalFileSystem) {
      if (!files.rename(draft, target)) { // One step here; what others do first deletes the target.
        throw new IOException("Cannot rename " + draft.getName());
      }
    } else {
      FileContext.getFileContext(files.makeQualified(folder).toUri(), hadoop)
          .rename(draft, target, Rename.OVERWRITE);
    }
  }

  /** Deletes what other runs were about to put in place of a manifest or a lease. */
  void deleteDraftsOfOthers(RunLease lease) {
    for (FileStatus entry : entries()) {
      if (DRAFT.matcher(name(entry)).matches() && !name(entry).contains(lease.run())) {
        delete(entry.getPath());
      }
    }
  }

  void deleteLease() {
    delete(new Path(folder, LEASE));
  }

  /** Deletes a wave that does not count. */
  void deleteWave(int wave) {
    delete(new Path(wavePath(wave)));
  }

  private void delete(Path path) {
    try {
      files().delete(path, true);
    } catch (IOException e) {
      throw unreachable(e);
    }
  }

  void markComplete() {
    try {
      files().create(new Path(folder, SUCCESS), true).close();
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot write output.path %s: %s".formatted(shown, SparkFailures.oneLine(e)), e);
    }
  }

  private static boolean isManifest(FileStatus entry) {
    return name(entry).equals(MANIFEST);
  }

  private static String name(FileStatus entry) {
    return entry.getPath().getName();
  }

  private List<FileStatus> entries() {
    return list(folder);
  }

  private List<FileStatus> list(Path path) {
    try {
      return List.of(files().listStatus(path));
    } catch (FileNotFoundException e) {
      return List.of();
    } catch (IOException e) {
      throw unreachable(e);
    }
  }

  private UncheckedIOException unreachable(IOException e) {
    return new UncheckedIOException(
        "Cannot reach output.path %s: %s".formatted(shown, SparkFailures.oneLine(e)), e);
  }

  /** Without checksums in files of their own, which cannot be replaced together with ours. */
  private FileSystem plainFiles() throws IOException {
    return files() instanceof LocalFileSystem local ? local.getRaw() : files();
  }

  private FileSystem files() throws IOException {
    return folder.getFileSystem(hadoop);
  }

  /** As it may be shown. */
  @Override
  public String toString() {
    return shown;
  }
}
