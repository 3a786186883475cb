package io.sinklens.pipeline;

import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/** Cuts a sequence of questions where the image changes, lazily. */
final class ImageGroups implements Iterator<ImageGroups.Group> {
  /**
   * Longer runs of one image are cut, so that a group always fits in memory; each piece computes
   * the image's prefix for itself.
   */
  static final int MAX_QUESTIONS = 4096;

  private final Iterator<Question> questions;
  private boolean begun;
  private @Nullable Question next;
  private String nextHash = "";

  /**
   * Questions on one image.
   *
   * @param imageHash SHA-256 of the image's bytes, empty where there are none
   * @param questions at least one
   */
  record Group(String imageHash, List<Question> questions) {}

  ImageGroups(Iterator<Question> questions) {
    this.questions = questions;
  }

  @Override
  public boolean hasNext() {
    if (!begun) {
      begun = true;
      advance();
    }
    return next != null;
  }

  @Override
  public Group next() {
    if (!hasNext() || next == null) {
      throw new NoSuchElementException();
    }
    String hash = nextHash;
    List<Question> group = new ArrayList<>();
    do {
      group.add(next);
      advance();
    } while (next != null
        && !hash.isEmpty()
        && nextHash.equals(hash)
        && group.size() < MAX_QUESTIONS);
    return new Group(hash, group);
  }

  private void advance() {
    next = questions.hasNext() ? questions.next() : null;
    nextHash = next == null ? "" : hash(next.image());
  }

  private static String hash(ImageSource image) {
    if (!(image instanceof ImageSource.Bytes bytes)) {
      return "";
    }
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.content()));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java has SHA-256", e);
    }
  }
}
