package io.sinklens.preprocessing;

import ai.djl.engine.EngineException;
import ai.djl.sentencepiece.SpTokenizer;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * The native encoder of a SentencePiece model. Shared by threads; the model is let go when the last
 * call is over.
 */
final class SentencePieceEncoder implements AutoCloseable {
  private final SpTokenizer model;
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private boolean closed; // guarded by the lock: the native library frees twice when told twice

  /**
   * Loads a model.
   *
   * @throws IllegalArgumentException when the native library does not accept it
   */
  SentencePieceEncoder(SentencePieceFile file) {
    try {
      model = new SpTokenizer(file.bytes());
    } catch (EngineException e) {
      throw new IllegalArgumentException(e.getMessage(), e);
    }
  }

  /**
   * Encodes a text, in which nothing is special.
   *
   * @return token ids, {@code [token]}
   */
  int[] encode(String text) {
    lock.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("Cannot encode: the tokenizer is closed");
      }
      return model.getProcessor().encode(text);
    } finally {
      lock.readLock().unlock();
    }
  }

  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        model.close();
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
