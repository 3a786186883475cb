package io.sinklens.table;

import io.sinklens.dataset.Failure;
import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.ImageSource;
import io.sinklens.dataset.Question;
import io.sinklens.dataset.RowFailedException;
import java.util.List;
import org.apache.spark.sql.Row;
import org.jspecify.annotations.Nullable;

/**
 * Makes questions of the rows of a {@link QuestionTable}, reading image files where rows hold
 * paths. For one thread; remembers the last file, since rows of an image follow each other.
 *
 * <p>A mask that cannot be read is no mask: it says something about the answer, and is not needed
 * for it.
 */
public final class QuestionReader {
  private final ImageFiles files;
  private @Nullable String lastPath;
  private @Nullable ImageSource lastImage;

  public QuestionReader(ImageFiles files) {
    this.files = files;
  }

  /** The question of a row. */
  public Question read(Row row) {
    List<String> answers = row.getList(row.fieldIndex("answers"));
    return new Question(
        row.getString(row.fieldIndex(QuestionTable.SAMPLE_ID)),
        row.getString(row.fieldIndex("image_id")),
        image(row),
        row.getString(row.fieldIndex("question")),
        answers,
        mask(row),
        row.getBoolean(row.fieldIndex(QuestionTable.SAMPLED)));
  }

  private ImageSource image(Row row) {
    int count = row.getInt(row.fieldIndex("image_count"));
    if (count > 1) {
      return unavailable(
          FailureKind.UNSUPPORTED_INPUT, "The row has %d images, not one".formatted(count));
    }
    byte[] bytes = (byte[]) row.get(row.fieldIndex("image_bytes"));
    if (bytes != null) {
      return new ImageSource.Bytes(bytes);
    }
    String path = row.getString(row.fieldIndex("image_path"));
    if (path == null) {
      return unavailable(FailureKind.IMAGE_MISSING, "The row has no image");
    }
    if (lastImage == null || !path.equals(lastPath)) {
      lastPath = path;
      lastImage = file(path);
    }
    return lastImage;
  }

  private ImageSource file(String path) {
    try {
      return new ImageSource.Bytes(files.read(path));
    } catch (RowFailedException e) {
      return new ImageSource.Unavailable(e.failure());
    }
  }

  private ImageSource.@Nullable Bytes mask(Row row) {
    byte[] bytes = (byte[]) row.get(row.fieldIndex("mask_bytes"));
    if (bytes != null) {
      return new ImageSource.Bytes(bytes);
    }
    String path = row.getString(row.fieldIndex("mask_path"));
    return path != null && file(path) instanceof ImageSource.Bytes file ? file : null;
  }

  private static ImageSource unavailable(FailureKind kind, String message) {
    return new ImageSource.Unavailable(new Failure(kind, message));
  }
}
