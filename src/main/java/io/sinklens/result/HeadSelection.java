package io.sinklens.result;

import java.util.Arrays;
import java.util.List;

/**
 * Which heads were corrected for which answer token, packed to one bit each.
 *
 * <p>C order over {@code [answer token, layer, head]} without padding; element i is {@code (bits[i
 * / 8] >> (i % 8)) & 1}. Row t is the query that gave answer token t, so row 0 is the last prompt
 * token.
 */
public final class HeadSelection {
  private final byte[] bits;
  private final int answerTokens;
  private final int layers;
  private final int heads;

  /** Takes packed bits as stored. */
  public HeadSelection(byte[] bits, int answerTokens, int layers, int heads) {
    int expected = (answerTokens * layers * heads + 7) / 8;
    if (bits.length != expected) {
      throw new IllegalArgumentException(
          "Head selection of shape [%d, %d, %d] must have %d bytes, not %d"
              .formatted(answerTokens, layers, heads, expected, bits.length));
    }
    this.bits = bits.clone();
    this.answerTokens = answerTokens;
    this.layers = layers;
    this.heads = heads;
  }

  /** Packs {@code [layer][head]} of every answer token. */
  public static HeadSelection pack(List<boolean[][]> selected, int layers, int heads) {
    byte[] bits = new byte[(selected.size() * layers * heads + 7) / 8];
    int i = 0;
    for (boolean[][] token : selected) {
      for (boolean[] layer : token) {
        for (boolean head : layer) {
          if (head) {
            bits[i / 8] |= (byte) (1 << (i % 8));
          }
          i++;
        }
      }
    }
    return new HeadSelection(bits, selected.size(), layers, heads);
  }

  /** Whether that head was corrected for that answer token. */
  public boolean selected(int answerToken, int layer, int head) {
    int i = (answerToken * layers + layer) * heads + head;
    return ((bits[i / 8] >> (i % 8)) & 1) == 1;
  }

  /** The packed bits, a copy. */
  public byte[] bits() {
    return bits.clone();
  }

  public int answerTokens() {
    return answerTokens;
  }

  public int layers() {
    return layers;
  }

  public int heads() {
    return heads;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof HeadSelection that
        && answerTokens == that.answerTokens
        && layers == that.layers
        && heads == that.heads
        && Arrays.equals(bits, that.bits);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bits) * 31 + answerTokens;
  }
}
