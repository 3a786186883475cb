package io.sinklens.pipeline;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.checkpoint.CacheFolder;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.DigestInputStream;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

/**
 * Copies of checkpoints that lie elsewhere, made once and kept on this machine for the next run.
 *
 * <p>A copy has a folder of its own, named after address, names, sizes and versions of the files: a
 * checkpoint that changes gets another. The folder appears under its name only when all of it is
 * there, and is then never written to. One process copies while others wait for it. Deleting the
 * cache is always safe.
 *
 * @param folder where copies are; made when needed
 */
public record CheckpointCache(Path folder) {
  private static final String CONFIG = "config.json";

  /** Lists the files of a copy; not a name that a checkpoint has. */
  private static final String INDEX = ".sinklens-files.json";

  private static final int BUFFER_BYTES = 1 << 20;
  private static final long MILLIS_BETWEEN_LOOKS = 100;
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Where a checkpoint lies. */
  public interface Source {
    /**
     * Its files, and those of the folders in it.
     *
     * @throws FileNotFoundException where there is no such folder
     */
    List<RemoteFile> files() throws IOException;

    InputStream open(String name) throws IOException;
  }

  /**
   * A file that can be copied.
   *
   * @param name below the checkpoint's folder, with slashes
   * @param size in bytes
   * @param version changes when the content does: an ETag, or when it was written
   */
  public record RemoteFile(String name, long size, String version) {
    private String folder() {
      return name.substring(0, name.lastIndexOf('/') + 1);
    }
  }

  /**
   * A file that was copied.
   *
   * @param sha256 of its content
   * @param modified when the copy was written, in milliseconds since 1970
   */
  private record CopiedFile(String name, long size, String sha256, long modified) {}

  /** In the folder that this machine keeps such things in. */
  public static CheckpointCache standard() {
    return new CheckpointCache(CacheFolder.standard().resolve("checkpoints"));
  }

  /**
   * The folder of a whole and sound copy, made if it is not there.
   *
   * @param address where the checkpoint lies, for messages and to name the copy
   * @throws IllegalArgumentException in one line, if there is no checkpoint or no room for it
   * @throws UncheckedIOException in one line, if it cannot be read
   */
  public Path copyOf(String address, Source source) {
    String shown = Addresses.withoutSecrets(address);
    try {
      List<RemoteFile> files = wanted(source.files());
      if (files.stream().noneMatch(file -> file.name().equals(CONFIG))) {
        throw new IllegalArgumentException(
            "Cannot open checkpoint %s: it has no config.json".formatted(shown));
      }
      Files.createDirectories(folder);
      Path copy = folder.resolve(name(address, files));
      Path lock = folder.resolve(copy.getFileName() + ".lock");
      try (FileChannel channel =
          FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        lockUntilClosed(channel);
        if (!isSound(copy, files)) {
          make(copy, files, source);
        }
      }
      return copy;
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException(
          "Cannot open checkpoint %s: there is no such folder".formatted(shown), e);
    } catch (IOException | UncheckedIOException e) {
      String reason = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
      throw new UncheckedIOException(
          "Cannot read checkpoint %s: %s".formatted(shown, Addresses.withoutSecrets(reason)),
          new IOException(e));
    }
  }

  /**
   * What a checkpoint is read from: settings, tokenizer and weights, of the latter not those in
   * pickles where others are. Of folders in it, those that are checkpoints.
   */
  private static List<RemoteFile> wanted(List<RemoteFile> files) {
    List<String> folders =
        files.stream()
            .filter(file -> file.name().equals(file.folder() + CONFIG))
            .map(RemoteFile::folder)
            .toList();
    List<String> safe =
        files.stream()
            .filter(file -> file.name().endsWith(".safetensors"))
            .map(RemoteFile::folder)
            .toList();
    return files.stream()
        .filter(file -> folders.contains(file.folder()))
        .filter(
            file ->
                file.name().matches(".*\\.(json|model|safetensors)")
                    || (file.name().endsWith(".bin") && !safe.contains(file.folder())))
        .sorted(Comparator.comparing(RemoteFile::name))
        .toList();
  }

