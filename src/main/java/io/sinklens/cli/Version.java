package io.sinklens.cli;

import io.sinklens.pipeline.Versions;
import picocli.CommandLine.IVersionProvider;

/** What {@code --version} prints. */
final class Version implements IVersionProvider {
  @Override
  public String[] getVersion() {
    return new String[] {"sinklens " + Versions.sinklens()};
  }
}
