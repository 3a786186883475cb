package io.sinklens.model;

import ai.djl.ndarray.NDManager;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.tensor.Operators;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** A golden checkpoint that a test class loads once; what a test makes of it goes with the test. */
public final class TinyModel
    implements BeforeAllCallback, AfterAllCallback, BeforeEachCallback, AfterEachCallback {
  private final String name;
  private VisionLanguageModel model;
  private NDManager manager;

  @SuppressWarnings("NullAway.Init") // JUnit calls before tests do.
  private TinyModel(String name) {
    this.name = name;
  }

  /** The network in float32 of a checkpoint. */
  public static TinyModel of(String name) {
    return new TinyModel(name);
  }

  public Operators operators() {
    return model.operators();
  }

  public LlamaDecoder decoder() {
    return model.decoder();
  }

  /** Owns a test's arrays. */
  public NDManager manager() {
    return manager;
  }

  public VisionLanguageModel model() {
    return model;
  }

  @Override
  public void beforeAll(ExtensionContext context) {
    model = TinyCheckpoint.load(name);
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    manager = model.operators().manager().newSubManager();
  }

  @Override
  public void afterEach(ExtensionContext context) {
    manager.close();
  }

  @Override
  public void afterAll(ExtensionContext context) {
    model.close();
  }
}
