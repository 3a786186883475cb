package io.sinklens.model.vision;

/**
 * The patches of an image in the order in which neighbours become one image token: token by token,
 * row by row, and inside a token again row by row.
 *
 * @param tokenRows rows of image tokens
 * @param tokenColumns image tokens in a row
 * @param mergeSize patches along one side of an image token
 */
record MergedGrid(int tokenRows, int tokenColumns, int mergeSize) {

  /** Patches of the image. */
  int patches() {
    return tokenRows * tokenColumns * patchesPerToken();
  }

  /** Patches of one image token. */
  int patchesPerToken() {
    return mergeSize * mergeSize;
  }

  /** Row of a patch on the image. */
  int row(int patch) {
    return patch / patchesPerToken() / tokenColumns * mergeSize
        + patch % patchesPerToken() / mergeSize;
  }

  /** Column of a patch on the image. */
  int column(int patch) {
    return patch / patchesPerToken() % tokenColumns * mergeSize + patch % mergeSize;
  }
}
