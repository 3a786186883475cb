package io.sinklens.tensor;

import ai.djl.Device;

/** Where tests run their networks: the processor, or what the system property says. */
public final class TestDevice {
  private static final String SETTING = System.getProperty("sinklens.test.device", "cpu");

  private TestDevice() {}

  /** As {@code model.device} says it. */
  public static String setting() {
    return SETTING;
  }

  public static boolean isCpu() {
    return !get().isGpu();
  }

  public static Device get() {
    return Devices.resolve(SETTING);
  }
}