  /** The last name of the address, for people, and what tells this checkpoint from others. */
  private static String name(String address, List<RemoteFile> files) {
    MessageDigest digest = digest("SHA-256");
    digest.update(address.getBytes(StandardCharsets.UTF_8));
    for (RemoteFile file : files) {
      digest.update(
          "\n%s %d %s"
              .formatted(file.name(), file.size(), file.version())
              .getBytes(StandardCharsets.UTF_8));
    }
    String last = Addresses.withoutSecrets(address).replaceFirst("/+$", "").replaceFirst(".*/", "");
    return last.replaceAll("[^A-Za-z0-9._-]", "_")
        + "-"
        + HexFormat.of().formatHex(digest.digest(), 0, 16);
  }

  private static void lockUntilClosed(FileChannel channel) throws IOException {
    while (true) {
      try {
        channel.lock();
        return;
      } catch (OverlappingFileLockException e) { // Another thread of this process has it.
        try {
          Thread.sleep(MILLIS_BETWEEN_LOOKS);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw new IOException("interrupted while another thread copied it", interrupted);
        }
      }
    }
  }

  /** Whether a copy holds these files as they were copied; content is read where it was touched. */
  private static boolean isSound(Path copy, List<RemoteFile> files) throws IOException {
    Path index = copy.resolve(INDEX);
    if (!Files.isRegularFile(index)) {
      return false;
    }
    List<CopiedFile> copied;
    try {
      copied = List.of(JSON.readValue(index.toFile(), CopiedFile[].class));
    } catch (JsonProcessingException e) {
      return false;
    }
    if (!copied.stream()
        .map(CopiedFile::name)
        .toList()
        .equals(files.stream().map(RemoteFile::name).toList())) {
      return false;
    }
    for (CopiedFile each : copied) {
      Path file = copy.resolve(each.name());
      if (!Files.isRegularFile(file)
          || Files.size(file) != each.size()
          || (Files.getLastModifiedTime(file).toMillis() != each.modified()
              && !sha256(file).equals(each.sha256()))) {
        return false;
      }
    }
    return true;
  }

  private void make(Path copy, List<RemoteFile> files, Source source) throws IOException {
    Path fresh = folder.resolve(copy.getFileName() + ".new"); // Ours: we hold the lock.
    delete(fresh);
    delete(copy); // Who has mapped its files keeps them.
    Files.createDirectories(fresh);
    long bytes = files.stream().mapToLong(RemoteFile::size).sum();
    long free = Files.getFileStore(fresh).getUsableSpace();
    if (free < bytes) {
      throw new IllegalArgumentException(
          ("Cannot copy the checkpoint to %s: %d bytes are needed, %d are free "
                  + "(another folder can be given as SINKLENS_CACHE)")
              .formatted(folder, bytes, free));
    }
    List<CopiedFile> copied =
        files.parallelStream().map(file -> copy(file, source, fresh)).toList();
    Files.writeString(fresh.resolve(INDEX), JSON.writeValueAsString(copied));
    Files.move(fresh, copy, StandardCopyOption.ATOMIC_MOVE);
  }

  private static CopiedFile copy(RemoteFile file, Source source, Path folder) {
    Path target = folder.resolve(file.name());
    MessageDigest sha256 = digest("SHA-256");
    try {
      Files.createDirectories(target.getParent());
      try (InputStream content = source.open(file.name());
          OutputStream copy = new DigestOutputStream(Files.newOutputStream(target), sha256)) {
        byte[] buffer = new byte[BUFFER_BYTES];
        for (int read = content.read(buffer); read >= 0; read = content.read(buffer)) {
          copy.write(buffer, 0, read);
        }
      }
      if (Files.size(target) != file.size()) {
        throw new IOException(
            "of the %d bytes of %s came %d"
                .formatted(file.size(), file.name(), Files.size(target)));
      }
      try (FileChannel channel = FileChannel.open(target, StandardOpenOption.WRITE)) {
        channel.force(true);
      }
      return new CopiedFile(
          file.name(),
          file.size(),
          HexFormat.of().formatHex(sha256.digest()),
          Files.getLastModifiedTime(target).toMillis());
    } catch (IOException e) {
      throw new UncheckedIOException(e.getMessage(), e); // Out of the stream of files.
    }
  }

  private static String sha256(Path file) throws IOException {
    MessageDigest digest = digest("SHA-256");
    try (InputStream content = new DigestInputStream(Files.newInputStream(file), digest)) {
      content.transferTo(OutputStream.nullOutputStream());
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java has " + algorithm, e);
    }
  }

  private static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    List<Path> paths;
    try (Stream<Path> all = Files.walk(folder)) {
      paths = all.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : paths) {
      Files.delete(path);
    }
  }
}
