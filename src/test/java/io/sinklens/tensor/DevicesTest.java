package io.sinklens.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.Device;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** On a machine without a GPU. */
class DevicesTest {
  @BeforeEach
  void runsOnTheProcessor() {
    assumeTrue(TestDevice.isCpu());
  }

  @ParameterizedTest
  @CsvSource({"cpu, cpu", "auto, cpu", "gpu, gpu:0", "gpu:0, gpu:0", "gpu:12, gpu:12"})
  void namesWhatASettingMeansWhereverItIs(String setting, String name) {
    assertThat(Devices.name(Devices.planned(setting))).isEqualTo(name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpu", "gpu:3"})
  void refusesAGpuThatIsNotThere(String setting) {
    assertThatThrownBy(() -> Devices.resolve(setting))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageMatching(
            "Cannot use device "
                + setting
                + ": libtorch [0-9.]+ finds no CUDA device, or was built without CUDA");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "GPU", "cuda", "gpu:", "gpu:-1", "gpu:1000", "cpu:0", "tpu"})
  void refusesWhatNamesNoDevice(String setting) {
    assertThatThrownBy(() -> Devices.planned(setting))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Device must be auto, cpu, gpu or gpu:N, not " + setting);
  }

  @Test
  void asksNoProcessorForItsMemory() {
    assertThat(Devices.memory(Device.cpu())).isEmpty();
  }
}
