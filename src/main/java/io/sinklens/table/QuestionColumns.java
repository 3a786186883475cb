package io.sinklens.table;

import java.io.Serializable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which columns of an input mean what. Nested columns are written {@code a.b}.
 *
 * @param id columns that together identify a row; empty for what {@code unnamed} says
 * @param unnamed what identifies rows without id columns
 * @param image image bytes, {@code struct<bytes, path>}, a path, or an array of one of these
 * @param imageId what identifies the image, or null
 * @param question the question
 * @param answers reference answers, strings or arrays of strings
 * @param mask segmentation mask, as the image is stored, or null
 * @param carried columns to carry along, in this order
 * @param imageKeys what tells equal images
 */
public record QuestionColumns(
    List<String> id,
    UnnamedRows unnamed,
    String image,
    @Nullable String imageId,
    String question,
    List<String> answers,
    @Nullable String mask,
    List<String> carried,
    ImageKeys imageKeys)
    implements Serializable {

  public QuestionColumns {
    id = List.copyOf(id);
    answers = List.copyOf(answers);
    carried = List.copyOf(carried);
  }

  /** What brings rows on one image together. */
  public enum ImageKeys {
    /** The images' bytes, or their paths. */
    HASHES,
    /** Their ids, so that nobody reads images to divide rows; for images of a table. */
    IDS
  }

  /** What identifies a row without id columns. */
  public enum UnnamedRows {
    /** The SHA-256 of its file's name and its number in the file; for rows read from files. */
    BY_FILE_AND_NUMBER,
    /** The SHA-256 of image and question; equal rows get equal ids. */
    BY_CONTENT
  }
}
