package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GpuDiscoveryTest {
  @TempDir private Path folder;

  @Test
  void tellsSparkTheNumbersOfAllGpus() throws Exception {
    Process process = discover("printf '0\\n1\\n'");

    assertThat(new ObjectMapper().readTree(process.getInputStream()))
        .isEqualTo(
            new ObjectMapper().readTree("{\"name\": \"gpu\", \"addresses\": [\"0\", \"1\"]}"));
    assertThat(process.waitFor()).isZero();
  }

  @Test
  void failsInOneLineWithoutAGpu() throws Exception {
    Process process = discover("true");

    assertThat(process.waitFor()).isEqualTo(1);
    assertThat(new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8))
        .isEqualTo("gpu-discovery: nvidia-smi lists no GPU\n");
  }

  /** Runs the script where {@code nvidia-smi} is something else. */
  private Process discover(String nvidiaSmi) throws IOException {
    StandaloneCluster.writeScript(folder.resolve("nvidia-smi"), nvidiaSmi + "\n");
    ProcessBuilder builder = new ProcessBuilder("conf/gpu-discovery");
    builder.environment().merge("PATH", folder.toString(), (path, first) -> first + ":" + path);
    return builder.start();
  }
}
