package io.sinklens.preprocessing;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import javax.imageio.IIOException;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * The bytes of an image file, which end for good: a reader that takes the end for zeros, and goes
 * on with them for every pixel that is missing, is stopped.
 */
final class EndingStream extends MemoryCacheImageInputStream {
  private static final int MAX_READS_BEHIND_THE_END = 1000;

  private int readsBehindTheEnd;

  EndingStream(byte[] file) {
    super(new ByteArrayInputStream(file));
  }

  @Override
  public int read() throws IOException {
    return counted(super.read());
  }

  @Override
  public int read(byte[] into, int offset, int length) throws IOException {
    return counted(super.read(into, offset, length));
  }

  private int counted(int read) throws IIOException {
    if (read < 0 && ++readsBehindTheEnd > MAX_READS_BEHIND_THE_END) {
      throw new IIOException("truncated");
    }
    return read;
  }
}
